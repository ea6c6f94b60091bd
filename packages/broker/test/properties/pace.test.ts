import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { Pace, type Rate } from "./subjects.js"
import { packet, PINGREQ, puback, publish, subscribe, word } from "../support/wire.js"

/** A PUBLISH of so many bytes, at most 129. */
const message = (bytes: number): Buffer => publish(4, { topic: "t", payload: Buffer.alloc(bytes - 5) })
const messages = (count: number, bytes = 10): Buffer => Buffer.alloc(count * bytes, message(bytes))
const only = (rate: Partial<Rate>): Rate => ({ messages: Infinity, bytes: Infinity, ...rate })

/** How much of `buf` a client may send within `ms`, asked as soon as the pace says: a buffer that never ends. */
function within(pace: Pace, buf: Buffer, ms: number): { bytes: number; waits: number[] } {
  const waits: number[] = []
  let [bytes, now] = [0, 0]
  while (now <= ms) {
    const allowed = pace.admit(buf, now)
    bytes += allowed
    if (allowed === buf.length) continue
    waits.push(pace.wait)
    now += pace.wait
  }
  return { bytes, waits }
}

describe("what the rate allows", () => {
  test("a second's messages at once, then as many as time brings", () => {
    const pace = new Pace(only({ messages: 100 }), 0)
    expect(pace.admit(messages(150), 0)).toBe(100 * 10)
    expect(pace.admit(messages(50), 0)).toBe(0)
    expect(pace.admit(messages(50), 100)).toBe(10 * 10)
    expect(pace.admit(messages(50), 150)).toBe(5 * 10)
    // what is not used is kept, for a second
    expect(pace.admit(messages(500), 60_000)).toBe(100 * 10)
  })

  test("bytes: a packet needs one and takes all that it is", () => {
    const pace = new Pace(only({ bytes: 100 }), 0)
    expect(pace.admit(messages(3, 80), 0)).toBe(160) // 60 too many
    expect(pace.admit(messages(1, 80), 600)).toBe(0)
    expect(pace.admit(messages(1, 80), 610)).toBe(80)
  })

  test("both: the lower one", () => {
    expect(new Pace({ messages: 3, bytes: 1000 }, 0).admit(messages(9, 50), 0)).toBe(150)
    expect(new Pace({ messages: 9, bytes: 100 }, 0).admit(messages(9, 50), 0)).toBe(100)
  })

  test("less than one a second: the first at once, the next when it is due", () => {
    const pace = new Pace(only({ messages: 0.5 }), 0)
    expect(pace.admit(messages(2), 0)).toBe(10)
    expect(pace.admit(messages(1), 1999)).toBe(0)
    expect(pace.admit(messages(1), 2000)).toBe(10)
  })

  test("none: everything, at any time", () => {
    const pace = new Pace(only({}), 0)
    for (const now of [0, 0, 1, 1]) expect(pace.admit(messages(1000), now)).toBe(10_000)
  })

  test("a clock that stands or goes back brings nothing", () => {
    const pace = new Pace(only({ messages: 1 }), 1000)
    for (const [now, allowed] of [
      [1000, 10],
      [500, 0],
      [1000, 0],
      [1999, 0],
      [2000, 10],
    ] as const)
      expect(pace.admit(messages(1), now)).toBe(allowed)
  })
})

describe("what counts", () => {
  const PUBREL = packet(0x62, word(1))

  test("acknowledgements are no messages, and bytes", () => {
    const acks = Buffer.concat([puback(1), PUBREL, puback(2)])
    const pace = new Pace(only({ messages: 1 }), 0)
    expect(pace.admit(Buffer.concat([message(10), acks, message(10)]), 0)).toBe(10 + acks.length)
    expect(new Pace(only({ bytes: 6 }), 0).admit(acks, 0)).toBe(8)
  })

  test.each([
    ["PINGREQ", PINGREQ],
    ["SUBSCRIBE", subscribe(4, 1, ["a", 0])],
    ["DISCONNECT", packet(0xe0)],
  ])("what is behind %s is looked at when that is answered, and counts then", (_name, control) => {
    const pace = new Pace(only({ messages: 2 }), 0)
    const buf = Buffer.concat([message(10), control, messages(9)])
    expect(pace.admit(buf, 0)).toBe(buf.length)
    expect(pace.admit(messages(9), 0)).toBe(10)
  })

  test("a packet that is not complete counts when it is; bytes that are wrong are for who reads them", () => {
    const pace = new Pace(only({ messages: 1 }), 0)
    for (let n = 0; n < 10; n++) expect(pace.admit(message(10).subarray(0, n), 0)).toBe(n)
    const endless = Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0xff])
    expect(pace.admit(endless, 0)).toBe(endless.length)
    expect(pace.admit(messages(2), 0)).toBe(10)
  })
})

describe("how long to wait", () => {
  test.each([
    [only({ messages: 1 }), 1000],
    [only({ messages: 10 }), 100],
    [only({ messages: 100_000 }), 50],
    [only({ messages: 1 / 3600 }), 1000],
    [{ messages: 10, bytes: 1 }, 1000],
  ])("%j: %i ms", (rate, ms) => {
    const pace = new Pace(rate, 0)
    const buf = messages(200_000)
    expect(pace.admit(buf, 0)).toBeLessThan(buf.length)
    expect(pace.wait).toBeCloseTo(ms)
  })

  test("a client that always has more gets its rate and a second's burst, and no more than one more packet", () => {
    const rates = fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.constantFrom(0.5, 1 / 60, 1 / 3))
    fc.assert(
      fc.property(
        rates,
        fc.constantFrom("messages" as const, "bytes" as const),
        fc.integer({ min: 10, max: 120 }),
        (perSecond, unit, size) => {
          const seconds = 30
          const { bytes, waits } = within(new Pace(only({ [unit]: perSecond }), 0), messages(50, size), seconds * 1000)
          const got = unit === "messages" ? bytes / size : bytes
          const due = perSecond * seconds + Math.max(perSecond, 1)
          const packetOver = unit === "messages" ? 1 : size
          expect(got).toBeLessThanOrEqual(due + packetOver + perSecond) // asked up to a wait past the end
          expect(got).toBeGreaterThanOrEqual(perSecond * seconds - packetOver)
          expect(Math.min(...waits)).toBeGreaterThanOrEqual(50)
          expect(Math.max(...waits)).toBeLessThanOrEqual(1000)
        },
      ),
    )
  })
})
