import { readFileSync } from "node:fs"
import { join } from "node:path"
import { journalFiles } from "../journal/recovery.js"
import { ALIGNMENT, recordAt, sequenceAt } from "../journal/record.js"
import { readHeader } from "../journal/segment.js"
import type { Commit } from "../store.js"

/** What a journal has, whether it is whole or not. */
export interface FoundCommits {
  /** the last sequence that there is */
  last: number
  /** how many are missing before it */
  missing: number
}

/**
 * Hands out in order every commit of a journal that is whole and not folded; those between them that are not are passed over.
 *
 * @param tables the last sequence that they have, and the store's secret (see Header); undefined: nobody knows
 */
export function salvageJournal(
  folder: string,
  tables: { folded: number | undefined; secret: number | undefined },
  take: (commit: Commit) => void,
): FoundCommits {
  const { folded } = tables
  const secret = tables.secret ?? secretOf(folder)
  const places = new Map<number, { file: string; at: number }>()
  const segments = new Map<string, Buffer>()
  for (const { name } of journalFiles(folder)) {
    const file = join(folder, `journal.${name}`)
    const segment = readFileSync(file)
    for (const [sequence, at] of recordsIn(segment, folded ?? 0, secret)) {
      places.set(sequence, { file, at })
      segments.set(file, segment)
    }
  }
  const sequences = [...places.keys()].toSorted((a, b) => a - b)
  for (const sequence of sequences) {
    const place = places.get(sequence)
    const segment = place && segments.get(place.file)
    const record = segment && recordAt(segment, place.at, secret)
    if (record) take(record.commit())
  }
  const from = folded === undefined ? (sequences[0] ?? 1) - 1 : folded
  const last = sequences.at(-1) ?? from
  return { last, missing: last - from - sequences.length }
}

/** The whole records of a segment above a sequence, wherever they lie. */
function* recordsIn(segment: Buffer, above: number, secret: number): Generator<[sequence: number, at: number]> {
  for (let at = 0; at + ALIGNMENT <= segment.length;) {
    const sequence = sequenceAt(segment, at)
    const record = sequence > above && Number.isSafeInteger(sequence) ? recordAt(segment, at, secret) : undefined
    if (record) yield [sequence, at]
    at = record?.end ?? at + ALIGNMENT
  }
}

/** What the first segment that has a header says; 0 when none has. */
function secretOf(folder: string): number {
  const headers = journalFiles(folder).map(({ name }) => readHeader(readFileSync(join(folder, `journal.${name}`))))
  return headers.find((header) => header !== undefined)?.secret ?? 0
}
