import { type Amount, Frames, Trait } from "../wire/frames.js"
import type { StoredLog } from "./store.js"
import { readUint64, writeUint64 } from "./keys.js"

/** A sealed block of a log with the positions of its first and last message, and what went into the log before it. */
export interface Chunk {
  readonly first: number
  readonly last: number
  readonly before: Amount
  readonly value: Buffer
}

/** The index of the first of several ascending chunks that has a message at or above `position`; their number when none has. */
export function placeOf(chunks: readonly Chunk[], position: number): number {
  let lo = 0
  let hi = chunks.length
  while (lo < hi) {
    const mid = (lo + hi) >> 1
    if ((chunks[mid]?.last ?? Infinity) < position) lo = mid + 1
    else hi = mid
  }
  return lo
}

/** The chunks from `position` on, as far as `most` goes (Store.read). */
export function chunksFrom(chunks: readonly Chunk[], position: number, most: { chunks: number; bytes: number }): Chunk[] {
  const from = placeOf(chunks, position)
  let { bytes } = most
  let to = from
  while (to < chunks.length && to - from < most.chunks && bytes > 0) bytes -= chunks[to++]?.value.length ?? 0
  return chunks.slice(from, to)
}

/** What went into a log, up to the last message of its last chunk. */
export function amountOf(id: number, { first, last, before, value }: Chunk): StoredLog {
  const { n, bytes, traits } = Frames.unseal(first, value)
  const expiring = before.expiring + (traits & Trait.EXPIRY ? n : 0)
  return { id, last, messages: before.messages + n, bytes: before.bytes + bytes, expiring }
}

/** What stands before the block in a row of the tables: where it begins, and what went into the log before it. */
const PLACE_BYTES = 32

/** See PLACE_BYTES. */
export function placeBytes({ first, before }: Pick<Chunk, "first" | "before">): Buffer {
  const place = Buffer.allocUnsafe(PLACE_BYTES)
  writeUint64(place, 0, first)
  writeUint64(place, 8, before.messages)
  writeUint64(place, 16, before.bytes)
  writeUint64(place, 24, before.expiring)
  return place
}

/** The chunk of a row whose checksum is right; its key has the position of its last message. */
export function chunkOfRow(key: Buffer, row: Buffer): Chunk {
  const before = { messages: readUint64(row, 8), bytes: readUint64(row, 16), expiring: readUint64(row, 24) }
  return { first: readUint64(row, 0), last: readUint64(key, 8), before, value: row.subarray(PLACE_BYTES) }
}
