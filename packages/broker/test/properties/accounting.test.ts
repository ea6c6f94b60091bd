import * as fc from "fast-check"
import { expect, test } from "vitest"
import { Accountant } from "../../src/accounting/accountant.js"
import type { Kind } from "../../src/accounting/tally.js"

const KINDS = ["connections", "packets", "unsent", "queues", "sessions", "subscriptions", "retained", "wills"] as const satisfies Kind[]
const PLACES = ["a", "b", "c"]

interface Step {
  readonly client: number
  readonly act: "add" | "free" | "move"
  readonly bytes: number
  readonly kind: Kind
  readonly place: string
}

const step: fc.Arbitrary<Step> = fc.record({
  client: fc.nat(5),
  act: fc.constantFrom("add", "add", "free", "move"),
  bytes: fc.integer({ min: 1, max: 1_000_000 }),
  kind: fc.constantFrom(...KINDS),
  place: fc.constantFrom(...PLACES),
})

function addsUp(steps: readonly Step[]): void {
  const accountant = new Accountant(2 ** 40)
  const clients = Array.from({ length: 6 }, (_, n) => ({ tally: accountant.place("a").tally(n % 2 === 0), had: [] as [Kind, number][] }))
  const free = (client: (typeof clients)[number]): void => {
    for (const [kind, bytes] of client.had.splice(0)) client.tally.add(kind, -bytes)
  }
  for (const { client: n, act, bytes, kind, place } of steps) {
    const client = clients[n]
    if (!client) continue
    if (act === "move") client.tally.moveTo(accountant.place(place))
    else if (act === "free") free(client)
    else {
      client.tally.add(kind, bytes)
      client.had.push([kind, bytes])
    }
    const held = clients.map(({ had }) => had.reduce((sum, [, some]) => sum + some, 0))
    expect(clients.map(({ tally }) => tally.bytes)).toEqual(held)
    const { total, kept, counted } = accountant.snapshot()
    expect(total).toBe(held.reduce((sum, some) => sum + some, 0))
    expect(kept).toBe(held.reduce((sum, some, k) => sum + (k % 2 === 0 ? some : 0), 0))
    expect(Object.values(counted).reduce((sum, some) => sum + some, 0)).toBe(total)
    const places = new Set(clients.map(({ tally }) => tally.place))
    for (const one of places) {
      const there = clients.filter(({ tally }) => tally.place === one)
      expect(one.bytes).toBe(there.reduce((sum, { tally }) => sum + tally.bytes, 0))
    }
  }
  for (const client of clients) free(client)
  expect(accountant.snapshot()).toMatchObject({ total: 0, kept: 0 })
}

test("what clients have adds up, wherever they are, and to nothing in the end", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 100 }), addsUp))
})

test("a place, and a Session, keep no more than their share; another place still may", () => {
  const accountant = new Accountant(128 * 2 ** 20 + 200_000_000) // clients have 100 MB, 60 may be kept, 45 by a place, 24 by a Session
  const [here, there] = [accountant.place("here"), accountant.place("there")]
  const session = here.tally(true)
  session.add("subscriptions", 23_000_000)
  expect([session.mayKeep(900_000), session.mayKeep(1_100_000), here.mayKeep(1_100_000)]).toEqual([true, false, true])
  here.keeping.add("retained", 21_000_000)
  expect([here.mayKeep(900_000), here.mayKeep(1_100_000), there.mayKeep(15_000_000), there.mayKeep(17_000_000)]).toEqual([
    true,
    false,
    true,
    false,
  ])
})

test("only who has little brings further connections while memory is tight", () => {
  const accountant = new Accountant(128 * 2 ** 20 + 200_000_000)
  const [here, there] = [accountant.place("here"), accountant.place("there")]
  here.tally(false).add("unsent", 69_000_000)
  expect(here.mayEnter(900_000)).toBe(true)
  here.tally(false).add("unsent", 2_000_000)
  expect(accountant.isTight).toBe(true)
  expect([here.mayEnter(1000), there.mayEnter(1000)]).toEqual([false, true])
})
