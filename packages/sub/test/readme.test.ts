import { expect, it } from "vitest"
import { CliError, connectionOptions, longFlag, optionReference, shortFlag } from "@mqtt-trio/common"
import { readmeSection } from "@mqtt-trio/testing"
import { subOptions } from "../src/options.js"

const shared = new Set<unknown>(Object.values(connectionOptions))
/** Those that are not in the README of the connection's options. */
const own = Object.fromEntries(Object.entries(subOptions).filter(([, spec]) => !shared.has(spec)))

it("the README's table of mqtt-sub's own options is what the code says (UPDATE_README=1 writes it)", () => {
  const { actual, expected } = readmeSection("packages/sub/README.md", "options:mqtt-sub", optionReference(own))
  expect(actual).toBe(expected)
})

it("the reference has a row for each option, and each option has a line of help", () => {
  const reference = optionReference(subOptions)
  for (const { flags, help } of Object.values(subOptions)) {
    expect(reference).toContain(`| \`${flags}\``)
    expect(help.length).toBeGreaterThan(5)
  }
})

const mayBeEmpty = ["username", "password", "client", "willPayload"]

it.each(Object.entries(subOptions).filter(([, spec]) => spec.kind !== "flag"))(
  "%s: an empty value is a usage error, unless MQTT lets it be empty",
  (key, spec) => {
    if (mayBeEmpty.includes(key)) expect(spec.read([""])).toHaveLength(0)
    else expect(() => spec.read([""])).toThrow(CliError)
  },
)

it("no two options share a flag or an alias", () => {
  const flags = Object.values(subOptions).flatMap((spec) => [longFlag(spec), shortFlag(spec) ?? [], spec.aliases ?? []].flat())
  expect(flags).toEqual([...new Set(flags)])
})
