import { closeSync, fdatasyncSync, openSync, readdirSync, readSync, statSync, writeSync } from "node:fs"
import { join } from "node:path"
import { Damage } from "../errors.js"
import type { Commit } from "../store.js"
import { type FoundFile, JOURNAL_NAME, type JournalEnd, type UnfoldedFile } from "./journal.js"
import { ALIGNMENT, recordAt, sequenceAt } from "./record.js"
import { type Header, HEADER_BYTES, readHeader } from "./segment.js"

/** What a segment may have and then one commit, of less than 2 GB because more cannot be written, in bytes: a longer file is nobody's journal. */
const MOST_FILE_BYTES = 5 * 2 ** 29
/** So much is read at a time, in bytes: the system reads less than 2 GB. */
const PIECE_BYTES = 2 ** 28

interface FoundSegment {
  file: FoundFile
  header: Header
}

/**
 * Reads the journal of a folder, and hands out in order what is not folded. It ends at the first record that does not fit:
 * that one was being written when the broker died, and nobody was told that it is stored.
 *
 * @param tables the last sequence that they have, and the store's secret (see Header)
 * @param take gets each commit behind it; its buffers are parts of the segment's
 * @throws Error when something is missing or damaged that was acknowledged: a whole record lies behind it
 */
export function readJournal(
  folder: string,
  { folded, secret }: { folded: number; secret: number },
  take: (commit: Commit) => void,
): JournalEnd {
  const files = journalFiles(folder)
  const segments = files.flatMap((file) => withHeader(folder, file)).toSorted((a, b) => a.header.number - b.header.number)
  const newest = segments.at(-1)
  const unfolded: UnfoldedFile[] = []
  let last = folded
  for (const [n, { file, header }] of segments.entries()) {
    if ((segments[n + 1]?.header.first ?? Infinity) <= last + 1) continue // all of it is folded
    if (header.first > last + 1) throw damaged(last + 1)
    if (header.clean) continue // it has nothing
    const found = replay(readSegment(folder, file), last, take)
    if (found.end && found.last > folded) unfolded.push({ ...file, ...found })
    last = Math.max(last, found.last)
  }
  // after a clean end only a file whose header is gone can have more
  const suspects = newest?.header.clean === true ? files.filter((file) => !segments.some((one) => one.file === file)) : files
  for (const file of suspects) if (hasRecordAbove(readSegment(folder, file), last, secret)) throw damaged(last + 1)
  const free = files.filter(({ name }) => !unfolded.some((one) => one.name === name))
  return { sequence: last, segment: newest?.header.number ?? 0, secret, files: free, unfolded }
}

/**
 * Puts the last record that was read on the disk. It may be in the kernel's memory alone: the broker died before its fdatasync,
 * or after one that failed, so its bytes are written again. Those before it were acknowledged.
 */
export function makeDurable(folder: string, { unfolded }: JournalEnd): void {
  const newest = unfolded.at(-1)
  if (!newest) return
  const file = openSync(pathOf(folder, newest.name), "r+")
  try {
    const bytes = readBytes(file, newest.lastAt, newest.end)
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done, bytes.length - done, newest.lastAt + done)
    fdatasyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** The files of a journal, by name. */
export function journalFiles(folder: string): FoundFile[] {
  const names = readdirSync(folder).map((name) => JOURNAL_NAME.exec(name)?.[1])
  const numbers = names.flatMap((name) => (name === undefined ? [] : [Number(name)])).toSorted((a, b) => a - b)
  return numbers.map((name) => ({ name, length: statSync(pathOf(folder, name)).size }))
}

function pathOf(folder: string, name: number): string {
  return join(folder, `journal.${name}`)
}

function withHeader(folder: string, file: FoundFile): FoundSegment[] {
  const bytes = Buffer.alloc(HEADER_BYTES)
  const open = openSync(pathOf(folder, file.name), "r")
  try {
    readSync(open, bytes, 0, HEADER_BYTES, 0)
  } finally {
    closeSync(open)
  }
  const header = readHeader(bytes)
  return header ? [{ file, header }] : []
}

function readSegment(folder: string, { name, length }: FoundFile): Buffer {
  const path = pathOf(folder, name)
  if (length > MOST_FILE_BYTES)
    throw new Error(
      `${JSON.stringify(path)} has ${length} bytes, more than a file of the journal ever has; if it is not the broker's, move it away`,
    )
  const file = openSync(path, "r")
  try {
    return readBytes(file, 0, length)
  } finally {
    closeSync(file)
  }
}

/** The bytes of a file from a place on, as many as it has before another. */
function readBytes(file: number, from: number, to: number): Buffer {
  const bytes = Buffer.allocUnsafe(to - from)
  for (let at = 0; at < bytes.length;) {
    const read = readSync(file, bytes, at, Math.min(PIECE_BYTES, bytes.length - at), from + at)
    if (!read) return bytes.subarray(0, at)
    at += read
  }
  return bytes
}

/** Hands out the records behind a sequence. One that was written again into the next segment is the same commit. */
function replay(segment: Buffer, from: number, take: (commit: Commit) => void): Omit<UnfoldedFile, keyof FoundFile> {
  const header = readHeader(segment)
  const found = { last: (header?.first ?? 0) - 1, lastAt: 0, end: 0 }
  for (let at = HEADER_BYTES; ;) {
    const record = recordAt(segment, at, header?.secret ?? 0)
    if (!record || record.sequence !== found.last + 1) return found
    if (record.sequence > from) take(record.commit())
    found.last = record.sequence
    found.lastAt = at === HEADER_BYTES ? 0 : at
    at = record.end
    found.end = at
  }
}

/** Whether a segment has a whole record above a sequence, wherever it lies. */
function hasRecordAbove(segment: Buffer, above: number, secret: number): boolean {
  for (let at = 0; at + ALIGNMENT <= segment.length; at += ALIGNMENT) {
    const sequence = sequenceAt(segment, at)
    if (sequence > above && Number.isSafeInteger(sequence) && recordAt(segment, at, secret)?.sequence === sequence) return true
  }
  return false
}

function damaged(sequence: number): Error {
  return new Damage(`its journal is damaged: commit ${sequence} is not whole, and others behind it are`)
}
