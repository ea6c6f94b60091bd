import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const HEADER_BYTES = 64
const ALIGNMENT = 32

/** A record as it lies in a file: what its CRC32 covers ends before `end`, the next one begins at a multiple of 32. */
export interface RecordPlace {
  at: number
  end: number
  sequence: number
}

/** A file of the journal of a broker that is dead, read by the layout in src/stores/DESIGN.md; nothing is checked. */
export interface JournalFile {
  path: string
  bytes: Buffer
  /** number and first sequence in its header */
  number: number
  first: number
  records: RecordPlace[]
}

/** The segments of a store's folder, in the order in which they were written. */
export function journalFiles(folder: string): JournalFile[] {
  const names = readdirSync(folder).filter((name) => /^journal\.\d+$/.test(name))
  const files = names.map((name) => journalFile(join(folder, name)))
  return files.toSorted((a, b) => a.number - b.number)
}

function journalFile(path: string): JournalFile {
  const bytes = readFileSync(path)
  const first = bytes.readDoubleLE(16)
  const records: RecordPlace[] = []
  for (let at = HEADER_BYTES; at + ALIGNMENT <= bytes.length;) {
    const end = at + bytes.readUInt32LE(at)
    const sequence = bytes.readDoubleLE(at + 8)
    if (sequence !== first + records.length) break
    records.push({ at, end, sequence })
    at = Math.ceil(end / ALIGNMENT) * ALIGNMENT
  }
  return { path, bytes, number: bytes.readDoubleLE(8), first, records }
}
