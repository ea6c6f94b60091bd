import { Binary } from "mongodb"
import type { FoldedJournal } from "../folding.js"
import { RecordWriter } from "../journal/record.js"
import type { Commit } from "../store.js"
import type { JournalDocument } from "./documents.js"
import { isDuplicate } from "./errors.js"
import type { Tenure } from "./tenure.js"

/** How large a document of the journal becomes, in bytes: the server takes 16 MB. */
const PIECE_BYTES = 8 << 20

/** So many documents are not folded at most: then commits wait for the fold. */
const MOST_KEPT = 50_000
const KEYS_AT_ONCE = 1000

/** The key of a document of the journal. */
export function journalKey(epoch: number, sequence: number): string {
  return `${epoch}/${sequence}`
}

/**
 * The commits that are not folded yet, in the collection `journal`, a document each or several for a large one. One insert is
 * under way at a time. Whoever takes over inserts the next document itself: then append() meets it, and says so.
 */
export class MongoJournal implements FoldedJournal {
  private readonly records = new RecordWriter(0)
  /** the keys of documents that are not folded; the last one has the sequence `last` */
  private readonly kept: string[]
  private removing: Promise<unknown> = Promise.resolve()
  /** the next document; a commit has as many as it has pieces */
  private next: number
  private isTriedAgain = false

  /**
   * @param last the last sequence that was given out
   * @param kept the keys of documents that are not folded, up to that sequence
   */
  constructor(
    private readonly tenure: Tenure,
    last: number,
    kept: readonly string[],
  ) {
    this.next = last + 1
    this.kept = [...kept]
  }

  get last(): number {
    return this.next - 1
  }

  /** Whether it has too much for another commit. */
  get isOverfull(): boolean {
    return this.kept.length > MOST_KEPT
  }

  async append(commit: Commit): Promise<void> {
    const documents = this.piecesOf(commit)
    try {
      if (!this.isTriedAgain && documents.length === 1 && documents[0]) await this.tenure.collections.journal.insertOne(documents[0])
      else for (const document of documents) await this.insertAgain(document) // oxlint-disable-line no-await-in-loop -- one behind the other
    } catch (error) {
      this.isTriedAgain = true
      if (isDuplicate(error)) throw this.tenure.superseded()
      throw error
    }
    this.isTriedAgain = false
    this.next += documents.length
    for (const { _id } of documents) this.kept.push(_id)
    this.records.shrink()
  }

  private piecesOf(commit: Commit): JournalDocument[] {
    const { epoch, owner } = this.tenure
    const record = Buffer.from(this.records.write(commit, this.next, 0))
    const pieces: JournalDocument[] = []
    for (let at = 0; at < record.length; at += PIECE_BYTES) {
      const bytes = new Binary(record.subarray(at, at + PIECE_BYTES))
      const more = at + PIECE_BYTES < record.length
      const sequence = this.next + pieces.length
      pieces.push({ _id: journalKey(epoch, sequence), epoch, sequence, owner, bytes, ...(more && { more }) })
    }
    return pieces
  }

  /** One that may be there: what became of the first try nobody knows. */
  private async insertAgain(document: JournalDocument): Promise<void> {
    const { collections, owner } = this.tenure
    const { journal, state } = collections
    try {
      await journal.insertOne(document)
    } catch (error) {
      if (!isDuplicate(error)) throw error
      // that it is there does not say that it is on the disk, or with the majority: what is written behind it is so only after it
      await state.updateOne({ _id: "journal" }, { $inc: { barriers: 1 } })
      const found = await journal.findOne({ _id: document._id }, { readConcern: "majority" })
      if (!found) throw new Error("a document of the journal was there and is not any more", { cause: error })
      if (found.owner !== owner) throw this.tenure.superseded()
    }
  }

  turn(): number {
    return this.last
  }

  release(through: number): void {
    const keys = this.kept.splice(0, Math.max(0, this.kept.length - (this.last - through)))
    if (!keys.length) return
    // what stays is folded, and goes at a start
    for (let at = 0; at < keys.length; at += KEYS_AT_ONCE) {
      const some = keys.slice(at, at + KEYS_AT_ONCE)
      this.removing = this.removing.then(() => this.tenure.collections.journal.deleteMany({ _id: { $in: some } })).catch(() => {})
    }
  }

  /** Resolves when what was released is removed, as far as that was possible. */
  async settled(): Promise<void> {
    await this.removing
  }
}
