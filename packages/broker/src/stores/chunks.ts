import { type Amount, Frames, Trait } from "../wire/frames.js"
import type { StoredLog } from "./store.js"
import { readUint64, writeUint64 } from "./keys.js"

/** A sealed block of a log with the positions of its first and last message, and what went into the log before it. */
export interface Chunk {
  readonly first: number
  readonly last: number
  readonly before: Amount
  readonly value: Buffer
  readonly isShared?: boolean
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

/** A chunk of a log whose block is a body: what the log has for itself, and which one it is. */
export interface Reference extends Omit<Chunk, "value"> {
  readonly body: number
  /** CRC32 of the body: no other block is taken for it */
  readonly checksum: number
  /** how long the body is, in bytes */
  readonly length: number
  /** how many messages it has, and how many of them may expire */
  readonly messages: number
  readonly expiring: number
}

/** What is known of a chunk whose bytes are somewhere else. */
export type BytelessChunk = (Omit<Chunk, "value"> & { readonly length: number }) | Reference

export function isReference(chunk: BytelessChunk): chunk is Reference {
  return "body" in chunk
}

/** What stands in a reference behind its place: checksum, length, messages, those that may expire. */
const BODY_BYTES = 16

/** The row of a reference; the rest is its key. `block`: the body. */
export function referenceBytes(place: Pick<Chunk, "first" | "before">, block: Buffer, checksum: number): Buffer {
  const messages = Frames.messagesOf(block)
  const row = Buffer.allocUnsafe(PLACE_BYTES + BODY_BYTES)
  placeBytes(place).copy(row)
  let at = row.writeUInt32BE(checksum, PLACE_BYTES)
  at = row.writeUInt32BE(block.length, at)
  at = row.writeUInt32BE(messages, at)
  row.writeUInt32BE(Frames.traitsOf(block) & Trait.EXPIRY ? messages : 0, at)
  return row
}

/** The reference of a row whose checksum is right. */
export function referenceOfRow(key: Buffer, row: Buffer): Reference {
  const { first, last, before } = chunkOfRow(key, row)
  const word = (n: number): number => row.readUInt32BE(PLACE_BYTES + n * 4)
  return { first, last, before, body: readUint64(key, 16), checksum: word(0), length: word(1), messages: word(2), expiring: word(3) }
}

/** What went into a log up to the last message of a reference, its last row. */
export function amountOfReference(id: number, { last, before, length, messages, expiring }: Reference): StoredLog {
  const bytes = Frames.bytesIn(length, messages)
  return { id, last, messages: before.messages + messages, bytes: before.bytes + bytes, expiring: before.expiring + expiring }
}

/** The chunk of a row whose checksum is right; its key has the position of its last message. */
export function chunkOfRow(key: Buffer, row: Buffer): Chunk {
  const before = { messages: readUint64(row, 8), bytes: readUint64(row, 16), expiring: readUint64(row, 24) }
  return { first: readUint64(row, 0), last: readUint64(key, 8), before, value: row.subarray(PLACE_BYTES) }
}
