import { crc32 } from "node:zlib"
import { type Amount, Frames } from "../wire/frames.js"
import { withChecksum } from "./checksum.js"
import { placeBytes } from "./chunks.js"
import type { Environment } from "./environment.js"
import { Damage } from "./errors.js"
import { logKey, readUint64 } from "./keys.js"
import { NEXT_KEY } from "./tables.js"

/** Format of what is stored; a newer one is refused, an older one is converted. */
const FORMAT = 3
export const FORMAT_KEY = Buffer.from("format")
/** Rows of format 1 that are converted in one transaction. */
const ROWS_AT_ONCE = 256

/**
 * Looks at the format of a store, and brings it up to date where it is older. Can be interrupted at any point, and goes on
 * the next time. Throws when the format is newer, or none.
 */
export async function bringUpToDate(environment: Environment): Promise<void> {
  const { meta, sessions, logs, chunks } = environment
  const format = formatOf(meta.get(FORMAT_KEY))
  if (format === undefined) {
    for (const table of [sessions, logs, chunks, environment.retained])
      if ([...table.getKeys({ limit: 1 })].length) throw new Damage("it has data and does not say in which format")
    await meta.put(FORMAT_KEY, formatRow())
  } else if (format === 1) await addChecksums(environment)
  while (await moveSome(environment)); // oxlint-disable-line no-await-in-loop -- one transaction after the other
  // format 2 had no bodies; its rows are those of this one
  if (format === 2) await meta.put(FORMAT_KEY, formatRow())
}

const NO_BYTES = Buffer.alloc(0)

/** The row that says the format. A checksum stands behind the number, since format 2. */
export function formatRow(format = FORMAT): Buffer {
  const value = Buffer.alloc(8)
  value.writeUInt32BE(format)
  value.writeUInt32BE(crc32(value.subarray(0, 4)), 4)
  return value
}

/** What the row says. Throws a Damage for a format that there never was, an Error for a newer one. */
export function formatOf(row: Buffer | undefined): number | undefined {
  if (!row) return undefined
  const format = row.length < 4 ? 0 : row.readUInt32BE(0)
  if (format === 0) throw new Damage("its format is 0, which there never was")
  if (format === 1 ? row.length !== 4 : !row.equals(formatRow(format))) throw new Damage("what says its format is damaged")
  if (format > FORMAT) throw new Error(`its format is ${format}, this version reads up to ${FORMAT}; use a newer mqtt-broker`)
  return format
}

/** Rows of format 1 had no checksum. One transaction, so that none gets two. */
export async function addChecksums(environment: Environment): Promise<void> {
  const { root, meta } = environment
  await root.transaction(() => {
    for (const name of ["sessions", "subscriptions", "cursors", "incoming", "retained", "wills"] as const) {
      const table = environment[name]
      for (const key of Array.from(table.getKeys({}))) {
        const value = table.get(key) ?? NO_BYTES
        void table.put(key, withChecksum(name, key, name === "retained" ? withoutCounts(value).value : value))
      }
    }
    const next = meta.get(NEXT_KEY)
    if (next) void meta.put(NEXT_KEY, withChecksum("meta", NEXT_KEY, next))
    void meta.put(FORMAT_KEY, formatRow())
  })
}

/** In format 1 the key of a chunk had the position of its first message. False: there is none any more. */
export async function moveSome({ logs, chunks }: Environment): Promise<boolean> {
  const writes: Promise<boolean>[] = []
  for (const { key, value } of logs.getRange({ limit: ROWS_AT_ONCE })) {
    const chunk = { first: readUint64(key, 8), ...withoutCounts(value) }
    const { last } = Frames.unseal(chunk.first, chunk.value)
    const place = logKey(readUint64(key, 0), last)
    writes.push(chunks.put(place, withChecksum("chunks", place, placeBytes(chunk), chunk.value)), logs.remove(key))
  }
  await Promise.all(writes)
  return writes.length > 0
}

/** In format 1 a block ended with 48 bytes that had the counts too; now they are 24 (Frames.seal). */
function withoutCounts(block: Buffer): { before: Amount; value: Buffer } {
  const end = block.length - 48
  const number = (at: number): number => block.readDoubleLE(end + at)
  const before = { messages: number(8), bytes: number(16), expiring: number(32) }
  const value = Buffer.concat([block.subarray(0, end + 8), block.subarray(end + 24, end + 32), block.subarray(end + 40)])
  value.writeUInt32LE(2, value.length - 8)
  return { before, value }
}
