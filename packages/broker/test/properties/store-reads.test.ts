import { setTimeout as after } from "node:timers/promises"
import { expect, test } from "vitest"
import { StoreReads } from "../../src/delivery/logs/store-reads.js"
import { range } from "../support/messages.js"
import { publish } from "../support/wire.js"
import { framesOf, KeptBlocks } from "./subjects.js"

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

test("a block that several readers of a session keep counts once, until the last lets go; one that others are sent too counts its part", () => {
  let counted = 0
  const kept = new KeptBlocks((bytes) => (counted += bytes))
  const [one, shared] = range(1, 2).map(() => framesOf(publish(4, { topic: "t", payload: Buffer.alloc(100_000) }), false))
  if (!one || !shared) throw new Error("no blocks")
  shared.receivers = 4
  const [whole, part] = [one.buf.length, Math.ceil(shared.buf.length / 4)]
  for (const _ of range(1, 3)) kept.add(one)
  kept.add(shared)
  shared.receivers = 2
  expect(counted).toBe(whole + part)
  kept.remove(one)
  kept.remove(one)
  expect(counted).toBe(whole + part)
  kept.remove(one)
  kept.remove(shared)
  expect(counted).toBe(0)
})
