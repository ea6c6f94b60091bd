import { randomBytes } from "node:crypto"
import { setImmediate as nextTurn, setTimeout as after } from "node:timers/promises"
import { messageOf } from "@mqtt-trio/common"
import { BodyWriter, ReadBodies, type ReadBody, removeReferences } from "./bodies.js"
import { checked, withChecksum } from "./checksum.js"
import {
  amountOf,
  amountOfReference,
  type Chunk,
  chunkOfRow,
  isReference,
  placeBytes,
  placeOf,
  type Reference,
  referenceOfRow,
} from "./chunks.js"
import { checkSpace, type DiskGuard } from "./disk-guard.js"
import { type Environment, openEnvironment, orNotBegun, reasonOf, type TableName, unusedBytes } from "./environment.js"
import { Damage } from "./errors.js"
import { idKey, logKey, readUint64, slotKey } from "./keys.js"
import { lastRows, type LogRow } from "./log-rows.js"
import { ReadThread } from "./read-thread.js"
import type { Answer, LogPosition, Question } from "./read-worker.js"
import { json, packCursor, packReserved, unpackCursor, unpackReserved } from "./rows.js"
import { Sharing } from "./sharing.js"
import type { LostRows, SessionRow, StoredLog, StoredState, SubscriptionRow } from "./store.js"
import type { Unfolded } from "./unfolded.js"

export const NEXT_KEY = Buffer.from("next")
const TIME_KEY = Buffer.from("time")
export const FOLDED_KEY = Buffer.from("folded")
export const SECRET_KEY = Buffer.from("secret")
/** How many rows are removed in one transaction. */
const ROWS_AT_ONCE = 1000
/** Of how many logs it is asked at a time which rows they have. */
const LOGS_AT_ONCE = 1000
/** After so many times in a row somebody is told. */
const PATIENT_TRIES = 10
/** When reading what could not be read is tried again, in ms. */
const RETRY_MS = 100
/** How long a fold works in one turn of the event loop, in ms. */
const TURN_MS = 4

/** So many damaged rows are told apart. */
const MOST_DAMAGED = 10_000

/** How tables may be different. */
export interface TableOptions {
  /** told of rows that cannot be read */
  lost?: LostRows
  /** told, each time anew, why nothing can be read for a while; it is tried again */
  unreadable?: (why: string) => void
  /** the file of the thread that reads, where it is not beside this one */
  readProgram?: URL | undefined
}

interface Writes {
  unfolded: Unfolded
  cut: (log: number) => number
  bodies: BodyWriter
  /** gets the last position of each log that rows are written of */
  folded: Map<number, number>
}

/** The tables of a file store, in LMDB: what is needed of all that was folded. */
export class Tables {
  /** by log that has rows: the last position in them */
  private readonly lasts = new Map<number, number>()
  private readonly thread: ReadThread
  private readonly bodies = new ReadBodies((log, reference) => this.readBody(log, reference))
  /** of the next body, above all that there are */
  private nextBody = 1
  /** rows of messages that are not what had been written, and were passed over */
  private readonly damaged = new Set<string>()
  /** copies that are being made: LMDB reads what it has open */
  private copies: Promise<unknown> = Promise.resolve()
  /** the environment is to be opened again */
  private stale = false

  constructor(
    private readonly file: string,
    private environment: Environment,
    private readonly disk: DiskGuard,
    private readonly options: TableOptions,
  ) {
    this.thread = new ReadThread(file, options.readProgram)
  }

  /** The last sequence of the journal that is in the tables. */
  get folded(): number {
    const value = this.environment.meta.get(FOLDED_KEY)
    return value ? readUint64(intact("meta", { key: FOLDED_KEY, value }, "the last commit"), 0) : 0
  }

  /** What the journal's checksums begin with; made when there is none yet, and on the disk then. */
  async secret(): Promise<number> {
    const { meta } = this.environment
    const value = meta.get(SECRET_KEY)
    if (value) return intact("meta", { key: SECRET_KEY, value }, "the journal's secret").readUInt32LE(0)
    checkSpace(this.file)
    const secret = randomBytes(4)
    await settled([meta.put(SECRET_KEY, withChecksum("meta", SECRET_KEY, secret))])
    return secret.readUInt32LE(0)
  }

  /** Everything that is in them but messages. Throws when a row is damaged. */
  load(): StoredState {
    const value = this.environment.meta.get(NEXT_KEY)
    const [body] = this.environment.bodies.getKeys({ reverse: true, limit: 1 })
    if (body) this.nextBody = readUint64(body, 0) + 1
    const time = this.environment.meta.get(TIME_KEY)
    return {
      sessions: this.loadSessions(),
      retained: this.withIds("retained", "a retained message"),
      wills: this.withIds("wills", "a Will").map(({ id, value: row }) => ({ id, value: JSON.parse(row.toString()) })),
      logs: this.loadLogs(),
      next: value ? unpackReserved(intact("meta", { key: NEXT_KEY, value }, "the next position")) : { position: 1, id: 1 },
      time: time && JSON.parse(intact("meta", { key: TIME_KEY, value: time }, "the time").toString()),
    }
  }

  private loadSessions(): StoredState["sessions"] {
    const { sessions: rows, cursors, subscriptions, incoming } = this.environment
    const sessions = new Map<number, StoredState["sessions"][number]>()
    for (const stored of rows.getRange({})) {
      const id = readUint64(stored.key, 0)
      const row: SessionRow = JSON.parse(intact("sessions", stored, "a session").toString())
      sessions.set(id, { id, row, cursor: { position: 0, sentBelow: 0, inflight: undefined }, subscriptions: new Map(), incoming: [] })
    }
    for (const stored of cursors.getRange({})) {
      const session = sessions.get(readUint64(stored.key, 0))
      if (session) session.cursor = unpackCursor(intact("cursors", stored, `the progress of ${JSON.stringify(session.row.clientId)}`))
    }
    for (const stored of subscriptions.getRange({})) {
      const session = sessions.get(readUint64(stored.key, 0))
      if (!session) continue
      const bytes = intact("subscriptions", stored, `a subscription of ${JSON.stringify(session.row.clientId)}`)
      const row: SubscriptionRow = JSON.parse(bytes.toString())
      session.subscriptions.set(stored.key.readUInt32BE(8), row)
    }
    for (const stored of incoming.getRange({})) {
      intact("incoming", stored, "a Packet Identifier")
      sessions.get(readUint64(stored.key, 0))?.incoming.push(stored.key.readUInt32BE(8))
    }
    return [...sessions.values()]
  }

  private withIds(table: TableName, what: string): { id: number; value: Buffer }[] {
    return Array.from(this.environment[table].getRange({}), (row) => ({ id: readUint64(row.key, 0), value: intact(table, row, what) }))
  }

  private loadLogs(): StoredLog[] {
    const logs = new Map<number, StoredLog>()
    for (const table of ["chunks", "references"] as const)
      for (const row of lastRows(this.environment, table)) {
        const id = readUint64(row.key, 0)
        const last = readUint64(row.key, 8)
        if ((logs.get(id)?.last ?? -1) >= last) continue
        const found = lastOf(id, row)
        if (!found) this.passOver(id, last)
        logs.set(id, found ?? { id, last, messages: 0, bytes: 0, expiring: 0 })
        this.lasts.set(id, last)
      }
    return [...logs.values()].toSorted((one, other) => one.id - other.id)
  }

  /** Whether a log may have rows with messages at or above a position. */
  has(log: number, position: number): boolean {
    return (this.lasts.get(log) ?? -1) >= position
  }

  /** See Store.read. Nothing when has() was wrong, because of a cut or of damage; then it is right the next time. */
  async read(log: number, position: number, most: { chunks: number; bytes: number }): Promise<Chunk[]> {
    for (let from = position; ;) {
      const last = this.lasts.get(log)
      // oxlint-disable-next-line no-await-in-loop -- again only where bodies were damaged, or went with what was cut
      const answer = await this.asked({ kind: "read", log, position: from, ...most })
      for (const lost of answer.damaged) this.passOver(log, lost)
      const end = answer.chunks.at(-1)
      if (!end && last !== undefined && this.lasts.get(log) === last) this.lasts.set(log, position - 1)
      // oxlint-disable-next-line no-await-in-loop
      const found = await this.withBytes(log, answer)
      if (found.length || !end) return found
      from = end.last + 1
    }
  }

  /** Those chunks whose bytes are there. */
  private async withBytes(log: number, { chunks, bytes }: Answer): Promise<Chunk[]> {
    const found: Chunk[] = []
    let at = 0
    for (const chunk of chunks) {
      const { first, last, before, length } = chunk
      let value: ReadBody
      if (isReference(chunk)) {
        value = await this.bodies.get(log, chunk) // oxlint-disable-line no-await-in-loop -- one behind the other
      } else {
        value = Buffer.from(bytes.buffer, at, length)
        at += length
      }
      if (typeof value !== "string") found.push({ first, last, before, value, isShared: isReference(chunk) })
      else if (value === "damaged") this.passOver(log, last)
    }
    return found
  }

  private async readBody(log: number, { last, body, checksum }: Reference): Promise<ReadBody> {
    const { bytes, damaged } = await this.asked({ kind: "body", place: [log, last, body], checksum })
    return bytes.length ? Buffer.from(bytes.buffer) : damaged.length ? "damaged" : "gone"
  }

  /** A row is not what was written: told once. */
  private passOver(log: number, last: number): void {
    const name = `${log}/${last}`
    if (this.damaged.has(name) || this.damaged.size >= MOST_DAMAGED) return
    this.damaged.add(name)
    this.options.lost?.({ log, last, total: this.damaged.size })
  }

  private async asked(question: Question): Promise<Answer> {
    for (let tries = 1; ; tries++) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- until it can be read again
        return await this.thread.ask(question)
      } catch (error) {
        if (tries === PATIENT_TRIES) this.options.unreadable?.(messageOf(error))
        // between a transaction that failed and the beginning anew
        await after(RETRY_MS * Math.min(tries, 20)) // oxlint-disable-line no-await-in-loop
      }
    }
  }

  /**
   * Writes what is not folded yet, in one or several transactions; done twice, it does no harm. Resolves when it is on the disk.
   * @param through the last sequence of the journal that is in it
   * @param cut what lies below is needed by nobody any more
   */
  async fold(unfolded: Unfolded, through: number, cut: (log: number) => number): Promise<void> {
    await this.ready(unfolded.bytes)
    const folded = new Map<number, number>()
    try {
      await this.removeBelow(unfolded.cuts)
      const bodies = new BodyWriter(this.environment, () => this.nextBody++)
      await inTurns(this.writes({ unfolded, cut, bodies, folded }), () => bodies.counts())
      await settled([this.environment.meta.put(FOLDED_KEY, withChecksum("meta", FOLDED_KEY, idKey(through)))])
      for (const [log, below] of unfolded.cuts) if ((this.lasts.get(log) ?? Infinity) < below) this.lasts.delete(log)
      for (const [log, last] of folded) this.lasts.set(log, last)
    } catch (error) {
      for (const [log, last] of folded) this.lasts.set(log, Math.max(last, this.lasts.get(log) ?? 0)) // some may be there
      this.disk.failed()
      await this.reopen().catch(() => {}) // the next fold tries it again
      throw error
    }
  }

  /** Removes what is cut. Which rows that are, the thread knows. */
  private async removeBelow(cuts: ReadonlyMap<number, number>): Promise<void> {
    const some = [...cuts].filter(([log]) => this.lasts.has(log))
    for (const table of ["chunks", "references"] as const) await this.removeFrom(table, [...some]) // oxlint-disable-line no-await-in-loop
  }

  private async removeFrom(table: LogRow["table"], left: LogPosition[]): Promise<void> {
    const { chunks } = this.environment
    while (left.length) {
      const asked = left.slice(0, LOGS_AT_ONCE)
      // oxlint-disable-next-line no-await-in-loop -- some rows after the others
      const { rows, sharers } = await this.thread.ask({ kind: "rows", table, cuts: asked, limit: ROWS_AT_ONCE })
      const removed =
        table === "chunks" ? rows.map(([log, last]) => chunks.remove(logKey(log, last))) : removeReferences(this.environment, rows, sharers)
      // oxlint-disable-next-line no-await-in-loop
      await settled(removed)
      const lastLog = rows.at(-1)?.[0]
      // the last log may have more
      left.splice(0, rows.length < ROWS_AT_ONCE ? asked.length : asked.findIndex(([log]) => log === lastLog))
    }
  }

  /** What of the file can be used again, in bytes. */
  get unusedBytes(): number {
    return unusedBytes(this.environment)
  }

  /** @param bytes that are going to be written */
  private async ready(bytes: number): Promise<void> {
    const { recovery } = this.disk
    if (recovery) await recovery
    if (this.stale) await this.reopen()
    await this.disk.checkFold(bytes, this.unusedBytes)
  }

  /** LMDB refuses everything, reading included, once the write of its meta page has failed: begin anew with the file. */
  private async reopen(): Promise<void> {
    this.stale = true
    await this.disk.look() // a file that is gone must not be made anew
    await this.copies
    // the thread shares the environment: as long as it has it, it is not opened anew
    await this.thread.without(async () => {
      await this.environment.root.close()
      this.environment = openEnvironment(this.file)
    })
    this.stale = false
  }

  private *writes({ unfolded, cut, bodies, folded }: Writes): Generator<Promise<unknown> | undefined> {
    const { chunks, meta } = this.environment
    const sharing = new Sharing()
    const needed = new Map<number, Chunk[]>()
    for (const [log, all] of unfolded.logs) {
      const some = all.slice(placeOf(all, cut(log)))
      needed.set(log, some)
      sharing.note(some)
      yield undefined
    }
    for (const [log, some] of needed)
      for (const { chunk, body } of sharing.rows(some)) {
        const key = logKey(log, chunk.last)
        yield body ? bodies.put(log, chunk, body) : chunks.put(key, withChecksum("chunks", key, placeBytes(chunk), chunk.value))
        folded.set(log, chunk.last)
      }
    yield* this.rows(unfolded)
    if (unfolded.reserved) yield meta.put(NEXT_KEY, withChecksum("meta", NEXT_KEY, packReserved(unfolded.reserved)))
    if (unfolded.time) yield meta.put(TIME_KEY, withChecksum("meta", TIME_KEY, json(unfolded.time)))
  }

  private *rows(unfolded: Unfolded): Generator<Promise<boolean>> {
    for (const [id, row] of unfolded.sessions) {
      if (!row) yield this.write("cursors", idKey(id), undefined)
      yield this.write("sessions", idKey(id), row && json(row))
    }
    for (const [session, rows] of unfolded.subscriptions)
      for (const [slot, row] of rows) yield this.write("subscriptions", slotKey(session, slot), row && json(row))
    for (const [session, cursor] of unfolded.cursors) yield this.write("cursors", idKey(session), packCursor(cursor))
    for (const [session, identifiers] of unfolded.incoming)
      for (const [identifier, open] of identifiers) yield this.write("incoming", slotKey(session, identifier), open ? NO_BYTES : undefined)
    for (const [id, value] of unfolded.retained) yield this.write("retained", idKey(id), value)
    for (const [id, row] of unfolded.wills) yield this.write("wills", idKey(id), row && json(row))
  }

  private write(table: TableName, key: Buffer, bytes: Buffer | undefined): Promise<boolean> {
    return bytes ? this.environment[table].put(key, withChecksum(table, key, bytes)) : this.environment[table].remove(key)
  }

  /** Writes all that is in them at this moment to a new file, while folds go on. */
  copyTo(path: string): Promise<void> {
    const copy = this.environment.root.backup(path, false)
    this.copies = Promise.allSettled([this.copies, copy])
    return copy
  }

  async close(): Promise<void> {
    await this.thread.close()
    await this.copies
    await Promise.allSettled([this.environment.root.flushed]) // a fold that failed said so
    await this.environment.root.close()
  }
}

/** Starts writes for a few ms in each turn of the event loop, and goes on when they are on the disk. `end`: the last ones of a turn. */
async function inTurns(writes: Iterator<Promise<unknown> | undefined>, end: () => Promise<unknown>[]): Promise<void> {
  for (let done = false; !done;) {
    const started = new Set<Promise<unknown>>() // those of one transaction share a promise, which resolves after its fdatasync
    const until = performance.now() + TURN_MS
    do {
      const next = writes.next()
      if (next.done === true) done = true
      else if (next.value) started.add(next.value)
    } while (!done && performance.now() < until)
    for (const write of end()) started.add(write)
    // oxlint-disable-next-line no-await-in-loop -- not more at a time than a turn makes
    await settled(started)
    // oxlint-disable-next-line no-await-in-loop -- others have their turn
    await nextTurn()
  }
}

async function settled(writes: Iterable<Promise<unknown>>): Promise<void> {
  const results = await orNotBegun(Promise.allSettled(writes))
  for (const result of results) if (result.status === "rejected") throw await reasonOf(result.reason)
}

/** The bytes of a row. Throws a Damage when they are not what was written. */
function intact(table: TableName, { key, value }: { key: Buffer; value: Buffer }, what: string): Buffer {
  const bytes = checked(table, key, value)
  if (!bytes) throw new Damage(`${what} in it is damaged`)
  return bytes
}

/** What went into a log, by its last row; undefined: that is damaged. */
function lastOf(id: number, { table, key, value }: LogRow): StoredLog | undefined {
  const row = checked(table, key, value)
  if (!row) return undefined
  return table === "chunks" ? amountOf(id, chunkOfRow(key, row)) : amountOfReference(id, referenceOfRow(key, row))
}

const NO_BYTES = Buffer.alloc(0)
