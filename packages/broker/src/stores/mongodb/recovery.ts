import { Binary } from "mongodb"
import { Damage } from "../errors.js"
import { recordAt } from "../journal/record.js"
import type { Commit } from "../store.js"
import { claimRows } from "./claim.js"
import { type Collections, LONG } from "./database.js"
import type { JournalDocument, JournalStateDocument } from "./documents.js"
import { isDuplicate } from "./errors.js"
import { journalKey } from "./journal.js"
import { bytesOf } from "./message.js"
import { slices } from "./slices.js"
import type { Tenure } from "./tenure.js"

/** Of this layout of the collections. */
export const FORMAT = 1
/** How many documents of a journal are read at a time. */
const READ_AT_ONCE = 200

/** What the journal has and the collections have not. */
export interface Recovered {
  commits: Commit[]
  /** the documents that have them, of this owner */
  documents: JournalDocument[]
  /** the last sequence that was given out */
  last: number
  /** which documents count now */
  journal: JournalStateDocument
}

/**
 * Closes the journal of the owner before and takes it over: what is not folded becomes this owner's journal, and what the
 * owner before may still write comes too late.
 */
export async function takeOver(tenure: Tenure): Promise<Recovered> {
  const { collections, epoch, followsRelease } = tenure
  const state = await journalState(collections)
  if (state.epoch >= epoch) throw tenure.superseded()
  const found = await readJournal(tenure, state)
  if (!found) return takeOver(tenure)
  await insertAll(tenure, found.documents)
  const { folded } = found
  const isClaimed = followsRelease && state.rows === state.rowsFrom
  const rows = isClaimed ? state.rows : await claimRows(tenure, state.rowsFrom, state.epoch)
  if (rows === undefined) return takeOver(tenure)
  const still = { _id: "journal", epoch: state.epoch, rows } as const
  const { matchedCount } = await collections.state.updateOne(still, { $set: { epoch, folded, rowsFrom: rows } })
  if (!matchedCount) return takeOver(tenure) // another one takes over, or its last write came late
  await removeOlder(tenure)
  return { ...found, journal: { ...state, epoch, folded, rows, rowsFrom: rows } }
}

async function journalState({ state }: Pick<Collections, "state">): Promise<JournalStateDocument> {
  const found = await state.findOne({ _id: "journal" }, { readConcern: "majority" })
  if (found && found.format > FORMAT) throw new Error(`its format is ${found.format}, of a newer mqtt-broker; this one knows ${FORMAT}`)
  if (found && ![found.epoch, found.folded, found.rows, found.rowsFrom].every(Number.isSafeInteger))
    throw new Damage('its document with _id "journal" in the collection "broker" is not what was written')
  if (found) return found
  const made: JournalStateDocument = { _id: "journal", format: FORMAT, epoch: 0, folded: 0, rows: 0, rowsFrom: 0 }
  try {
    await state.insertOne(made)
    return made
  } catch (error) {
    if (!isDuplicate(error)) throw error
    return journalState({ state })
  }
}

interface ReadJournal extends Omit<Recovered, "journal"> {
  folded: number
}

/** Everything behind what is folded, up to the end, which is sealed. Undefined: meanwhile the journal of another owner counts. */
async function readJournal(tenure: Tenure, state: JournalStateDocument): Promise<ReadJournal | undefined> {
  const { collections, epoch, owner, followsRelease } = tenure
  const found: ReadJournal = { commits: [], documents: [], folded: state.folded, last: state.folded }
  let pieces: JournalDocument[] = []
  let ahead = new Map<number, JournalDocument>()
  for (let sequence = state.folded + 1; ; sequence++) {
    const key = journalKey(state.epoch, sequence)
    // oxlint-disable no-await-in-loop -- one behind the other
    if (!ahead.has(sequence)) ahead = await readAhead(collections, state.epoch, sequence)
    const document = ahead.get(sequence)
    ahead.delete(sequence)
    if (!document) {
      // what is folded is removed: the owner before may just have done that
      const { folded, epoch: now } = await journalState(collections)
      if (now !== state.epoch) return undefined
      if (folded >= sequence) return await readJournal(tenure, { ...state, folded })
      if (followsRelease || (await sealed(tenure, { _id: key, epoch: state.epoch, sequence })))
        return await withNothingBehind(tenure, found, state)
      sequence--
      continue
    }
    // oxlint-enable no-await-in-loop
    if (document.sealedBy !== undefined) return await withNothingBehind(tenure, found, state)
    pieces.push(document)
    if (document.more === true) continue
    const bytes = Buffer.concat(pieces.map(({ bytes: some }) => bytesOf(some ?? "")))
    const record = recordAt(bytes, 0, 0)
    if (!record) throw new Damage(`commit ${sequence} in its journal is not what was written`)
    found.commits.push(record.commit())
    for (const [n, piece] of pieces.entries()) {
      const at = sequence - pieces.length + 1 + n
      found.documents.push({
        ...piece,
        _id: journalKey(epoch, at),
        epoch,
        sequence: at,
        owner,
        ...(piece.bytes && { bytes: new Binary(bytesOf(piece.bytes)) }),
      })
    }
    pieces = []
    found.last = sequence
  }
}

/** Documents of a journal from a sequence on, as far as they are there. */
async function readAhead({ journal }: Collections, epoch: number, from: number): Promise<Map<number, JournalDocument>> {
  const keys = Array.from({ length: READ_AT_ONCE }, (_, n) => journalKey(epoch, from + n))
  const found = await journal.find({ _id: { $in: keys } }, { readConcern: "majority" }).toArray()
  return new Map(found.map((document) => [document.sequence, document]))
}

/** Inserts what closes a journal; false: a document of its owner came before. It stays there for ever: one may come late. */
async function sealed({ collections, epoch, owner }: Tenure, place: Pick<JournalDocument, "_id" | "epoch" | "sequence">): Promise<boolean> {
  try {
    await collections.journal.insertOne({ ...place, owner, sealedBy: epoch })
    return true
  } catch (error) {
    if (isDuplicate(error)) return false
    throw error
  }
}

/** In their order; of those that were tried before some may be there. */
async function insertAll(tenure: Tenure, documents: readonly JournalDocument[]): Promise<void> {
  for (const some of slices(documents, ({ bytes }) => bytes?.length() ?? 0)) {
    // oxlint-disable no-await-in-loop -- one behind the other
    try {
      await tenure.collections.journal.insertMany(some)
    } catch (error) {
      if (!isDuplicate(error)) throw error
      for (const one of some) await insert(tenure, one)
    }
    // oxlint-enable no-await-in-loop
  }
}

async function insert({ collections, owner, superseded }: Tenure, document: JournalDocument): Promise<void> {
  try {
    await collections.journal.insertOne(document)
  } catch (error) {
    if (!isDuplicate(error)) throw error
    const found = await collections.journal.findOne({ _id: document._id })
    if (!found) throw new Error("a document of the journal was there and is not any more", { cause: error })
    if (found.owner !== owner) throw superseded()
  }
}

/** Nothing that was written later may lie behind the end: then something is missing that was acknowledged. */
async function withNothingBehind({ collections }: Tenure, found: ReadJournal, state: JournalStateDocument): Promise<ReadJournal> {
  const behind = { epoch: state.epoch, sequence: { $gt: found.last }, more: { $exists: false }, sealedBy: { $exists: false } }
  const one = await collections.journal.findOne(behind, LONG)
  if (one) throw new Damage(`its journal is damaged: commit ${found.last + 1} is missing, and ${one.sequence} behind it is there`)
  return found
}

/** What owners before left in the journal, but for seals. */
async function removeOlder({ collections, epoch }: Tenure): Promise<void> {
  await collections.journal.deleteMany({ epoch: { $lt: epoch }, sealedBy: { $exists: false } }, LONG)
}
