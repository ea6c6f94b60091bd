import { setImmediate as nextTurn, setTimeout as after } from "node:timers/promises"
import { Frames, Trait } from "../wire/frames.js"
import { checked, withChecksum } from "./checksum.js"
import { type Chunk, placeOf } from "./chunks.js"
import type { DiskGuard } from "./disk-guard.js"
import { type Environment, openEnvironment, reasonOf, type Table } from "./environment.js"
import { idKey, logKey, readUint64, slotKey, writeUint64 } from "./keys.js"
import { packed } from "./packing.js"
import { ReadThread } from "./read-thread.js"
import type { Answer, Question } from "./read-worker.js"
import type { Cursor, Reserved, SessionRow, StoredLog, StoredState, SubscriptionRow } from "./store.js"
import type { Unfolded } from "./unfolded.js"

export const NEXT_KEY = Buffer.from("next")
const FOLDED_KEY = Buffer.from("folded")
/** stands for Infinity in a stored cursor */
const UNBOUNDED_POSITION = Number.MAX_SAFE_INTEGER
/** How many rows are removed in one transaction. */
const ROWS_AT_ONCE = 1000
/** When reading what could not be read is tried again, in ms. */
const RETRY_MS = 100
/** How long a fold works in one turn of the event loop, in ms. */
const TURN_MS = 4
/** stands before the block in a row of `chunks`: the position of its first message */
const FIRST_BYTES = 8

/** The tables of a file store, in LMDB: what is needed of all that was folded. */
export class Tables {
  /** by log that has rows: the last position in them */
  private readonly lasts = new Map<number, number>()
  private readonly thread: ReadThread
  /** rows that were not what had been written, and were passed over */
  damaged = 0
  /** the environment is to be opened again */
  private stale = false

  constructor(
    private readonly file: string,
    private environment: Environment,
    private readonly disk: DiskGuard,
    readProgram: URL | undefined,
  ) {
    this.thread = new ReadThread(file, readProgram)
  }

  /** The last sequence of the journal that is in the tables. */
  get folded(): number {
    const row = this.environment.meta.get(FOLDED_KEY)
    return row ? readUint64(intact(row, "the last commit"), 0) : 0
  }

  /** Everything that is in them but messages. Throws when a row is damaged. */
  load(): StoredState {
    const { retained, wills, meta } = this.environment
    const next = meta.get(NEXT_KEY)
    return {
      sessions: this.loadSessions(),
      retained: withIds(retained, "a retained message"),
      wills: withIds(wills, "a Will"),
      logs: this.loadLogs(),
      next: next ? unpackReserved(intact(next, "the next position")) : { position: 1, id: 1 },
    }
  }

  private loadSessions(): StoredState["sessions"] {
    const { sessions: rows, cursors, subscriptions, incoming } = this.environment
    const sessions = new Map<number, StoredState["sessions"][number]>()
    for (const { key, value } of rows.getRange({})) {
      const id = readUint64(key, 0)
      const row: SessionRow = JSON.parse(intact(value, "a session").toString())
      sessions.set(id, { id, row, cursor: { position: 0, sentBelow: 0, inflight: undefined }, subscriptions: new Map(), incoming: [] })
    }
    for (const { key, value } of cursors.getRange({})) {
      const session = sessions.get(readUint64(key, 0))
      if (session) session.cursor = unpackCursor(intact(value, `the progress of ${JSON.stringify(session.row.clientId)}`))
    }
    for (const { key, value } of subscriptions.getRange({})) {
      const session = sessions.get(readUint64(key, 0))
      if (!session) continue
      const row: SubscriptionRow = JSON.parse(intact(value, `a subscription of ${JSON.stringify(session.row.clientId)}`).toString())
      session.subscriptions.set(key.readUInt32BE(8), row)
    }
    for (const key of incoming.getKeys({})) sessions.get(readUint64(key, 0))?.incoming.push(key.readUInt32BE(8))
    return [...sessions.values()]
  }

  /** Jumps from log to log. */
  private loadLogs(): StoredLog[] {
    const found: StoredLog[] = []
    const { chunks } = this.environment
    for (let from = 0; ;) {
      const [key] = chunks.getKeys({ start: logKey(from, 0), limit: 1 })
      if (!key) return found
      const id = readUint64(key, 0)
      const [end] = chunks.getRange({ start: logKey(id + 1, 0), end: logKey(id, 0), reverse: true, limit: 1 })
      const chunk = end && chunkOf(end)
      const last = end ? readUint64(end.key, 8) : 0
      if (chunk) found.push(amountOf(id, chunk))
      else found.push({ id, last, messages: 0, bytes: 0, expiring: 0 })
      this.lasts.set(id, last)
      from = id + 1
    }
  }

  /** Whether a log may have rows with messages at or above a position. */
  has(log: number, position: number): boolean {
    return (this.lasts.get(log) ?? -1) >= position
  }

  /** See Store.read. Nothing when has() was wrong, because of a cut or of damage; then it is right the next time. */
  async read(log: number, position: number, most: { chunks: number; bytes: number }): Promise<Chunk[]> {
    const last = this.lasts.get(log)
    const { chunks, bytes, damaged } = await this.asked({ kind: "read", log, position, ...most })
    this.damaged += damaged
    if (!chunks.length && last !== undefined && this.lasts.get(log) === last) this.lasts.set(log, position - 1)
    let at = 0
    return chunks.map(({ first, last: end, length }) => {
      at += length
      return { first, last: end, value: Buffer.from(bytes.buffer, at - length, length) }
    })
  }

  private async asked(question: Question): Promise<Answer> {
    for (;;) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- until it can be read again
        return await this.thread.ask(question)
      } catch {
        // between a transaction that failed and the beginning anew
        await after(RETRY_MS) // oxlint-disable-line no-await-in-loop
      }
    }
  }

  /**
   * Writes what is not folded yet, in one or several transactions; done twice, it does no harm. Resolves when it is on the disk.
   * @param through the last sequence of the journal that is in it
   * @param cut what lies below is needed by nobody any more
   */
  async fold(unfolded: Unfolded, through: number, cut: (log: number) => number): Promise<void> {
    await this.ready()
    try {
      const folded = new Map<number, number>()
      await this.removeBelow(unfolded.cuts)
      await inTurns(this.writes(unfolded, cut, folded))
      await settled([this.environment.meta.put(FOLDED_KEY, withChecksum(idKey(through)))])
      for (const [log, below] of unfolded.cuts) if ((this.lasts.get(log) ?? Infinity) < below) this.lasts.delete(log)
      for (const [log, last] of folded) this.lasts.set(log, last)
    } catch (error) {
      this.disk.failed()
      await this.reopen().catch(() => {}) // the next fold tries it again
      throw error
    }
  }

  /** Removes what is cut. Which rows that are, the thread knows. */
  private async removeBelow(cuts: ReadonlyMap<number, number>): Promise<void> {
    const { chunks } = this.environment
    for (const [log, below] of cuts) {
      if (!this.lasts.has(log)) continue
      for (let full = true; full;) {
        // oxlint-disable-next-line no-await-in-loop -- one log after the other
        const { rows } = await this.thread.ask({ kind: "rows", log, below, limit: ROWS_AT_ONCE })
        // oxlint-disable-next-line no-await-in-loop
        await settled(rows.map((last) => chunks.remove(logKey(log, last))))
        full = rows.length === ROWS_AT_ONCE
      }
    }
  }

  private async ready(): Promise<void> {
    const { recovery } = this.disk
    if (recovery) await recovery
    if (this.stale) await this.reopen()
    this.disk.check()
  }

  /** LMDB refuses everything, reading included, once the write of its meta page has failed: begin anew with the file. */
  private async reopen(): Promise<void> {
    this.stale = true
    this.disk.check() // a file that is gone must not be made anew
    await this.thread.release()
    await this.environment.root.close()
    this.environment = openEnvironment(this.file)
    this.stale = false
  }

  /** @param folded gets the last position of each log that rows are written of */
  private *writes(unfolded: Unfolded, cut: (log: number) => number, folded: Map<number, number>): Generator<Promise<boolean>> {
    const { chunks, meta } = this.environment
    for (const [log, all] of unfolded.logs) {
      const needed = all.slice(placeOf(all, cut(log)))
      for (const { first, last, value } of packed(needed)) {
        const place = Buffer.allocUnsafe(FIRST_BYTES)
        writeUint64(place, 0, first)
        yield chunks.put(logKey(log, last), withChecksum(place, value))
        folded.set(log, last)
      }
    }
    yield* this.rows(unfolded)
    if (unfolded.reserved) yield meta.put(NEXT_KEY, withChecksum(packReserved(unfolded.reserved)))
  }

  private *rows(unfolded: Unfolded): Generator<Promise<boolean>> {
    const { sessions, subscriptions, cursors, incoming, retained, wills } = this.environment
    for (const [id, row] of unfolded.sessions) {
      if (!row) yield cursors.remove(idKey(id))
      yield write(sessions, idKey(id), row && json(row))
    }
    for (const [session, rows] of unfolded.subscriptions)
      for (const [slot, row] of rows) yield write(subscriptions, slotKey(session, slot), row && json(row))
    for (const [session, cursor] of unfolded.cursors) yield cursors.put(idKey(session), withChecksum(packCursor(cursor)))
    for (const [session, identifiers] of unfolded.incoming)
      for (const [identifier, open] of identifiers) yield write(incoming, slotKey(session, identifier), open ? NO_BYTES : undefined)
    for (const [id, value] of unfolded.retained) yield write(retained, idKey(id), value && withChecksum(value))
    for (const [id, value] of unfolded.wills) yield write(wills, idKey(id), value && withChecksum(value))
  }

  async close(): Promise<void> {
    await this.thread.close()
    await this.environment.root.flushed
    await this.environment.root.close()
  }
}

/** Starts writes for a few ms in each turn of the event loop, and goes on when they are on the disk. */
async function inTurns(writes: Generator<Promise<boolean>>): Promise<void> {
  for (let done = false; !done;) {
    const started = new Set<Promise<boolean>>() // those of one transaction share a promise, which resolves after its fdatasync
    const until = performance.now() + TURN_MS
    do {
      const next = writes.next()
      if (next.done === true) done = true
      else started.add(next.value)
    } while (!done && performance.now() < until)
    // oxlint-disable-next-line no-await-in-loop -- not more at a time than a turn makes
    await settled(started)
    // oxlint-disable-next-line no-await-in-loop -- others have their turn
    await nextTurn()
  }
}

async function settled(writes: Iterable<Promise<boolean>>): Promise<void> {
  const results = await Promise.allSettled(writes)
  for (const result of results) if (result.status === "rejected") throw await reasonOf(result.reason)
}

/** Throws when a row is not what was written. */
function intact(row: Buffer, what: string): Buffer {
  const bytes = checked(row)
  if (!bytes) throw new Error(`${what} in it is damaged; take a copy from before`)
  return bytes
}

function chunkOf({ key, value }: { key: Buffer; value: Buffer }): Chunk | undefined {
  const row = checked(value)
  return row && { first: readUint64(row, 0), last: readUint64(key, 8), value: row.subarray(FIRST_BYTES) }
}

function amountOf(id: number, { first, last, value }: Chunk): StoredLog {
  const { before, n, beforeBytes, bytes, beforeExpiring, traits } = Frames.unseal(first, value)
  return { id, last, messages: before + n, bytes: beforeBytes + bytes, expiring: beforeExpiring + (traits & Trait.EXPIRY ? n : 0) }
}

function json(row: object): Buffer {
  return withChecksum(Buffer.from(JSON.stringify(row)))
}

function write(table: Table, key: Buffer, value: Buffer | undefined): Promise<boolean> {
  return value ? table.put(key, value) : table.remove(key)
}

function withIds(table: Table, what: string): { id: number; value: Buffer }[] {
  return Array.from(table.getRange({}), ({ key, value }) => ({ id: readUint64(key, 0), value: intact(value, what) }))
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

function unpackReserved(value: Buffer): Reserved {
  return { position: readUint64(value, 0), id: readUint64(value, 8) }
}
