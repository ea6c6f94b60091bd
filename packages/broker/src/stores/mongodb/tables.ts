import { type AnyBulkWriteOperation, type Collection, MongoBulkWriteError } from "mongodb"
import { Frames } from "../../wire/frames.js"
import { amountOf, type Chunk, placeOf } from "../chunks.js"
import type { FoldedTables } from "../folding.js"
import type { StoredLog, StoredSession, StoredState } from "../store.js"
import type { Unfolded } from "../unfolded.js"
import type { AedesLayout } from "./aedes-layout.js"
import { type Row, ROWS } from "./database.js"
import type { PacketDocument, SessionDocument } from "./documents.js"
import { isDuplicate } from "./errors.js"
import { documentOf, messageOf } from "./message.js"
import { PacketReading } from "./packet-reading.js"
import { chunkOf, packetKey, packetsOf, sizeOf, together } from "./packets.js"
import { cursorDocument, rowOf, sessionFields, sessionOf, willFields, willOf } from "./rows.js"
import type { Tenure } from "./tenure.js"

/** How many documents, and about how many bytes of messages, go to the server at a time. */
const DOCUMENTS_AT_ONCE = 1000
const BYTES_AT_ONCE = 4 << 20
/** How large a chunk becomes that is made of packets, in bytes. */
const CHUNK_BYTES = 65_536
/** When reading what could not be read is tried again, in ms. */
const RETRY_MS = 200

type Write = AnyBulkWriteOperation<Row>
type Most = { chunks: number; bytes: number }

/** The collections that a person can read: what is needed of all that was folded. */
export class MongoTables implements FoldedTables {
  /** by log that has packets: the position of the last one; what lies behind it came from a fold that did not end */
  private readonly lasts = new Map<number, number>()

  private readonly reading: PacketReading
  private stopped = false

  /**
   * @param shown gets what changes in Subscriptions
   * @param unreadable told why nothing can be read for a while; it is tried again
   */
  constructor(
    private readonly tenure: Tenure,
    private readonly shown: AedesLayout,
    private readonly unreadable: (error: unknown) => void,
  ) {
    this.reading = new PacketReading(tenure.collections.packets)
  }

  /** Everything that is in them but messages. `rowsFrom`: see JournalStateDocument. */
  async load(rowsFrom: number): Promise<StoredState> {
    const { collections } = this.tenure
    const counts = { epoch: { $gte: rowsFrom } }
    const next = await collections.next.findOne({ _id: "next" })
    const logs: StoredLog[] = []
    for await (const { _id, last, messages, bytes, expiring } of collections.logs.find(counts).sort({ _id: 1 })) {
      logs.push({ id: _id, last, messages, bytes, expiring })
      this.lasts.set(_id, last)
    }
    const retained: StoredState["retained"] = []
    for await (const document of collections.retained.find(counts).sort({ _id: 1 })) {
      const frames = messageOf(document)
      frames.createdAt = document.at.getTime()
      frames.markKept(0)
      retained.push({ id: document._id, value: frames.seal() })
    }
    const wills: StoredState["wills"] = []
    for await (const document of collections.wills.find(counts).sort({ _id: 1 })) {
      const row = willOf(document)
      wills.push({ id: document._id, value: row })
      this.shown.noteWill(document._id, row)
    }
    return {
      sessions: await this.loadSessions(rowsFrom),
      retained,
      wills,
      logs,
      next: { position: next?.position ?? 1, id: next?.id ?? 1 },
    }
  }

  private async loadSessions(rowsFrom: number): Promise<StoredSession[]> {
    const { sessions: documents, holds } = this.tenure.collections
    const counts = { epoch: { $gte: rowsFrom } }
    const sessions = new Map<number, StoredSession>()
    for await (const document of documents.find(counts).sort({ _id: 1 }))
      if (document.clientId !== undefined) sessions.set(document._id, sessionOf(document, document.clientId))
    for await (const { session: id, slot, ...hold } of holds.find(counts)) {
      const session = sessions.get(id)
      if (!session) continue
      const row = rowOf(hold)
      session.subscriptions.set(slot, row)
      this.shown.note({ session: id, slot, clientId: session.row.clientId }, row)
    }
    return [...sessions.values()]
  }

  has(log: number, position: number): boolean {
    return (this.lasts.get(log) ?? -1) >= position
  }

  async read(log: number, position: number, most: Most): Promise<Chunk[]> {
    for (;;) {
      const last = this.lasts.get(log)
      if (last === undefined || last < position) return []
      try {
        const found = await this.readOnce(log, position, last, most) // oxlint-disable-line no-await-in-loop -- until it can be read
        if (!found.length && this.lasts.get(log) === last) this.lasts.set(log, position - 1)
        return found
      } catch (error) {
        this.unreadable(error)
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref()) // oxlint-disable-line no-await-in-loop
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
    const { collections, epoch } = this.tenure
    await this.removeBelow(unfolded.cuts)
    const folded = await this.insert(unfolded, cut)
    await this.rows(unfolded, folded)
    await this.shown.fold(unfolded)
    const { matchedCount } = await collections.state.updateOne({ _id: "journal", epoch }, { $set: { folded: through } })
    if (!matchedCount) throw this.tenure.superseded()
    for (const [log, below] of unfolded.cuts) if ((this.lasts.get(log) ?? Infinity) < below) this.lasts.delete(log)
    for (const [log, { last }] of folded) this.lasts.set(log, last)
  }

  private async removeBelow(cuts: ReadonlyMap<number, number>): Promise<void> {
    const { packets } = this.tenure.collections
    for (const [log, below] of cuts)
      if (this.lasts.has(log))
        await this.step(() => packets.deleteMany({ log, _id: { $gte: packetKey(log, 0), $lt: packetKey(log, below) } })) // oxlint-disable-line no-await-in-loop -- one log after the other
  }

  /** Writes what still waits. Returns what went into each log that got something. */
  private async insert(unfolded: Unfolded, cut: (log: number) => number): Promise<Map<number, StoredLog>> {
    const folded = new Map<number, StoredLog>()
    let documents: PacketDocument[] = []
    let bytes = 0
    const send = async (): Promise<void> => {
      const some = documents
      documents = []
      bytes = 0
      if (some.length) await this.step(() => this.insertAll(some))
    }
    for (const [log, all] of unfolded.logs) {
      const needed = all.slice(placeOf(all, cut(log)))
      for (const chunk of needed) {
        for (const document of packetsOf(log, chunk)) {
          documents.push(document)
          bytes += sizeOf(document)
          if (documents.length >= DOCUMENTS_AT_ONCE || bytes >= BYTES_AT_ONCE) await send() // oxlint-disable-line no-await-in-loop -- not all at a time
        }
      }
      const chunk = needed.at(-1)
      if (chunk) folded.set(log, amountOf(log, chunk))
    }
    await send()
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
    if (state?.epoch !== epoch || !ROWS.some((name) => name === collection.collectionName)) throw this.tenure.superseded()
    await collection.deleteMany({ epoch: { $lt: state.rowsFrom } })
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
    const { subscriptions, wills, cuts, reserved } = unfolded
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
    if (reserved) await this.write("broker", [this.put("next", { ...reserved })])
  }

  private sessionWrites({ sessions, cursors, incoming }: Unfolded): Write[] {
    const { epoch } = this.tenure
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
      if (closed?.length) writes.push({ updateOne: { filter: { _id, ...older }, update: { $pull: { incoming: { $in: closed } } } } })
    }
    return writes
  }

  /** Those that go are first: a topic has one. */
  private retainedWrites({ retained }: Unfolded): Write[] {
    const rows = [...retained].toSorted(([, a], [, b]) => Number(a !== undefined) - Number(b !== undefined))
    return rows.map(([id, value]) => this.put(id, value && { ...documentOf(Frames.unseal(0, value), 0), cmd: "publish" }))
  }

  /** A document as it is now, or none: unless a later owner wrote it. */
  private put(_id: string | number, fields: object | undefined): Write {
    const { epoch } = this.tenure
    const filter = { _id, epoch: { $lte: epoch } }
    return fields ? { replaceOne: { filter, replacement: { ...fields, epoch }, upsert: true } } : { deleteOne: { filter } }
  }

  private async write(name: string, writes: readonly Write[]): Promise<void> {
    const collection = this.tenure.db.collection<Row>(name)
    for (let at = 0; at < writes.length; at += DOCUMENTS_AT_ONCE)
      try {
        await this.step(() => collection.bulkWrite(writes.slice(at, at + DOCUMENTS_AT_ONCE))) // oxlint-disable-line no-await-in-loop -- not all at a time
      } catch (error) {
        if (isDuplicate(error)) await this.removeLate(collection)
        throw error
      }
  }
}
