import { crc32 } from "node:zlib"
import type { Commit, SessionRow, SubscriptionRow, WillRow } from "../store.js"

/** Records begin at multiples of this, in bytes. */
export const ALIGNMENT = 32
/** length, CRC32 of all that follows it, sequence */
const HEAD_BYTES = 16
/** stands for the length of what is absent */
const ABSENT = 0xffff_ffff
const FIRST_BYTES = 1 << 16

/** Numbers and bytes, one behind the other, in a buffer that grows and is used again. */
class Writer {
  buf = Buffer.allocUnsafe(FIRST_BYTES)
  at = 0

  private room(bytes: number): void {
    if (this.at + bytes <= this.buf.length) return
    const wider = Buffer.allocUnsafe(Math.max(this.at + bytes, this.buf.length * 2))
    this.buf.copy(wider, 0, 0, this.at)
    this.buf = wider
  }
  u32(value: number): void {
    this.room(4)
    this.at = this.buf.writeUInt32LE(value, this.at)
  }
  number(value: number): void {
    this.room(8)
    this.at = this.buf.writeDoubleLE(value, this.at)
  }
  bytes(value: Buffer | undefined): void {
    this.u32(value?.length ?? ABSENT)
    if (!value) return
    this.room(value.length)
    this.at += value.copy(this.buf, this.at)
  }
  json(value: object | undefined): void {
    this.bytes(value && Buffer.from(JSON.stringify(value)))
  }
}

/** Writes commits as records. */
export class RecordWriter {
  private readonly out = new Writer()

  /** @param secret what checksums begin with */
  constructor(private readonly secret: number) {}

  /** The record of a commit; valid until the next one is made, with room for `room` bytes before it that are the caller's. */
  write(commit: Commit, sequence: number, room: number): Buffer {
    const { out } = this
    out.at = room + HEAD_BYTES
    body(out, commit)
    const length = out.at - room
    const padded = room + Math.ceil(length / ALIGNMENT) * ALIGNMENT
    while (out.at < padded) out.u32(0)
    const record = out.buf.subarray(0, padded)
    record.writeUInt32LE(length, room)
    record.writeDoubleLE(sequence, room + 8)
    record.writeUInt32LE(crc32(record.subarray(room + 8, room + length), this.secret), room + 4)
    return record
  }

  /** Gives back the memory that an unusually large record took. */
  shrink(): void {
    if (this.out.buf.length > FIRST_BYTES * 64) this.out.buf = Buffer.allocUnsafe(FIRST_BYTES)
  }
}

function body(out: Writer, commit: Commit): void {
  appends(out, commit)
  out.u32(commit.cuts.length)
  for (const { log, below } of commit.cuts) {
    out.number(log)
    out.number(below)
  }
  out.u32(commit.sessions.length)
  for (const { id, row } of commit.sessions) {
    out.number(id)
    out.json(row)
  }
  out.u32(commit.subscriptions.length)
  for (const { session, slot, row } of commit.subscriptions) {
    out.number(session)
    out.u32(slot)
    out.json(row)
  }
  out.u32(commit.cursors.length)
  for (const { session, cursor } of commit.cursors) {
    out.number(session)
    out.number(cursor.position)
    out.number(cursor.sentBelow)
    out.bytes(cursor.inflight)
  }
  out.u32(commit.incoming.length)
  for (const { session, identifier, open } of commit.incoming) {
    out.number(session)
    out.u32(open ? identifier : identifier + CLOSED)
  }
  out.u32(commit.retained.length)
  for (const { id, value } of commit.retained) {
    out.number(id)
    out.bytes(value)
  }
  out.u32(commit.wills.length)
  for (const { id, value } of commit.wills) {
    out.number(id)
    out.json(value)
  }
  out.number(commit.reserved?.position ?? 0)
  out.number(commit.reserved?.id ?? 0)
  if (!commit.time) return // as in all records of older versions; they pass it over where it is
  out.number(commit.time.broker)
  out.number(commit.time.wall)
}

/** A block that several logs share stands there once. */
function appends(out: Writer, commit: Commit): void {
  const blocks = new Map<Buffer, number>()
  for (const { value } of commit.appends) if (!blocks.has(value)) blocks.set(value, blocks.size)
  out.u32(blocks.size)
  for (const block of blocks.keys()) out.bytes(block)
  out.u32(commit.appends.length)
  for (const { log, first, last, before, value } of commit.appends) {
    out.number(log)
    out.number(first)
    out.number(last)
    out.number(before.messages)
    out.number(before.bytes)
    out.number(before.expiring)
    out.u32(blocks.get(value) ?? 0)
  }
}

/** added to a Packet Identifier that is not open any more */
const CLOSED = 0x1_0000

class Reader {
  constructor(
    private readonly buf: Buffer,
    public at: number,
  ) {}
  u32(): number {
    const value = this.buf.readUInt32LE(this.at)
    this.at += 4
    return value
  }
  number(): number {
    const value = this.buf.readDoubleLE(this.at)
    this.at += 8
    return value
  }
  bytes(): Buffer | undefined {
    const length = this.u32()
    if (length === ABSENT) return undefined
    const value = this.buf.subarray(this.at, this.at + length)
    this.at += length
    return value
  }
  session(): SessionRow | undefined {
    const value = this.bytes()
    return value && JSON.parse(value.toString())
  }
  subscription(): SubscriptionRow | undefined {
    const value = this.bytes()
    return value && JSON.parse(value.toString())
  }
  will(): WillRow | undefined {
    const value = this.bytes()
    return value && JSON.parse(value.toString())
  }
  appends(): Commit["appends"] {
    const blocks = this.list(() => this.bytes() ?? NO_BYTES)
    return this.list(() => ({
      log: this.number(),
      first: this.number(),
      last: this.number(),
      before: { messages: this.number(), bytes: this.number(), expiring: this.number() },
      value: blocks[this.u32()] ?? NO_BYTES,
    }))
  }
  list<T>(one: () => T): T[] {
    return Array.from({ length: this.u32() }, one)
  }
}

/** A record that is whole. */
export interface StoredRecord {
  sequence: number
  /** behind it, where the next one begins */
  end: number
  /** what it says; its buffers are part of the segment's */
  commit(): Commit
}

/** The record at a place of a segment; undefined: there is none that is whole. */
export function recordAt(segment: Buffer, at: number, secret: number): StoredRecord | undefined {
  if (at + HEAD_BYTES > segment.length) return undefined
  const length = segment.readUInt32LE(at)
  if (length < HEAD_BYTES || at + length > segment.length) return undefined
  if (crc32(segment.subarray(at + 8, at + length), secret) !== segment.readUInt32LE(at + 4)) return undefined
  return {
    sequence: segment.readDoubleLE(at + 8),
    end: at + Math.ceil(length / ALIGNMENT) * ALIGNMENT,
    commit: () => commitAt(new Reader(segment, at + HEAD_BYTES), at + length),
  }
}

/** The sequence of what may be a record at a place; it costs less than recordAt, which says whether it is one. */
export function sequenceAt(segment: Buffer, at: number): number {
  return at + HEAD_BYTES <= segment.length ? segment.readDoubleLE(at + 8) : 0
}

function commitAt(from: Reader, end: number): Commit {
  const commit: Commit = {
    appends: from.appends(),
    cuts: from.list(() => ({ log: from.number(), below: from.number() })),
    sessions: from.list(() => ({ id: from.number(), row: from.session() })),
    subscriptions: from.list(() => ({ session: from.number(), slot: from.u32(), row: from.subscription() })),
    cursors: from.list(() => ({
      session: from.number(),
      cursor: { position: from.number(), sentBelow: from.number(), inflight: from.bytes() },
    })),
    incoming: from.list(() => incoming(from.number(), from.u32())),
    retained: from.list(() => ({ id: from.number(), value: from.bytes() })),
    wills: from.list(() => ({ id: from.number(), value: from.will() })),
    reserved: undefined,
  }
  const reserved = { position: from.number(), id: from.number() }
  if (reserved.position) commit.reserved = reserved
  if (from.at < end) commit.time = { broker: from.number(), wall: from.number() }
  return commit
}

function incoming(session: number, word: number): Commit["incoming"][number] {
  return { session, identifier: word % CLOSED, open: word < CLOSED }
}

const NO_BYTES = Buffer.alloc(0)
