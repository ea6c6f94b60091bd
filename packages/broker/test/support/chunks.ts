import type { Commit, Store, StoredChunk } from "../../src/stores/store.js"
import { type Amount, Frames, NO_AMOUNT } from "../../src/wire/frames.js"
import { payloadOf } from "../../src/wire/publish.js"
import { publish } from "./wire.js"

export { NOTHING } from "../../src/stores/store.js"

/** A chunk of messages at consecutive positions, each with a payload of its own. */
export function chunk(log: number, first: number, ...payloads: (string | Buffer)[]): Commit["appends"][number] {
  const run = new Frames(Buffer.alloc(0), 0)
  for (const payload of payloads) {
    const packet = publish(4, { topic: "t", qos: 1, packetId: 1, payload })
    run.buf = Buffer.concat([run.buf, packet])
    run.index = new Int32Array([...run.index, 0, 0, 0])
    run.add(run.end + packet.length - Buffer.from(payload).length - 2, run.buf.length, false)
  }
  const frames = new Frames(Buffer.alloc(run.buf.length), payloads.length)
  frames.first = first
  frames.append(run, 0, run.n, first)
  return { log, first, last: frames.last, before: NO_AMOUNT, value: frames.seal() }
}

/** What several logs got together: a chunk of each with one block, as a broker gives it. `before`: of each log, where it is not empty. */
export function sharedChunk(
  logs: readonly number[],
  first: number,
  payloads: readonly (string | Buffer)[],
  before: (log: number) => Amount = () => NO_AMOUNT,
): Commit["appends"] {
  const one = chunk(0, first, ...payloads)
  return logs.map((log) => ({ ...one, log, before: before(log) }))
}

/** The messages of chunks, each once, as a reader sees them that goes from chunk to chunk. */
export function messagesOf(chunks: readonly StoredChunk[], position: number): [number, Buffer][] {
  const found: [number, Buffer][] = []
  let at = position
  for (const { first, value: sealed } of chunks) {
    const frames = Frames.unseal(first, sealed)
    for (let i = frames.find(at); i < frames.n; i++) found.push([frames.positionOf(i), payloadOf(frames, i)])
    at = Math.max(at, frames.last + 1)
  }
  return found
}

/** All messages of a log from a position on, read from chunk to chunk. */
export async function readOn(store: Pick<Store, "read">, log: number, position: number): Promise<[number, Buffer][]> {
  const found: [number, Buffer][] = []
  for (let at = position; ;) {
    const chunks = await store.read(log, at, { chunks: 1000, bytes: 1e9 })
    const messages = messagesOf(chunks, at)
    const last = messages.at(-1)
    if (!last) return found
    found.push(...messages)
    at = last[0] + 1
  }
}
