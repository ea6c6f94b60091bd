import * as fc from "fast-check"
import { expect, test } from "vitest"
import { validTopicName, validUtf8 } from "./subjects.js"

/** What TextDecoder takes, and holds no U+0000 (MQTT 5.0 section 1.5.4). */
function decodes(bytes: Uint8Array): boolean {
  try {
    return !new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes).includes("\0")
  } catch {
    return false
  }
}

/** Text, text in which a byte is another one, text that is cut, sequences at the edges of what is allowed, and bytes. */
const text = fc.string({ unit: "binary", maxLength: 8 }).map((string) => new Uint8Array(Buffer.from(string)))
const spoilt = fc
  .tuple(text, fc.nat(), fc.nat(255))
  .map(([bytes, at, byte]) => bytes.map((old, n) => (n === at % bytes.length ? byte : old)))
const shorter = fc
  .tuple(text, fc.nat(), fc.nat())
  .map(([bytes, from, to]) => bytes.subarray(from % (bytes.length + 1), to % (bytes.length + 1)))
const edges = fc.constantFrom(
  "c0 80",
  "c1 bf",
  "e0 80 80",
  "e0 9f bf",
  "ed 9f bf",
  "ed a0 80",
  "ed bf bf",
  "ee 80 80",
  "ef bf bf",
  "f0 8f bf bf",
)
const more = fc.constantFrom(
  "f0 90 80 80",
  "f4 8f bf bf",
  "f4 90 80 80",
  "f5 80 80 80",
  "ef bb bf",
  "80",
  "bf",
  "fe",
  "ff",
  "00",
  "7f",
  "c2 80",
)
const sequences = fc
  .array(fc.oneof(edges, more, fc.constant("61")), { maxLength: 3 })
  .map((list) => new Uint8Array(Buffer.from(list.join("").replaceAll(" ", ""), "hex")))
const anything = fc.oneof(text, spoilt, shorter, sequences, fc.uint8Array({ maxLength: 8 }))

test("a string is valid when TextDecoder takes it and it holds no U+0000, whatever lies around it", () => {
  const seen = { valid: 0, invalid: 0 }
  fc.assert(
    fc.property(anything, fc.uint8Array({ maxLength: 3 }), fc.uint8Array({ maxLength: 3 }), (bytes, before, after) => {
      const expected = decodes(bytes)
      seen[expected ? "valid" : "invalid"]++
      expect(validUtf8(Buffer.concat([before, bytes, after]), before.length, before.length + bytes.length)).toBe(expected)
    }),
    { numRuns: 2000 },
  )
  expect(Math.min(seen.valid, seen.invalid)).toBeGreaterThan(100)
})

test("a Topic Name is not empty and holds no wildcard", () => {
  const names = fc.string({ unit: fc.constantFrom("a", "/", "+", "#", "ä", "$"), maxLength: 4 })
  fc.assert(
    fc.property(names, (name) => {
      const buf = Buffer.from(`#${name}+`)
      expect(validTopicName(buf, 1, buf.length - 1)).toBe(/^[^+#]+$/.test(name))
    }),
  )
})
