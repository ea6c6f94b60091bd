import { type Amount, Frames } from "../../wire/frames.js"
import { checksumOf, sharersRow } from "../bodies.js"
import { checked, withChecksum } from "../checksum.js"
import { type Chunk, chunkOfRow, referenceOfRow } from "../chunks.js"
import { type Environment, openEnvironment, type TableName } from "../environment.js"
import { FORMAT_KEY, formatRow } from "../formats.js"
import { idKey, readUint64 } from "../keys.js"
import { logRows } from "../log-rows.js"
import type { Cursor, SessionRow } from "../store.js"
import { packCursor, packReserved } from "../rows.js"
import { NEXT_KEY } from "../tables.js"

/** What is written in one transaction, in bytes. */
const TRANSACTION_BYTES = 4 << 20
/** Positions and ids that are left out, because what is missing may have had them. */
const MARGIN = 10_000_000

interface Row {
  table: TableName
  key: Buffer
  value: Buffer
}

/** A new file of tables, made of rows that were found in a damaged one. */
export class Rebuilt {
  readonly environment: Environment
  private waiting: Row[] = []
  private waitingBytes = 0

  constructor(path: string) {
    this.environment = openEnvironment(path)
  }

  /** Takes a row, with its checksum; the first one for a key stays. */
  add({ table, key, value }: Row): void {
    this.waiting.push({ table, key: Buffer.from(key), value: Buffer.from(value) })
    this.waitingBytes += value.length + 100
    if (this.waitingBytes > TRANSACTION_BYTES) this.flush()
  }

  flush(): void {
    const { environment } = this
    environment.root.transactionSync(() => {
      for (const { table, key, value } of this.waiting) if (!environment[table].get(key)) environment[table].putSync(key, value)
    })
    this.waiting = []
    this.waitingBytes = 0
  }

  /** What a row of `meta` says, undefined when it is missing. */
  meta(key: Buffer): Buffer | undefined {
    const row = this.environment.meta.get(key)
    return row && checked("meta", key, row)
  }

  /** How many rows of a table it has. */
  count(table: TableName): number {
    return this.environment[table].getCount()
  }

  /** References whose body is not there go, and bodies that nothing refers to; the others are counted. */
  settleBodies(): void {
    this.flush()
    const { root, references, bodies, sharers } = this.environment
    root.transactionSync(() => {
      const checksums = new Map<number, number>()
      for (const { key, value } of bodies.getRange({})) checksums.set(readUint64(key, 0), checksumOf(value))
      const counts = new Map<number, number>()
      const lost: Buffer[] = []
      for (const { key, value } of rowsOf(this.environment, "references")) {
        const { body, checksum } = referenceOfRow(key, value)
        if (checksums.get(body) === checksum) counts.set(body, (counts.get(body) ?? 0) + 1)
        else lost.push(key)
      }
      for (const key of lost) references.removeSync(key)
      for (const table of [bodies, sharers])
        for (const key of Array.from(table.getKeys({}))) if (!counts.has(readUint64(key, 0))) table.removeSync(key)
      for (const [body, count] of counts) sharers.putSync(idKey(body), sharersRow(idKey(body), count))
    })
  }

  /** What refers to what is not there goes, so that a broker starts on it. Returns how many queues lost their place. */
  settle(): number {
    const { environment } = this
    this.flush()
    return environment.root.transactionSync(() => {
      this.dropDoubles()
      for (const table of ["subscriptions", "cursors", "incoming"] as const) this.dropStrays(table)
      const lost = this.addCursors()
      this.reserve()
      environment.meta.putSync(FORMAT_KEY, formatRow())
      return lost
    })
  }

  /** Of several sessions of one client the last one is it. */
  private dropDoubles(): void {
    const { sessions } = this.environment
    const newest = new Map<string, Buffer>()
    for (const { key, value } of rowsOf(this.environment, "sessions")) {
      const { clientId }: SessionRow = JSON.parse(value.toString())
      const before = newest.get(clientId)
      if (before) sessions.removeSync(before)
      newest.set(clientId, key)
    }
  }

  private dropStrays(table: "subscriptions" | "cursors" | "incoming"): void {
    const { sessions, [table]: rows } = this.environment
    for (const key of Array.from(rows.getKeys({}))) if (!sessions.get(key.subarray(0, 8))) rows.removeSync(key)
  }

  /** Who lost its place gets again all that is stored for it, with DUP 1. */
  private addCursors(): number {
    const { sessions, cursors } = this.environment
    const start: Cursor = { position: 0, sentBelow: Infinity, inflight: undefined }
    const lost = Array.from(sessions.getKeys({})).filter((key) => !cursors.get(key))
    for (const key of lost) cursors.putSync(key, withChecksum("cursors", key, packCursor(start)))
    return lost.length
  }

  /** No position and no id is given out again. */
  private reserve(): void {
    if (this.meta(NEXT_KEY)) return
    const used = this.greatest()
    this.environment.meta.putSync(
      NEXT_KEY,
      withChecksum("meta", NEXT_KEY, packReserved({ position: used.position + MARGIN, id: used.id + MARGIN })),
    )
  }

  private greatest(): { position: number; id: number } {
    let position = 0
    let id = 0
    for (const table of ["sessions", "retained", "wills", "chunks", "references"] as const)
      for (const key of this.environment[table].getKeys({})) {
        id = Math.max(id, readUint64(key, 0))
        if (table === "chunks" || table === "references") position = Math.max(position, readUint64(key, 8))
      }
    for (const { value } of rowsOf(this.environment, "cursors")) position = Math.max(position, readUint64(value, 0))
    for (const { value } of rowsOf(this.environment, "subscriptions")) {
      const { log, since }: { log: number; since: number } = JSON.parse(value.toString())
      id = Math.max(id, log)
      position = Math.max(position, since)
    }
    return { position, id }
  }

  /** How many messages are missing between those that are there, these included, by the counts in their blocks. */
  gaps(more: ReadonlyMap<number, readonly Chunk[]>): { messages: number; logs: number } {
    const gaps = new Gaps()
    for (const { table, key, value } of logRows(this.environment, [0, 0], Number.MAX_SAFE_INTEGER)) {
      const row = checked(table, key, value)
      const log = readUint64(key, 0)
      if (row && table === "chunks") gaps.chunk(log, chunkOfRow(key, row))
      else if (row) gaps.block(log, referenceOfRow(key, row))
    }
    for (const [log, chunks] of more) for (const chunk of chunks) gaps.chunk(log, chunk)
    return gaps
  }

  async close(): Promise<void> {
    await this.environment.root.flushed
    await this.environment.root.close()
  }
}

/** Each block says how many messages went into its log before it. */
class Gaps {
  messages = 0
  private readonly counts = new Map<number, number>()
  private readonly incomplete = new Set<number>()

  get logs(): number {
    return this.incomplete.size
  }

  chunk(log: number, { before, value }: Chunk): void {
    this.block(log, { before, messages: Frames.messagesOf(value) })
  }

  block(log: number, { before: { messages: before }, messages }: { before: Amount; messages: number }): void {
    const count = this.counts.get(log) ?? before
    if (before > count) {
      this.messages += before - count
      this.incomplete.add(log)
    }
    this.counts.set(log, Math.max(count, before + messages))
  }
}

function* rowsOf(environment: Environment, table: TableName): Generator<{ key: Buffer; value: Buffer }> {
  for (const { key, value } of environment[table].getRange({})) {
    const bytes = checked(table, key, value)
    if (bytes) yield { key, value: bytes }
  }
}
