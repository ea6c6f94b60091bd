import { describe, expect, test } from "vitest"
import type { Commit, StoredState } from "../../src/stores/store.js"
import { type Amount, NO_AMOUNT } from "../../src/wire/frames.js"
import { chunk, sharedChunk } from "./chunks.js"
import { publish } from "./wire.js"

/** How a store is used. */
export interface SharedTools {
  commit: (part: Partial<Commit>) => Promise<void>
  readAll: (log: number, position?: number) => Promise<[number, string][]>
  /** Closes the store and opens it again. */
  reopen: () => Promise<StoredState>
  lasting: boolean
}

function large(n: number): string {
  return `${n} `.repeat(2000)
}

/** How long the packet is. */
function packet(payload: string): number {
  return publish(4, { topic: "t", qos: 1, packetId: 1, payload }).length
}

/** What a log has that has one message of its own. */
function own(log: number): Amount {
  return { messages: 1, bytes: packet(`own ${log}`), expiring: 0 }
}

/** See fill() below. */
function expected(log: number): [number, string][] {
  const middle: [number, string][] = log % 2 ? [[110, large(2)]] : []
  return [[log, `own ${log}`], [100, large(1)], [101, "small"], ...middle, [120, large(3)]]
}

/** What every store promises of blocks that several logs share. */
export function describeShared({ commit, readAll, reopen, lasting }: SharedTools): void {
  const logs = Array.from({ length: 20 }, (_, n) => n + 1)

  /** Each log has a message of its own before and behind what all have, but those with an even number one less. */
  const fill = async (): Promise<void> => {
    await commit({ appends: logs.map((log) => chunk(log, log, `own ${log}`)) })
    await commit({ appends: sharedChunk(logs, 100, [large(1), "small"], own) })
    const odd = logs.filter((log) => log % 2)
    await commit({ appends: sharedChunk(odd, 110, [large(2)]) })
    await commit({ appends: sharedChunk(logs, 120, [large(3)]) })
  }
  const expectAll = async (from = 0): Promise<void> => {
    for (const log of logs) expect(await readAll(log, from)).toEqual(expected(log).filter(([at]) => at >= from))
  }

  describe("a block that several logs share", () => {
    test("each log has it at its place, among what is its own", async () => {
      await fill()
      await expectAll()
      for (const from of [100, 101, 102, 111, 121]) await expectAll(from)
    })

    test("what is cut of one log is there in the others, up to the last one", async () => {
      await fill()
      for (const log of logs.slice(1)) await commit({ cuts: [{ log, below: 121 }] })
      for (const log of logs.slice(1)) expect(await readAll(log)).toEqual([])
      expect(await readAll(1)).toEqual(expected(1))
      await commit({ cuts: [{ log: 1, below: 120 }] })
      expect(await readAll(1)).toEqual([[120, large(3)]])
      await commit({ cuts: [{ log: 1, below: 121 }] })
      expect(await readAll(1)).toEqual([])
    })

    if (!lasting) return

    test("also when it was closed and opened again, and then cut", async () => {
      await fill()
      const { logs: found } = await reopen()
      expect(found.map(({ id, last }) => [id, last])).toEqual(logs.map((log) => [log, 120]))
      await expectAll()
      await commit({ cuts: logs.slice(5).map((log) => ({ log, below: 112 })) })
      await reopen()
      for (const log of logs) expect(await readAll(log)).toEqual(expected(log).filter(([at]) => log <= 5 || at >= 112))
      await commit({ cuts: logs.slice(1).map((log) => ({ log, below: 121 })) })
      await reopen()
      for (const log of logs.slice(1)) expect(await readAll(log)).toEqual([])
      expect(await readAll(1)).toEqual(expected(1))
    })

    test("how much went into a log that ends with one", async () => {
      await commit({ appends: [chunk(7, 1, "own")] })
      const before = { messages: 1, bytes: packet("own"), expiring: 0 }
      await commit({ appends: sharedChunk([7, 8, 9], 5, [large(1), large(2)], (log) => (log === 7 ? before : NO_AMOUNT)) })
      const both = packet(large(1)) + packet(large(2))
      expect((await reopen()).logs).toEqual([
        { id: 7, last: 6, messages: 3, bytes: packet("own") + both, expiring: 0 },
        { id: 8, last: 6, messages: 2, bytes: both, expiring: 0 },
        { id: 9, last: 6, messages: 2, bytes: both, expiring: 0 },
      ])
    })
  })
}
