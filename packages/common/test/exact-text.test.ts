import { assert, property, string, uint8Array } from "fast-check"
import { expect, it } from "vitest"
import { bytesOf, parseBinary, parseText, textOf } from "@mqtt-trio/common"

it("any bytes survive the way through text, and text is itself", () => {
  assert(
    property(uint8Array(), (array) => {
      const bytes = Buffer.from(array)
      expect(bytesOf(textOf(bytes)).equals(bytes)).toBe(true)
    }),
  )
  assert(
    property(string({ unit: "binary" }), (text) => {
      expect(textOf(Buffer.from(text))).toBe(text)
      expect(bytesOf(text).toString()).toBe(text)
    }),
  )
})

it.each([["e9"], ["c3"], ["c0af"], ["eda080"], ["f4908080"], ["80"]])("%s is no text, but Binary Data", (hex) => {
  const text = textOf(Buffer.from(`61${hex}62`, "hex"))
  expect(() => parseText(text)).toThrow(`"a${hex.replaceAll(/../g, String.raw`\x$&`)}b" is not valid: it is not UTF-8 text`)
  expect(parseBinary(text).toString("hex")).toBe(`61${hex}62`)
})

it("a surrogate that stands for no byte is a usage error everywhere", () => {
  expect(() => parseText("\uD800")).toThrow("it is not UTF-8 text")
  expect(() => bytesOf("\uD800")).toThrow("has bytes that are not UTF-8")
})
