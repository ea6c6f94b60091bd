import { setImmediate as turn } from "node:timers/promises"
import { expect, test } from "vitest"
import { Pauses } from "../../src/connection/pauses.js"
import { Turns } from "../../src/connection/turns.js"

/** Longer than a turn may take. */
const LONG_MS = 12

function work(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** A connection's reading. */
class Reading {
  readonly said: string[] = []
  readonly pauses = new Pauses({ pause: () => this.said.push("pause"), resume: () => this.said.push("resume") }, () => {})
}

test("what takes long waits for a later turn of the event loop, in order, and nothing overtakes what waits", async () => {
  const turns = new Turns()
  const done: number[] = []
  const act = (n: number, ms: number): void => {
    turns.take(() => {
      done.push(n)
      work(ms)
    })
  }
  act(1, 0)
  act(2, LONG_MS)
  act(3, LONG_MS)
  act(4, 0)
  expect(done).toEqual([1, 2])
  await turn()
  expect(done).toEqual([1, 2, 3])
  act(5, 0)
  await turn()
  expect(done).toEqual([1, 2, 3, 4, 5])
})

test("a turn is over when it took long, and the next begins anew", async () => {
  const turns = new Turns()
  turns.begin()
  expect(turns.isOver).toBe(false)
  work(LONG_MS)
  expect(turns.isOver).toBe(true)
  await turn()
  expect(turns.isOver).toBe(false)
})

test("beyond 4 MB in a turn nobody is read any more, 32 go on in each turn, the others later", async () => {
  const turns = new Turns()
  const readings = Array.from({ length: 100 }, () => new Reading())
  for (const { pauses } of readings) turns.read(65_536, pauses)
  expect(readings.map(({ said }) => said.length)).toEqual([...Array<number>(64).fill(0), ...Array<number>(36).fill(1)])
  await turn()
  expect(readings.filter(({ said }) => said.at(-1) === "pause")).toHaveLength(4)
  await turn()
  expect(readings.filter(({ said }) => said.at(-1) === "pause")).toHaveLength(0)
})

test("reading goes on when no reason to pause is left", () => {
  const { pauses, said } = new Reading()
  pauses.begin(1)
  pauses.begin(2)
  pauses.end(1)
  pauses.end(4)
  expect(said).toEqual(["pause", "pause"])
  pauses.end(2)
  expect(said.at(-1)).toBe("resume")
})
