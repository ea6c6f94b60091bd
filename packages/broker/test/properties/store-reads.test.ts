import { setTimeout as after } from "node:timers/promises"
import { expect, test } from "vitest"
import { StoreReads } from "../../src/delivery/logs/store-reads.js"
import { range } from "../support/messages.js"

const MOST = 64

test("64 reads are under way at a time; all are done, in their order, also behind one that fails", async () => {
  const reads = new StoreReads()
  const begun: number[] = []
  let [underWay, most] = [0, 0]
  const read = async (n: number): Promise<number> => {
    begun.push(n)
    most = Math.max(most, ++underWay)
    await after(1)
    underWay--
    if (n % 50 === 0) throw new Error("cannot be read")
    return n
  }
  const all = range(1, 500)
  const results = await Promise.allSettled(all.map(async (n) => reads.run(() => read(n))))
  expect(begun).toEqual(all)
  expect(most).toBe(MOST)
  expect(results.map((result) => (result.status === "fulfilled" ? result.value : -1))).toEqual(all.map((n) => (n % 50 === 0 ? -1 : n)))
})

test("what is there at once is given at once, and takes no place", async () => {
  const reads = new StoreReads()
  for (const n of range(1, 200)) expect(reads.run(() => n)).toBe(n)
  const release: (() => void)[] = []
  const waiting = range(1, MOST).map(async () => reads.run(() => new Promise<void>((resolve) => release.push(resolve))))
  expect(reads.run(() => 0)).toBeInstanceOf(Promise)
  const behind = range(1, 100).map(async (n) => reads.run(() => n))
  for (const one of release) one()
  await Promise.all(waiting)
  expect(await Promise.all(behind)).toEqual(range(1, 100))
})
