import { expect, it } from "vitest"
import { CliError, connectionOptions, longFlag, optionReference, shortFlag } from "@mqtt-trio/common"
import { readmeSection } from "@mqtt-trio/testing"
import { pubOptions } from "../src/options.js"

const shared = new Set<unknown>(Object.values(connectionOptions))
/** Those that are not in the README of the connection's options. */
const own = Object.fromEntries(Object.entries(pubOptions).filter(([, spec]) => !shared.has(spec)))

it("the README's table of mqtt-pub's own options is what the code says (UPDATE_README=1 writes it)", () => {
  const { actual, expected } = readmeSection("packages/pub/README.md", "options:mqtt-pub", optionReference(own))
  expect(actual).toBe(expected)
})

it("the reference has a row for each option, and each option has a line of help", () => {
  const reference = optionReference(pubOptions)
  for (const { flags, help } of Object.values(pubOptions)) {
    expect(reference).toContain(`| \`${flags}\``)
    expect(help.length).toBeGreaterThan(5)
  }
})

const mayBeEmpty = ["message", "username", "password", "client", "willPayload", "contentType", "correlationData"]

it.each(Object.entries(pubOptions).filter(([, spec]) => spec.kind !== "flag"))(
  "%s: an empty value is a usage error, unless MQTT lets it be empty",
  (key, spec) => {
    if (mayBeEmpty.includes(key)) expect(spec.read([""])).toHaveLength(0)
    else expect(() => spec.read([""])).toThrow(CliError)
  },
)

it("no two options share a flag or an alias", () => {
  const flags = Object.values(pubOptions).flatMap((spec) => [longFlag(spec), shortFlag(spec) ?? [], spec.aliases ?? []].flat())
  expect(flags).toEqual([...new Set(flags)])
})
