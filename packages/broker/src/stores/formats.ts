import { Frames } from "../wire/frames.js"
import { withChecksum } from "./checksum.js"
import type { Environment } from "./environment.js"
import { logKey, readUint64, writeUint64 } from "./keys.js"
import { NEXT_KEY } from "./tables.js"

/** Format of what is stored; a newer one is refused, an older one is converted. */
const FORMAT = 2
const FORMAT_KEY = Buffer.from("format")
/** Rows of format 1 that are converted in one transaction. */
const ROWS_AT_ONCE = 256

/**
 * Looks at the format of a store, and brings it up to date where it is older. Can be interrupted at any point, and goes on
 * the next time. Throws when the format is newer, or none.
 */
export async function bringUpToDate(environment: Environment): Promise<void> {
  const { meta, sessions, logs, chunks } = environment
  const format = meta.get(FORMAT_KEY)?.readUInt32BE(0)
  if (format === undefined) {
    for (const table of [sessions, logs, chunks, environment.retained])
      if ([...table.getKeys({ limit: 1 })].length) throw new Error("it has data and does not say in which format; take a copy from before")
    await meta.put(FORMAT_KEY, formatRow())
  } else if (format > FORMAT) throw new Error(`its format is ${format}, this version reads up to ${FORMAT}; use a newer mqtt-broker`)
  else if (format === 0) throw new Error("its format is 0, which there never was; take a copy from before")
  else if (format === 1) await addChecksums(environment)
  while (await moveSome(environment)); // oxlint-disable-line no-await-in-loop -- one transaction after the other
}

const NO_BYTES = Buffer.alloc(0)

function formatRow(): Buffer {
  const value = Buffer.alloc(4)
  value.writeUInt32BE(FORMAT)
  return value
}

/** Rows of format 1 had no checksum. One transaction, so that none gets two. */
export async function addChecksums({ root, sessions, subscriptions, cursors, retained, wills, meta }: Environment): Promise<void> {
  await root.transaction(() => {
    for (const table of [sessions, subscriptions, cursors, retained, wills])
      for (const key of Array.from(table.getKeys({}))) void table.put(key, withChecksum(table.get(key) ?? NO_BYTES))
    const next = meta.get(NEXT_KEY)
    if (next) void meta.put(NEXT_KEY, withChecksum(next))
    void meta.put(FORMAT_KEY, formatRow())
  })
}

/** In format 1 the key of a chunk had the position of its first message. False: there is none any more. */
export async function moveSome({ logs, chunks }: Environment): Promise<boolean> {
  const writes: Promise<boolean>[] = []
  for (const { key, value } of logs.getRange({ limit: ROWS_AT_ONCE })) {
    const first = Buffer.allocUnsafe(8)
    const position = readUint64(key, 8)
    writeUint64(first, 0, position)
    const { last } = Frames.unseal(position, value)
    writes.push(chunks.put(logKey(readUint64(key, 0), last), withChecksum(first, value)), logs.remove(key))
  }
  await Promise.all(writes)
  return writes.length > 0
}
