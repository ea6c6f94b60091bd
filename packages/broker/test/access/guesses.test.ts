import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type Episode, Guesses } from "../../src/access/users/guesses.js"

const MINUTE = 60_000

/** So many wrong passwords, one each second from `now` on; what was told of them. */
function guess(guesses: Guesses, count: number, more: { address?: string | undefined; user?: string; now?: number } = {}): Episode[] {
  const { user = "alice", now = 0 } = more
  const address = "address" in more ? more.address : "192.0.2.1"
  return Array.from({ length: count }, (_, n) => guesses.failed(address, user, now + n * 1000)).filter((told) => told !== undefined)
}

/** How much later the next password is answered, after so many wrong ones. */
function delays(counts: readonly number[], address: string, user: string): number[] {
  return counts.map((count) => {
    const guesses = new Guesses()
    guess(guesses, count)
    return guesses.delay(address, user, count * 1000)
  })
}

const COUNTS = [0, 1, 2, 3, 4, 5, 8, 9, 10, 1000]
const GROWING = [0, 0, 0, 250, 500, 1000, 8000, 10_000, 10_000, 10_000]

describe("who guesses is answered later and later", () => {
  test("each further password from the address, for whatever user", () => {
    expect(delays(COUNTS, "192.0.2.1", "bob")).toEqual(GROWING)
  })

  test("each further password for the user, from whatever address", () => {
    expect(delays(COUNTS, "198.51.100.7", "alice")).toEqual(GROWING)
  })

  test("nobody else", () => {
    expect(delays(COUNTS, "198.51.100.7", "bob")).toEqual(COUNTS.map(() => 0))
  })

  test("not whose password was right from the same address before; that is no way to guess for others", () => {
    const guesses = new Guesses()
    guesses.succeeded("198.51.100.7", "alice")
    guess(guesses, 20)
    expect(guesses.delay("198.51.100.7", "alice", 20_000)).toBe(0)
    expect(guesses.delay("198.51.100.8", "alice", 20_000)).toBe(10_000)
    guesses.succeeded("192.0.2.1", "mallory")
    expect(guesses.delay("192.0.2.1", "bob", 20_000)).toBe(10_000)
  })

  test("a password without a user name counts for its address", () => {
    const guesses = new Guesses()
    for (let n = 0; n < 4; n++) guesses.failed("192.0.2.1", undefined, 0)
    expect(guesses.delay("192.0.2.1", undefined, 0)).toBe(500)
    expect(guesses.delay("192.0.2.2", undefined, 0)).toBe(0)
  })

  test("one is forgotten each minute: after ten all of them, however many there were", () => {
    const guesses = new Guesses()
    guess(guesses, 10)
    const after = (minutes: number): number => guesses.delay("192.0.2.1", "alice", 9000 + minutes * MINUTE)
    expect([0, 1, 2, 3, 7, 8].map(after)).toEqual([10_000, 10_000, 8000, 4000, 250, 0])
    guess(guesses, 1000, { now: 1e9 })
    expect(guesses.failed("192.0.2.1", "alice", 1e9 + 999_000 + 10 * MINUTE)).toBeUndefined()
    expect(guesses.delay("192.0.2.1", "alice", 1e9 + 999_000 + 10 * MINUTE)).toBe(0)
  })
})

describe("what is one address", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["192.0.2.1", "::ffff:192.0.2.1"],
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"],
    ["2001:0db8:0001:0002::", "2001:DB8:1:2:0:0:192.0.2.1"],
    ["2001:db8::1", "2001:db8:0:0:1::"],
    ["fe80::1%eth0", "fe80::2"],
    [undefined, undefined],
  ])("%s and %s are", (one, other) => {
    const guesses = new Guesses()
    guess(guesses, 5, { address: one })
    expect(guesses.delay(other, "bob", 5000)).toBe(1000)
  })

  test.each([
    ["192.0.2.1", "192.0.2.2"],
    ["192.0.2.1", undefined],
    ["2001:db8:1:2::1", "2001:db8:1:3::1"],
    ["2001:db8:1::1", "2001:db8:0:1::1"],
    ["::1", "2001:db8::1"],
  ])("%s and %s are not", (one, other) => {
    const guesses = new Guesses()
    guess(guesses, 5, { address: one })
    expect(guesses.delay(other, "bob", 5000)).toBe(0)
  })
})

describe("it is told once", () => {
  test("by address from the fifth on; again when all was forgotten in between", () => {
    const guesses = new Guesses()
    expect(guess(guesses, 4)).toEqual([])
    expect(guess(guesses, 100, { now: 4000 })).toEqual([{ of: "address", failures: 5 }])
    expect(guess(guesses, 100, { now: 4000 + 10 * MINUTE })).toEqual([])
    expect(guess(guesses, 5, { now: 1e9 })).toEqual([{ of: "address", failures: 5 }])
  })

  test("by user when it comes from several addresses", () => {
    const guesses = new Guesses()
    const told = Array.from({ length: 50 }, (_, n) => guesses.failed(`192.0.2.${n}`, "alice", n * 1000))
    expect(told.filter((one) => one !== undefined)).toEqual([{ of: "user", failures: 5 }])
  })

  test("by address, and not by user too, when the address guesses for many users", () => {
    const guesses = new Guesses()
    const told = Array.from({ length: 50 }, (_, n) => guesses.failed("192.0.2.1", `user${n % 10}`, n * 1000))
    expect(told.filter((one) => one !== undefined)).toEqual([{ of: "address", failures: 5 }])
  })
})

const moves = fc.record({
  what: fc.constantFrom("failed", "succeeded", "delay"),
  address: fc.option(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), { nil: undefined }),
  user: fc.string({ unit: "binary" }),
  pause: fc.nat(2 * MINUTE),
})

test("property: whatever comes, memory is bounded, and delays are between 0 and 10 s", () => {
  fc.assert(
    fc.property(fc.array(moves, { minLength: 30, maxLength: 100 }), fc.integer({ min: 1, max: 20 }), (list, most) => {
      const guesses = new Guesses(most)
      let now = 0
      for (const { what, address, user, pause } of list) {
        now += pause
        if (what === "failed") guesses.failed(address, user, now)
        if (what === "succeeded") guesses.succeeded(address, user)
        const delay = guesses.delay(address, user, now)
        expect(delay).toBeGreaterThanOrEqual(0)
        expect(delay).toBeLessThanOrEqual(10_000)
      }
      for (const size of guesses.entries) expect(size).toBeLessThanOrEqual(most)
      expect(Math.max(...guesses.entries)).toBeGreaterThan(0)
    }),
  )
})

test("what changed the longest time ago is forgotten first", () => {
  const guesses = new Guesses(2)
  for (const address of ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"]) guess(guesses, 4, { address })
  expect(["192.0.2.1", "192.0.2.2", "192.0.2.3"].map((address) => guesses.delay(address, "bob", 4000))).toEqual([8000, 0, 500])
})
