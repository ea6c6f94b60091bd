import { chmodSync, existsSync } from "node:fs"
import { join } from "node:path"
import type { RangeOptions } from "lmdb"
import { StoreBusy } from "./store.js"
import type { Commit, Cursor, Reserved, SessionRow, Store, StoredChunk, StoredState, SubscriptionRow } from "./store.js"
import { checkFile } from "./check-file.js"
import { DiskGuard } from "./disk-guard.js"
import { type Environment, openEnvironment, reasonOf, type Table } from "./environment.js"
import { DATABASE, prepareFolder } from "./folder.js"
import { logKey, idKey, readUint64, slotKey, writeUint64 } from "./keys.js"
import { messageOf } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import { storeError } from "./errors.js"

/** Format of what is stored; a newer one is refused, an older one would be converted here. */
const FORMAT = 1
const FORMAT_KEY = Buffer.from("format")
const NEXT_KEY = Buffer.from("next")
/** stands for Infinity in a stored cursor */
const UNBOUNDED_POSITION = Number.MAX_SAFE_INTEGER

/**
 * `file:DIR` keeps everything in an LMDB environment in that folder. A commit is one transaction; it resolves after
 * fdatasync. The file grows as needed and never shrinks: space of removed messages is used again.
 */
export class FileStore implements Store {
  readonly url: string
  private environment: Environment
  private readonly file: string
  private readonly disk: DiskGuard
  /** the environment is to be opened again */
  private stale = false

  /** Makes the folder when it is missing. Throws a storeError when it cannot be written. */
  constructor(private readonly folder: string) {
    const file = join(prepareFolder(folder), DATABASE)
    this.url = `file:${folder}`
    this.file = file
    try {
      checkFile(file)
      this.environment = openEnvironment(file)
      // LMDB takes no mode: messages are for their owner alone
      for (const one of [file, `${file}-lock`]) if (existsSync(one)) chmodSync(one, 0o600)
      this.disk = new DiskGuard(file)
    } catch (error) {
      throw storeError(folder, error)
    }
  }

  async load(): Promise<StoredState> {
    try {
      return await this.loadAll()
    } catch (error) {
      throw error instanceof BrokerError ? error : storeError(this.folder, await reasonOf(error))
    }
  }

  private async loadAll(): Promise<StoredState> {
    const { meta, retained, wills } = this.environment
    const format = meta.get(FORMAT_KEY)?.readUInt32BE(0)
    if (format === undefined) {
      const value = Buffer.alloc(4)
      value.writeUInt32BE(FORMAT)
      await meta.put(FORMAT_KEY, value)
    } else if (format > FORMAT) {
      throw storeError(this.folder, new Error(`its format is ${format}, this version reads up to ${FORMAT}; use a newer mqtt-broker`))
    }
    const next = meta.get(NEXT_KEY)
    return {
      sessions: this.loadSessions(),
      retained: withIds(retained),
      wills: withIds(wills),
      logs: this.logIds(),
      next: next ? { position: readUint64(next, 0), id: readUint64(next, 8) } : { position: 1, id: 1 },
    }
  }

  private loadSessions(): StoredState["sessions"] {
    const { sessions: rows, cursors, subscriptions, incoming } = this.environment
    const sessions = new Map<number, StoredState["sessions"][number]>()
    for (const { key, value } of rows.getRange({})) {
      const id = readUint64(key, 0)
      const row: SessionRow = JSON.parse(value.toString())
      sessions.set(id, { id, row, cursor: { position: 0, sentBelow: 0, inflight: undefined }, subscriptions: new Map(), incoming: [] })
    }
    for (const { key, value } of cursors.getRange({})) {
      const session = sessions.get(readUint64(key, 0))
      if (session) session.cursor = unpackCursor(value)
    }
    for (const { key, value } of subscriptions.getRange({})) {
      const row: SubscriptionRow = JSON.parse(value.toString())
      sessions.get(readUint64(key, 0))?.subscriptions.set(key.readUInt32BE(8), row)
    }
    for (const key of incoming.getKeys({})) sessions.get(readUint64(key, 0))?.incoming.push(key.readUInt32BE(8))
    return [...sessions.values()]
  }

  /** Jumps from log to log. */
  private logIds(): number[] {
    const ids: number[] = []
    for (let from = 0; ;) {
      const [key] = this.environment.logs.getKeys({ start: logKey(from, 0), limit: 1 })
      if (!key) return ids
      const id = readUint64(key, 0)
      ids.push(id)
      from = id + 1
    }
  }

  get trouble(): string | undefined {
    try {
      this.disk.check()
      return undefined
    } catch (error) {
      return messageOf(error)
    }
  }

  async commit(commit: Commit): Promise<void> {
    const { recovery } = this.disk
    if (recovery) await recovery
    if (this.stale) await this.reopen()
    this.disk.check()
    try {
      await this.write(commit)
    } catch (error) {
      this.disk.failed()
      await this.reopen().catch(() => {}) // the next commit tries it again
      throw error
    }
  }

  /** LMDB refuses everything, reading included, once the write of its meta page has failed: begin anew with the file. */
  private async reopen(): Promise<void> {
    this.stale = true
    this.disk.check() // a file that is gone must not be made anew
    await this.environment.root.close()
    this.environment = openEnvironment(this.file)
    this.stale = false
  }

  private async write(commit: Commit): Promise<void> {
    const { logs, sessions, subscriptions, cursors, incoming, retained, wills, meta } = this.environment
    const written = new Set<Promise<boolean>>() // the writes of one transaction share a promise, which resolves after its fdatasync
    for (const { log, first, value } of commit.appends) written.add(logs.put(logKey(log, first), value))
    for (const { log, first } of commit.removes) written.add(logs.remove(logKey(log, first)))
    for (const { session, cursor } of commit.cursors) written.add(cursors.put(idKey(session), packCursor(cursor)))
    for (const { id, row } of commit.sessions) {
      if (!row) written.add(cursors.remove(idKey(id)))
      written.add(write(sessions, idKey(id), row && Buffer.from(JSON.stringify(row))))
    }
    for (const { session, slot, row } of commit.subscriptions)
      written.add(write(subscriptions, slotKey(session, slot), row && Buffer.from(JSON.stringify(row))))
    for (const { session, identifier, open: half } of commit.incoming)
      written.add(write(incoming, slotKey(session, identifier), half ? NO_BYTES : undefined))
    for (const { id, value } of commit.retained) written.add(write(retained, idKey(id), value))
    for (const { id, value } of commit.wills) written.add(write(wills, idKey(id), value))
    if (commit.reserved) written.add(meta.put(NEXT_KEY, packReserved(commit.reserved)))
    const results = await Promise.allSettled(written)
    for (const result of results) if (result.status === "rejected") throw await reasonOf(result.reason)
  }

  chunkAt(log: number, position: number): StoredChunk | undefined {
    const range = { start: logKey(log, position), end: logKey(log, 0), reverse: true, inclusiveEnd: true, limit: 1 }
    const [chunk] = this.range(range)
    return chunk
  }

  read(log: number, position: number, most: { chunks: number; bytes: number }): StoredChunk[] {
    const found: StoredChunk[] = []
    let { bytes } = most
    for (const chunk of this.range({ start: logKey(log, position), end: logKey(log + 1, 0), limit: most.chunks })) {
      found.push(chunk)
      bytes -= chunk.value.length
      if (bytes <= 0) break
    }
    return found
  }

  firsts(log: number, { from, below, limit }: { from: number; below: number; limit: number }): number[] {
    const keys = this.environment.logs.getKeys({ start: logKey(log, from), end: logKey(log, below), limit })
    return Array.from(keys, (key) => readUint64(key, 8))
  }

  private *range(options: RangeOptions): Generator<StoredChunk> {
    let found = false
    try {
      for (const { key, value } of this.environment.logs.getRange(options)) {
        found = true
        yield { first: readUint64(key, 8), value }
      }
      // LMDB finds nothing at all between a commit that failed and its beginning anew
      if (!found && [...this.environment.root.getKeys({ limit: 1 })].length === 0) throw new Error("not even its tables are there")
    } catch (error) {
      throw new StoreBusy("nothing can be read between a commit that failed and the beginning anew", { cause: error })
    }
  }

  async close(): Promise<void> {
    await this.environment.root.flushed
    await this.environment.root.close()
  }
}

function write(table: Table, key: Buffer, value: Buffer | undefined): Promise<boolean> {
  return value ? table.put(key, value) : table.remove(key)
}

function withIds(table: Table): { id: number; value: Buffer }[] {
  return Array.from(table.getRange({}), ({ key, value }) => ({ id: readUint64(key, 0), value }))
}

const NO_BYTES = Buffer.alloc(0)

function packCursor({ position, sentBelow, inflight }: Cursor): Buffer {
  const value = Buffer.allocUnsafe(16 + (inflight?.length ?? 0))
  writeUint64(value, 0, position)
  writeUint64(value, 8, Math.min(sentBelow, UNBOUNDED_POSITION))
  inflight?.copy(value, 16)
  return value
}

function unpackCursor(value: Buffer): Cursor {
  const sentBelow = readUint64(value, 8)
  return {
    position: readUint64(value, 0),
    sentBelow: sentBelow === UNBOUNDED_POSITION ? Infinity : sentBelow,
    inflight: value.length > 16 ? value.subarray(16) : undefined,
  }
}

function packReserved({ position, id }: Reserved): Buffer {
  const value = Buffer.allocUnsafe(16)
  writeUint64(value, 0, position)
  writeUint64(value, 8, id)
  return value
}
