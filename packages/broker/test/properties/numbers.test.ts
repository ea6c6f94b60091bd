import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { properties, varint } from "../support/wire.js"
import {
  ackFailed,
  ackWithReason,
  logKey,
  idKey,
  PacketError,
  readAck,
  readUint64,
  readVarint,
  Reason,
  slotKey,
  varintLength,
  writeAck,
  writeVarint,
} from "./subjects.js"

const near = (...values: number[]): fc.Arbitrary<number> =>
  fc.constantFrom(...values).chain((value) => fc.integer({ min: Math.max(0, value - 2), max: value }))

/** The order of two lists of numbers of which the first that differ decide. */
const sign = (pairs: [number, number][]): number => pairs.map(([a, b]) => Math.sign(a - b)).find((order) => order !== 0) ?? 0

describe("keys of the store", () => {
  /** Where a byte of the key turns over, up to the greatest number that a position can be. */
  const numbers = fc.oneof(fc.nat(1000), near(256, 65_536, 2 ** 32, 2 ** 33, 2 ** 48, 2 ** 53 - 1), fc.maxSafeNat())

  test("the byte order of two keys is the order of their numbers, the first number first", () => {
    fc.assert(
      fc.property(numbers, fc.option(numbers, { nil: null, freq: 2 }), numbers, numbers, (a, b, at, other) => {
        const second = b ?? a
        expect(Buffer.compare(idKey(a), idKey(second))).toBe(sign([[a, second]]))
        expect(Buffer.compare(logKey(a, at), logKey(second, other))).toBe(
          sign([
            [a, second],
            [at, other],
          ]),
        )
        const [slot, slot2] = [at % 2 ** 32, other % 2 ** 32]
        expect(Buffer.compare(slotKey(a, slot), slotKey(second, slot2))).toBe(
          sign([
            [a, second],
            [slot, slot2],
          ]),
        )
      }),
      { numRuns: 500 },
    )
  })

  test("the numbers come back out of a key", () => {
    fc.assert(
      fc.property(numbers, numbers, (a, b) => {
        expect(readUint64(idKey(a), 0)).toBe(a)
        expect([readUint64(logKey(a, b), 0), readUint64(logKey(a, b), 8)]).toEqual([a, b])
        const slot = b % 2 ** 32
        expect([readUint64(slotKey(a, slot), 0), slotKey(a, slot).readUInt32BE(8)]).toEqual([a, slot])
        expect([idKey(a), logKey(a, b), slotKey(a, slot)].map(({ length }) => length)).toEqual([8, 16, 12])
      }),
    )
  })
})

describe("Variable Byte Integers (MQTT 5.0 section 1.5.5)", () => {
  const MOST = 268_435_455
  const values = fc.oneof(near(128, 16_384, 2_097_152, MOST), fc.nat(MOST))
  const padding = fc.uint8Array({ maxLength: 3 })

  test("what is written is what the standard says, as long as announced, and is read back", () => {
    fc.assert(
      fc.property(values, padding, padding, (value, before, after) => {
        const expected = varint(value)
        const buf = Buffer.concat([before, Buffer.alloc(expected.length), after])
        const end = writeVarint(buf, before.length, value)
        expect(buf).toEqual(Buffer.concat([before, expected, after]))
        expect([varintLength(value), end]).toEqual([expected.length, before.length + expected.length])
        expect(readVarint(buf, before.length, buf.length)).toBe(value * 8 + expected.length)
      }),
    )
  })

  test("one that is cut is not complete, one that is too long or not the shortest is malformed", () => {
    fc.assert(
      fc.property(values, fc.nat(2), (value, n) => {
        const bytes = varint(value)
        for (let end = 0; end < bytes.length; end++) expect(readVarint(bytes, 0, end)).toBe(-1)
        const longer = Buffer.from(bytes.map((byte) => byte | 128))
        const padded = Buffer.concat([longer, Buffer.alloc(n, 128), Buffer.from([0])])
        expect(readVarint(padded, 0, padded.length)).toBe(-2)
      }),
    )
  })
})

const REASONS = new Set<number>(Object.values(Reason))

describe("acknowledgements (MQTT 5.0 sections 3.4 to 3.7)", () => {
  const heads = fc.constantFrom(0x40, 0x50, 0x62, 0x70)
  const ids = fc.integer({ min: 1, max: 65_535 })
  const reasons = fc.constantFrom(...Object.values(Reason))
  const BODY = 2

  test("the short form is read back in both versions, and says success", () => {
    fc.assert(
      fc.property(heads, ids, fc.nat(3), fc.boolean(), (head, id, at, v5) => {
        const buf = Buffer.alloc(at + 4 + 2, 255)
        expect(writeAck(buf, at, head, id)).toBe(at + 4)
        expect([...buf.subarray(at)]).toEqual([head, 2, id >> 8, id & 255, 255, 255])
        expect(readAck(buf, at + BODY, at + 4, v5 ? REASONS : undefined)).toBe(id)
        expect(ackFailed(buf, at + BODY, at + 4)).toBe(false)
      }),
    )
  })

  test("a reason code is read in 5.0, with and without properties; from 0x80 on it says failure; 3.1.1 has none", () => {
    const texts = fc.string({ unit: "grapheme", maxLength: 5 }).filter((text) => !text.includes("\0"))
    fc.assert(
      fc.property(heads, ids, reasons, fc.option(texts, { nil: null }), (head, id, reason, text) => {
        const short = ackWithReason(head, id, reason)
        const packet = text === null ? short : Buffer.concat([short, properties([31], text)])
        expect([...short]).toEqual([head, 3, id >> 8, id & 255, reason])
        expect(readAck(packet, BODY, packet.length, REASONS)).toBe(id)
        expect(ackFailed(packet, BODY, packet.length)).toBe(reason >= 0x80)
        expect(() => readAck(packet, BODY, packet.length, undefined)).toThrow(PacketError)
      }),
    )
  })

  test("any bytes are refused or hold an identifier, and nothing else is thrown", () => {
    let [read, refused] = [0, 0]
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), fc.boolean(), (bytes, v5) => {
        const buf = Buffer.from(bytes)
        try {
          expect(readAck(buf, 0, buf.length, v5 ? REASONS : undefined)).toBe(buf.readUInt16BE(0))
          read++
        } catch (error) {
          expect(error).toBeInstanceOf(PacketError)
          refused++
        }
      }),
      { numRuns: 1000 },
    )
    expect([read > 0, refused > 0]).toEqual([true, true])
  })
})
