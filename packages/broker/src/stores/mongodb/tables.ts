import { type AnyBulkWriteOperation, type Binary, type Collection, MongoBulkWriteError } from "mongodb"
import { Frames } from "../../wire/frames.js"
import { amountOf, type Chunk, placeOf } from "../chunks.js"
import type { FoldedTables } from "../folding.js"
import type { StoredLog, StoredSession, StoredState } from "../store.js"
import type { Unfolded } from "../unfolded.js"
import type { AedesLayout } from "./aedes-layout.js"
import { claimRows } from "./claim.js"
import { LONG, type Row, type ROWS, WHOLE } from "./database.js"
import type { PacketDocument, SessionDocument } from "./documents.js"
import { isDuplicate } from "./errors.js"
import { checkMessage, documentOf, messageOf } from "./message.js"
import { PacketReading } from "./packet-reading.js"
import { checkPacket, chunkOf, packetKey, packetsOf, sizeOf, together } from "./packets.js"
import { cursorDocument, rowOf, sessionFields, sessionOf, willFields, willOf } from "./rows.js"
import { slices } from "./slices.js"
import type { Tenure } from "./tenure.js"

/** Of how many logs something is removed at a time. */
const LOGS_AT_ONCE = 100
/** How large a chunk becomes that is made of packets, in bytes. */
const CHUNK_BYTES = 65_536
/** When reading what could not be read is tried again, in ms: each time later. */
const RETRY_MS = { first: 200, most: 2000 }

type Write = AnyBulkWriteOperation<Row>
type Most = { chunks: number; bytes: number }

/** What tables need beside the database. */
export interface TableOptions {
  /** gets what changes in Subscriptions and Wills */
  shown: AedesLayout
  /** told why nothing can be read for a while; it is tried again */
  unreadable: (error: unknown) => void
  /** see JournalStateDocument */
  rowsFrom: number
}

/** The collections that a person can read: what is needed of all that was folded. */
export class MongoTables implements FoldedTables {
  /** by log that has packets: the position of the last one; what lies behind it came from a fold that did not end */
  private readonly lasts = new Map<number, number>()

  private readonly reading: PacketReading
  private stopped = false
  /** a write of a fold failed: it may come late */
  isUncertain = false
  /** see JournalStateDocument */
  private rowsFrom: number

  constructor(
    private readonly tenure: Tenure,
    private readonly options: TableOptions,
  ) {
    this.rowsFrom = options.rowsFrom
    this.reading = new PacketReading(tenure.collections.packets)
  }

  /** Everything that is in them but messages. */
  async load(): Promise<StoredState> {
    const [next, logs, retained, wills, sessions] = await Promise.all([
      this.tenure.collections.next.findOne({ _id: "next" }),
      this.loadLogs(),
      this.loadRetained(),
      this.loadWills(),
      this.loadSessions(),
    ])
    return { sessions, retained, wills, logs, next: { position: next?.position ?? 1, id: next?.id ?? 1 }, time: next?.time }
  }

  /** The rows that count. */
  private get counts(): { epoch: { $gte: number } } {
    return { epoch: { $gte: this.rowsFrom } }
  }

  private async loadLogs(): Promise<StoredLog[]> {
    const logs: StoredLog[] = []
    for await (const { _id, last, messages, bytes, expiring } of this.tenure.collections.logs.find(this.counts, WHOLE).sort({ _id: 1 })) {
      logs.push({ id: _id, last, messages, bytes, expiring })
      this.lasts.set(_id, last)
    }
    return logs
  }

  private async loadRetained(): Promise<StoredState["retained"]> {
    const retained: StoredState["retained"] = []
    for await (const document of this.tenure.collections.retained.find(this.counts, WHOLE).sort({ _id: 1 })) {
      checkMessage(document)
      const frames = messageOf(document)
      frames.createdAt = document.at.getTime()
      frames.markKept(0)
      retained.push({ id: document._id, value: frames.seal() })
    }
    return retained
  }

  private async loadWills(): Promise<StoredState["wills"]> {
    const wills: StoredState["wills"] = []
    for await (const document of this.tenure.collections.wills.find(this.counts, WHOLE).sort({ _id: 1 })) {
      const row = willOf(document)
      wills.push({ id: document._id, value: row })
      this.options.shown.noteWill(document._id, row)
    }
    return wills
  }

  private async loadSessions(): Promise<StoredSession[]> {
    const { sessions: documents, holds } = this.tenure.collections
    const sessions = new Map<number, StoredSession>()
    for await (const document of documents.find(this.counts, WHOLE).sort({ _id: 1 }))
      if (document.clientId !== undefined) sessions.set(document._id, sessionOf(document, document.clientId))
    for await (const { session: id, slot, ...hold } of holds.find(this.counts, WHOLE)) {
      const session = sessions.get(id)
      if (!session) continue
      const row = rowOf(hold)
      session.subscriptions.set(slot, row)
      this.options.shown.note({ session: id, slot, clientId: session.row.clientId }, row)
    }
    return [...sessions.values()]
  }

  has(log: number, position: number): boolean {
    return (this.lasts.get(log) ?? -1) >= position
  }

  async read(log: number, position: number, most: Most): Promise<Chunk[]> {
    for (let wait = RETRY_MS.first; ; wait = Math.min(wait * 2, RETRY_MS.most)) {
      const last = this.lasts.get(log)
      if (last === undefined || last < position) return []
      try {
        const found = await this.readOnce(log, position, last, most) // oxlint-disable-line no-await-in-loop -- until it can be read
        if (!found.length && this.lasts.get(log) === last) this.lasts.set(log, position - 1)
        return found
      } catch (error) {
        this.options.unreadable(error)
        await new Promise((resolve) => setTimeout(resolve, wait).unref()) // oxlint-disable-line no-await-in-loop
      }
    }
  }

  private async readOnce(log: number, position: number, last: number, most: Most): Promise<Chunk[]> {
    const chunks: Chunk[] = []
    let group: PacketDocument[] = []
    let groupBytes = 0
    let bytes = 0
    const close = (): void => {
      if (!group.length) return
      const chunk = chunkOf(group)
      chunks.push(chunk)
      bytes += chunk.value.length
      group = []
      groupBytes = 0
    }
    await this.reading.each(log, { position, last }, (document) => {
      checkPacket(document)
      const size = sizeOf(document)
      const [head] = group
      if (head && (groupBytes + size > CHUNK_BYTES || !together(head, document))) close()
      if (chunks.length === most.chunks || bytes >= most.bytes) return false
      group.push(document)
      groupBytes += size
      return true
    })
    close()
    return chunks
  }

  async fold(unfolded: Unfolded, through: number, cut: (log: number) => number): Promise<void> {
    if (this.isUncertain) await this.claim()
    this.isUncertain = true
    await this.foldOnce(unfolded, through, cut)
    this.isUncertain = false
  }

  /** What failed before may come late: from now on it changes no row. */
  private async claim(): Promise<void> {
    const { collections, epoch } = this.tenure
    const rowsFrom = await claimRows(this.tenure, this.rowsFrom, epoch)
    if (rowsFrom === undefined) throw this.tenure.superseded()
    const { matchedCount } = await collections.state.updateOne({ _id: "journal", epoch }, { $max: { rowsFrom } })
    if (!matchedCount) throw this.tenure.superseded()
    this.rowsFrom = rowsFrom
  }

  private async foldOnce(unfolded: Unfolded, through: number, cut: (log: number) => number): Promise<void> {
    const { collections, epoch } = this.tenure
    await this.removeBelow(unfolded.cuts)
    const folded = await this.insert(unfolded, cut)
    await this.options.shown.fold(unfolded, (write) => this.step(write)) // first: what it had is known only as long as rows say it
    await this.rows(unfolded, folded)
    const counted = { _id: "journal", epoch, rows: this.rowsFrom } as const
    const { matchedCount } = await collections.state.updateOne(counted, { $max: { folded: through } })
    if (!matchedCount) throw await this.claimedByOther()
    for (const [log, below] of unfolded.cuts) if ((this.lasts.get(log) ?? Infinity) < below) this.lasts.delete(log)
    for (const [log, { last }] of folded) this.lasts.set(log, last)
  }

  /** Somebody who takes over has claimed the rows meanwhile: what this fold removed may be there, so it is done again. */
  private async claimedByOther(): Promise<Error> {
    const { collections, epoch, superseded } = this.tenure
    const state = await collections.state.findOne({ _id: "journal" })
    return state?.epoch === epoch ? new Error("another broker has begun to take over") : superseded()
  }

  private async removeBelow(cuts: ReadonlyMap<number, number>): Promise<void> {
    const { packets } = this.tenure.collections
    const known = [...cuts].filter(([log]) => this.lasts.has(log))
    const writes = known.map(([log, below]) => ({
      deleteMany: { filter: { log, _id: { $gte: packetKey(log, 0), $lt: packetKey(log, below) } } },
    }))
    for (let at = 0; at < writes.length; at += LOGS_AT_ONCE)
      await this.step(() => packets.bulkWrite(writes.slice(at, at + LOGS_AT_ONCE), LONG)) // oxlint-disable-line no-await-in-loop -- not all at a time
  }

  /** Writes what still waits. Returns what went into each log that got something. */
  private async insert(unfolded: Unfolded, cut: (log: number) => number): Promise<Map<number, StoredLog>> {
    const folded = new Map<number, StoredLog>()
    const documents = function* (): Generator<PacketDocument> {
      for (const [log, all] of unfolded.logs) {
        const needed = all.slice(placeOf(all, cut(log)))
        for (const chunk of needed) yield* packetsOf(log, chunk)
        const last = needed.at(-1)
        if (last) folded.set(log, amountOf(log, last))
      }
    }
    for (const some of slices(documents(), sizeOf)) await this.step(() => this.insertAll(some)) // oxlint-disable-line no-await-in-loop -- not all at a time
    return folded
  }

  /** Some may be there, from a fold that did not end. */
  private async insertAll(documents: PacketDocument[]): Promise<void> {
    try {
      await this.tenure.collections.packets.insertMany(documents, { ordered: false })
    } catch (error) {
      const failed = error instanceof MongoBulkWriteError ? [error.writeErrors].flat() : undefined
      if (!isDuplicate(error) || failed?.some(({ code }) => code !== 11_000) !== false) throw error
    }
  }

  /**
   * A row could not be written, because one is there that this owner may not replace: of a later owner, which is said, or of an
   * earlier one, whose row for the same topic came late and goes, so that the fold succeeds when it is tried again.
   */
  private async removeLate(collection: Collection<Row>): Promise<void> {
    const { collections, epoch } = this.tenure
    const state = await collections.state.findOne({ _id: "journal" })
    if (state?.epoch !== epoch) throw this.tenure.superseded()
    await collection.deleteMany({ epoch: { $lt: this.rowsFrom } })
  }

  /** One write of a fold. */
  private async step(write: () => Promise<unknown>): Promise<void> {
    if (this.stopped) throw new Error("the broker stops; the journal has the rest")
    await write()
  }

  /** A fold that is under way ends soon, as one that failed. */
  stop(): void {
    this.stopped = true
  }

  async close(): Promise<void> {
    await this.reading.close()
  }

  private async rows(unfolded: Unfolded, folded: ReadonlyMap<number, StoredLog>): Promise<void> {
    const { subscriptions, wills, cuts, reserved, time } = unfolded
    const { next } = this.tenure.collections
    await this.write("sessions", this.sessionWrites(unfolded))
    const holds = [...subscriptions].flatMap(([session, rows]) =>
      [...rows].map(([slot, row]) => this.put(`${session}/${slot}`, row && { session, slot, ...row })),
    )
    await this.write("holds", holds)
    await this.write("retained", this.retainedWrites(unfolded))
    await this.write(
      "wills",
      Array.from(wills, ([id, row]) => this.put(id, row && willFields(row))),
    )
    const gone = [...cuts].filter(([log, below]) => !folded.has(log) && (this.lasts.get(log) ?? Infinity) < below)
    const logs = Array.from(folded.values(), ({ id, ...amounts }) => this.put(id, amounts))
    await this.write("logs", [...gone.map(([log]) => this.put(log, undefined)), ...logs])
    // one that comes late takes nothing back
    if (reserved) await this.step(() => next.updateOne({ _id: "next" }, { $max: { ...reserved } }, { upsert: true }))
    if (time) await this.step(() => next.updateOne({ _id: "next", "time.broker": { $not: { $gte: time.broker } } }, { $set: { time } }))
  }

  private sessionWrites({ sessions, cursors, incoming }: Unfolded): Write[] {
    const { rowsFrom: epoch } = this
    const older = { epoch: { $lte: epoch } }
    const writes: Write[] = []
    const changed = new Map<number, Partial<SessionDocument>>()
    for (const [id, row] of sessions)
      if (row) changed.set(id, sessionFields(row))
      else writes.push(this.put(id, undefined))
    for (const [id, cursor] of cursors) changed.set(id, { ...changed.get(id), cursor: cursorDocument(cursor) })
    for (const [_id, fields] of changed)
      writes.push({ updateOne: { filter: { _id, ...older }, update: { $set: { ...fields, epoch } }, upsert: true } })
    for (const [_id, identifiers] of incoming) {
      if (sessions.has(_id) && !sessions.get(_id)) continue
      const [open, closed] = [true, false].map((wanted) => [...identifiers].flatMap(([one, isOpen]) => (isOpen === wanted ? [one] : [])))
      if (open?.length) writes.push({ updateOne: { filter: { _id, ...older }, update: { $addToSet: { incoming: { $each: open } } } } })
      if (closed?.length) writes.push({ updateOne: { filter: { _id, ...older }, update: { $pullAll: { incoming: closed } } } })
    }
    return writes
  }

  /** Those that go are first: a topic has one. What came late for it goes too. */
  private *retainedWrites({ retained }: Unfolded): Generator<Write> {
    for (const [id, value] of retained) if (!value) yield this.put(id, undefined)
    for (const [id, value] of retained) {
      if (!value) continue
      const document = documentOf(Frames.unseal(0, value), 0)
      yield { deleteMany: { filter: { topic: document.topic, _id: { $ne: id }, epoch: { $lte: this.rowsFrom } } } }
      yield this.put(id, { ...document, cmd: "publish" })
    }
  }

  /** A document as it is now, or none: unless a later owner wrote it. */
  private put(_id: string | number, fields: object | undefined): Write {
    const { rowsFrom: epoch } = this
    const filter = { _id, epoch: { $lte: epoch } }
    return fields ? { replaceOne: { filter, replacement: { ...fields, epoch }, upsert: true } } : { deleteOne: { filter } }
  }

  private async write(name: (typeof ROWS)[number], writes: Iterable<Write>): Promise<void> {
    const bytesOf = (one: Write): number => ("replaceOne" in one ? lengthOf(one.replaceOne.replacement.payload) : 0)
    for (const some of slices(writes, bytesOf)) await this.writeAll(name, some) // oxlint-disable-line no-await-in-loop -- not all at a time
  }

  private async writeAll(name: string, writes: readonly Write[]): Promise<void> {
    const collection = this.tenure.db.collection<Row>(name)
    try {
      await this.step(() => collection.bulkWrite(writes))
    } catch (error) {
      if (isDuplicate(error)) await this.removeLate(collection)
      throw error
    }
  }
}

function lengthOf(payload: string | Binary | undefined): number {
  return typeof payload === "string" ? payload.length : (payload?.length() ?? 0)
}
