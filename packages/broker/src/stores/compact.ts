import { closeSync, fsyncSync, openSync, renameSync, rmSync, statfsSync, statSync, chmodSync } from "node:fs"
import { join } from "node:path"
import { checkFile, type FileSize } from "./check-file.js"
import { openEnvironment } from "./environment.js"
import { DATABASE } from "./folder.js"
import { syncFolder } from "./journal/segment.js"

/** From this size on a file is looked at, in bytes; the tests make it small. */
const LEAST_BYTES = Number(process.env["MQTT_BROKER_TEST_COMPACT_BYTES"] ?? 64 << 20)
/** What is to stay free on the disk, in bytes. */
const MARGIN_BYTES = 16 << 20
const COMPACTED = `${DATABASE}.compacted`

/** Whether a file is large, and most of it is free. */
export function isMostlyFree({ bytes, free }: FileSize): boolean {
  return bytes > LEAST_BYTES && free > bytes / 2
}

/**
 * Gives the space of what was removed back: writes the tables to a new file, which takes the place of the other when it is on
 * the disk. Returns its size in bytes. Throws when that cannot be done; then the file is as it was.
 *
 * @param path a store's folder that nobody has open, with a file of tables that was checked
 */
export async function compact(path: string, { bytes, free }: FileSize): Promise<number> {
  const file = join(path, DATABASE)
  const compacted = join(path, COMPACTED)
  const disk = statfsSync(path)
  if (disk.bavail * disk.bsize < bytes - free + MARGIN_BYTES)
    throw new Error(`there is no space for a second file of ${bytes - free} bytes beside ${JSON.stringify(file)}; free some`)
  rmSync(compacted, { force: true }) // left of one that was interrupted
  try {
    await copyCompacted(file, compacted)
    checkFile(compacted)
    makeDurable(compacted)
  } catch (error) {
    rmSync(compacted, { force: true })
    throw error
  }
  renameSync(compacted, file)
  syncFolder(path)
  return statSync(file).size
}

async function copyCompacted(file: string, compacted: string): Promise<void> {
  const { root } = openEnvironment(file)
  try {
    await root.backup(compacted, true)
  } finally {
    await root.close()
  }
}

function makeDurable(path: string): void {
  chmodSync(path, 0o600)
  const file = openSync(path, "r+")
  fsyncSync(file)
  closeSync(file)
}
