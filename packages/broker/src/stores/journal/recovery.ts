import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs"
import { join } from "node:path"
import { Damage } from "../errors.js"
import type { Commit } from "../store.js"
import { type FoundFile, JOURNAL_NAME, type JournalEnd } from "./journal.js"
import { ALIGNMENT, recordAt, sequenceAt } from "./record.js"
import { type Header, HEADER_BYTES, readHeader } from "./segment.js"

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
  let last = folded
  for (const [n, { file, header }] of segments.entries()) {
    if ((segments[n + 1]?.header.first ?? Infinity) <= last) continue // all of it is folded
    if (header.first > last + 1) throw damaged(last + 1)
    last = replay(readSegment(folder, file), last, take)
  }
  // after a clean end only a file whose header is gone can have more
  const suspects = newest?.header.clean === true ? files.filter((file) => !segments.some((one) => one.file === file)) : files
  for (const file of suspects) if (hasRecordAbove(readSegment(folder, file), last, secret)) throw damaged(last + 1)
  return { sequence: last, segment: newest?.header.number ?? 0, secret, files }
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

function readSegment(folder: string, { name }: FoundFile): Buffer {
  return readFileSync(pathOf(folder, name))
}

/** Hands out the records behind a sequence. One that was written again into the next segment is the same commit. Returns the last sequence. */
function replay(segment: Buffer, from: number, take: (commit: Commit) => void): number {
  const header = readHeader(segment)
  let expected = header?.first ?? 0
  let last = from
  for (let at = HEADER_BYTES; ;) {
    const record = recordAt(segment, at, header?.secret ?? 0)
    if (!record || record.sequence !== expected) return last
    if (record.sequence > last) {
      take(record.commit())
      last = record.sequence
    }
    expected++
    at = record.end
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
