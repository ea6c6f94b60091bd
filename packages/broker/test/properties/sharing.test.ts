import { array, assert, constantFrom, integer, property, record, subarray } from "fast-check"
import { expect, test } from "vitest"
import type { Chunk } from "../../src/stores/chunks.js"
import { isBody, Sharing } from "../../src/stores/sharing.js"
import { Unfolded } from "../../src/stores/unfolded.js"
import { Frames } from "../../src/wire/frames.js"
import { payloadOf } from "../../src/wire/publish.js"
import { NOTHING, sharedChunk } from "../support/chunks.js"

const LOGS = Array.from({ length: 12 }, (_, n) => n)

const block = record({
  logs: subarray(LOGS, { minLength: 1 }),
  bytes: constantFrom(10, 300, 3000, 6000),
  messages: integer({ min: 1, max: 2 }),
})
type Block = { logs: number[]; bytes: number; messages: number }

/** Few sets of logs, so that some blocks that follow each other are those of the same logs. */
const blocks = array(array(block, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 }).chain((sets) =>
  array(record({ set: integer({ min: 0, max: sets.length - 1 }), times: integer({ min: 1, max: 4 }) }), { maxLength: 8 }).map((picks) =>
    picks.flatMap(({ set, times }) => Array.from({ length: times }, () => sets[set] ?? []).flat()),
  ),
)

interface Log {
  chunks: Chunk[]
  messages: string[]
}

function fill(list: readonly Block[]): Map<number, Log> {
  const logs = new Map<number, Log>()
  let position = 1
  for (const { logs: some, bytes, messages } of list) {
    const payloads = Array.from({ length: messages }, (_, n) => `${position + n} `.padEnd(bytes, "."))
    for (const { log, ...one } of sharedChunk(some, position, payloads)) {
      const known = logs.get(log) ?? { chunks: [], messages: [] }
      logs.set(log, known)
      known.chunks.push({ ...one, before: { messages: known.messages.length, bytes: 0, expiring: 0 } })
      known.messages.push(...payloads.map(nameOf))
    }
    position += messages
  }
  return logs
}

/** A payload begins with a number. */
function nameOf(payload: string): string {
  return payload.slice(0, 5)
}

function messagesOf({ first, value }: Chunk): string[] {
  const frames = Frames.unseal(first, value)
  return Array.from({ length: frames.n }, (_, k) => nameOf(payloadOf(frames, k).toString("latin1", 0, 5)))
}

test("each log has its messages in order, with what went before; what is worth it is written once", () => {
  assert(
    property(blocks, (list) => {
      const logs = fill(list)
      const sharing = new Sharing()
      for (const { chunks } of logs.values()) sharing.note(chunks)
      /** all that is written: by its bytes, how many logs have it */
      const written = new Map<Buffer, number>()
      for (const { chunks, messages } of logs.values()) {
        const found: string[] = []
        let last = 0
        for (const { chunk, body } of sharing.rows(chunks)) {
          expect([chunk.before.messages, chunk.first > last]).toEqual([found.length, true])
          expect(Frames.unseal(chunk.first, chunk.value).last).toBe(chunk.last)
          if (body) expect([body.value === chunk.value, body.first, body.last]).toEqual([true, chunk.first, chunk.last])
          found.push(...messagesOf(chunk))
          last = chunk.last
          // one block of a single log, or of few, may be a row as it is
          const bytes = body ? body.value : Buffer.from(chunk.value)
          written.set(bytes, (written.get(bytes) ?? 0) + 1)
        }
        expect(found).toEqual(messages)
      }
      const copies = new Map<string, number>()
      for (const bytes of written.keys())
        for (const one of messagesOf({ first: 0, last: 0, before: { messages: 0, bytes: 0, expiring: 0 }, value: bytes }))
          copies.set(one, (copies.get(one) ?? 0) + 1)
      let position = 1
      for (const { logs: some, bytes, messages } of list) {
        const name = nameOf(`${position} `.padEnd(bytes, "."))
        if (isBody(bytes * messages, some.length)) expect(copies.get(name)).toBe(1)
        position += messages
      }
    }),
    { numRuns: 100 },
  )
})

test("small blocks that the same logs have, one behind the other, are put together once", () => {
  const logs = fill(Array.from({ length: 100 }, () => ({ logs: LOGS, bytes: 50, messages: 1 })))
  const sharing = new Sharing()
  for (const { chunks } of logs.values()) sharing.note(chunks)
  const bodies = new Set([...logs.values()].flatMap(({ chunks }) => [...sharing.rows(chunks)].map(({ body }) => body)))
  expect(bodies.size).toBe(1)
  expect([...bodies][0]?.last).toBe(100)
})

test("what is not folded counts a block once, however many logs have it, and nothing when all of them are cut", () => {
  assert(
    property(blocks, (list) => {
      const unfolded = new Unfolded()
      const logs = fill(list)
      for (const [log, { chunks }] of logs) unfolded.apply({ ...NOTHING, appends: chunks.map((one) => ({ log, ...one })) })
      const chunks = [...logs.values()].reduce((sum, log) => sum + log.chunks.length, 0)
      const once = [...new Set([...logs.values()].flatMap((log) => log.chunks.map(({ value }) => value)))]
      const bytes = once.reduce((sum, { length }) => sum + length, 0)
      expect(unfolded.bytes).toBeGreaterThanOrEqual(bytes)
      expect(unfolded.bytes).toBeLessThanOrEqual(bytes + chunks * 500 + once.length * 8192)
      const cuts = [...logs.keys()].map((log) => ({ log, below: 1e9 }))
      unfolded.apply({ ...NOTHING, cuts })
      expect(unfolded.bytes).toBe(cuts.length * 200)
    }),
    { numRuns: 100 },
  )
})
