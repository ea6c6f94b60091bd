import { describe, expect, it } from "vitest"
import { connectionOptions, errorReference, ERRORS, optionReference } from "@mqtt-trio/common"
import { readmeSection } from "@mqtt-trio/testing"

describe("the README's tables are those of the code (UPDATE_README=1 writes them)", () => {
  it.each([
    ["options:connection", optionReference(connectionOptions)],
    ["errors", errorReference(ERRORS)],
  ])("%s", (name, generated) => {
    const { actual, expected } = readmeSection("packages/common/README.md", name, generated)
    expect(actual).toBe(expected)
  })
})
