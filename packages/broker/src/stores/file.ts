import { mkdirSync } from "node:fs"
import { type Database, open, type RootDatabase } from "lmdb"
import type { Commit, Cursor, Reserved, SessionRow, Store, StoredChunk, StoredState, SubscriptionRow } from "./store.js"
import { logKey, numberKey, readUint64, slotKey, writeUint64 } from "./keys.js"
import { storeError } from "./errors.js"

/** Format of what is stored; a newer one is refused, an older one would be converted here. */
const FORMAT = 1
const FORMAT_KEY = Buffer.from("format")
const NEXT_KEY = Buffer.from("next")
/** stands for Infinity in a stored cursor */
const UNBOUNDED = Number.MAX_SAFE_INTEGER

type Table = Database<Buffer, Buffer>

/**
 * `file:DIR` keeps everything in an LMDB environment in that folder. A commit is one transaction; it resolves after
 * fdatasync. The file grows as needed and never shrinks: space of removed messages is used again.
 */
export class FileStore implements Store {
  readonly url: string
  private readonly root: RootDatabase<Buffer, Buffer>
  private readonly logs: Table
  private readonly sessions: Table
  private readonly subscriptions: Table
  private readonly cursors: Table
  private readonly meta: Table

  /** Makes the folder when it is missing. Throws a storeError when it cannot be written. */
  constructor(readonly folder: string) {
    this.url = `file:${folder}`
    const binary = { encoding: "binary", keyEncoding: "binary" } as const
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      // without overlappingSync the promise of a write resolves after fdatasync, not before
      this.root = open({ path: `${folder}/mqtt-broker.mdb`, ...binary, overlappingSync: false, maxDbs: 8, noMemInit: true })
      this.logs = this.root.openDB("logs", binary)
      this.sessions = this.root.openDB("sessions", binary)
      this.subscriptions = this.root.openDB("subscriptions", binary)
      this.cursors = this.root.openDB("cursors", binary)
      this.meta = this.root.openDB("meta", binary)
    } catch (error) {
      throw storeError(folder, error)
    }
  }

  async load(): Promise<StoredState> {
    const format = this.meta.get(FORMAT_KEY)?.readUInt32BE(0)
    if (format === undefined) {
      const value = Buffer.alloc(4)
      value.writeUInt32BE(FORMAT)
      await this.meta.put(FORMAT_KEY, value)
    } else if (format > FORMAT) {
      throw storeError(this.folder, new Error(`its format is ${format}, this version reads up to ${FORMAT}; use a newer mqtt-broker`))
    }
    const next = this.meta.get(NEXT_KEY)
    return {
      sessions: this.loadSessions(),
      logs: this.logNumbers(),
      next: next ? { position: readUint64(next, 0), number: readUint64(next, 8) } : { position: 1, number: 1 },
    }
  }

  private loadSessions(): StoredState["sessions"] {
    const sessions = new Map<number, StoredState["sessions"][number]>()
    for (const { key, value } of this.sessions.getRange({})) {
      const number = key.readUInt32BE(0)
      const row: SessionRow = JSON.parse(value.toString())
      sessions.set(number, { number, row, cursor: { cursor: 0, sentBelow: 0 }, subscriptions: new Map() })
    }
    for (const { key, value } of this.cursors.getRange({})) {
      const session = sessions.get(key.readUInt32BE(0))
      if (session) session.cursor = unpackCursor(value)
    }
    for (const { key, value } of this.subscriptions.getRange({})) {
      const row: SubscriptionRow = JSON.parse(value.toString())
      sessions.get(key.readUInt32BE(0))?.subscriptions.set(key.readUInt32BE(4), row)
    }
    return [...sessions.values()]
  }

  /** Jumps from log to log. */
  private logNumbers(): number[] {
    const numbers: number[] = []
    for (let from = 0; ;) {
      const [key] = this.logs.getKeys({ start: logKey(from, 0), limit: 1 })
      if (!key) return numbers
      const number = key.readUInt32BE(0)
      numbers.push(number)
      from = number + 1
    }
  }

  async commit(commit: Commit): Promise<void> {
    let written: Promise<boolean> | null = null
    for (const { log, first, value } of commit.appends) written = this.logs.put(logKey(log, first), value)
    for (const { log, first } of commit.removes) written = this.logs.remove(logKey(log, first))
    for (const { session, cursor } of commit.cursors) written = this.cursors.put(numberKey(session), packCursor(cursor))
    for (const { number, row } of commit.sessions) written = this.writeSession(number, row)
    for (const { session, slot, row } of commit.subscriptions) {
      const key = slotKey(session, slot)
      written = row ? this.subscriptions.put(key, Buffer.from(JSON.stringify(row))) : this.subscriptions.remove(key)
    }
    if (commit.reserved) written = this.meta.put(NEXT_KEY, packReserved(commit.reserved))
    await written // the last write's: resolved after the fdatasync of the transaction that all of them are in
  }

  private writeSession(number: number, row: SessionRow | null): Promise<boolean> {
    const key = numberKey(number)
    if (row) return this.sessions.put(key, Buffer.from(JSON.stringify(row)))
    void this.cursors.remove(key) // in the same transaction as the next write
    return this.sessions.remove(key)
  }

  chunkAt(log: number, position: number): StoredChunk | null {
    const range = { start: logKey(log, position), end: logKey(log, 0), reverse: true, inclusiveEnd: true, limit: 1 }
    for (const { key, value } of this.logs.getRange(range)) return { first: readUint64(key, 4), value }
    return null
  }

  read(log: number, position: number, most: { chunks: number; bytes: number }): StoredChunk[] {
    const found: StoredChunk[] = []
    let { bytes } = most
    for (const { key, value } of this.logs.getRange({ start: logKey(log, position), end: logKey(log + 1, 0), limit: most.chunks })) {
      found.push({ first: readUint64(key, 4), value })
      bytes -= value.length
      if (bytes <= 0) break
    }
    return found
  }

  firsts(log: number, { from, below, limit }: { from: number; below: number; limit: number }): number[] {
    const keys = this.logs.getKeys({ start: logKey(log, from), end: logKey(log, below), limit })
    return Array.from(keys, (key) => readUint64(key, 4))
  }

  async close(): Promise<void> {
    await this.root.flushed
    await this.root.close()
  }
}

function packCursor({ cursor, sentBelow }: Cursor): Buffer {
  const value = Buffer.allocUnsafe(16)
  writeUint64(value, 0, cursor)
  writeUint64(value, 8, Math.min(sentBelow, UNBOUNDED))
  return value
}

function unpackCursor(value: Buffer): Cursor {
  const sentBelow = readUint64(value, 8)
  return { cursor: readUint64(value, 0), sentBelow: sentBelow === UNBOUNDED ? Infinity : sentBelow }
}

function packReserved({ position, number }: Reserved): Buffer {
  const value = Buffer.allocUnsafe(16)
  writeUint64(value, 0, position)
  writeUint64(value, 8, number)
  return value
}
