import { expect, it } from "vitest"
import { CliError, longFlag, optionReference, shortFlag } from "@mqtt-trio/common"
import { hasReadme, readmeSection } from "@mqtt-trio/testing"
import { pubOptions } from "../src/options.js"

it.skipIf(!hasReadme())("the README's reference of mqtt-pub is what the option table says (UPDATE_README=1 writes it)", () => {
  const { actual, expected } = readmeSection("options:mqtt-pub", optionReference(pubOptions))
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
