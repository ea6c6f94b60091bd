import { existsSync, readdirSync, realpathSync, rmdirSync, rmSync } from "node:fs"
import { chmod, type FileHandle, open, rename } from "node:fs/promises"
import { basename, join } from "node:path"
import { checkPrivate, DATABASE, makeFolder } from "./folder.js"
import type { Journal } from "./journal/journal.js"
import { syncFolder } from "./journal/segment.js"
import type { Tables } from "./tables.js"

/** How much is copied at a time, in bytes: a bystander's commit waits for no more. */
const PIECE_BYTES = 1 << 20
/** What is not whole yet has this behind its name: no start takes it for a store. */
const PARTIAL = ".partial"

/**
 * Copies an open store to a folder that is new or empty, and makes it durable there. First the tables, as they are at one
 * moment, then the segments of the journal with all that was not in them then; none becomes free in between.
 */
export async function copyStore(store: { journal: Journal; tables: Tables }, folder: string): Promise<void> {
  const isNew = !existsSync(folder)
  makeFolder(folder)
  const found = readdirSync(folder).find((name) => name !== "lost+found")
  if (found !== undefined) throw new Error(`it has something in it, such as ${JSON.stringify(found)}; a copy needs a new or empty folder`)
  checkTarget(folder, isNew)
  const hold = store.journal.hold()
  const partial = join(folder, DATABASE + PARTIAL)
  const made = [partial]
  try {
    await store.tables.copyTo(partial)
    await chmod(partial, 0o600)
    await synced(partial)
    for (const { path, bytes } of hold.written()) {
      const to = join(folder, basename(path))
      made.push(to)
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await copyBeginning(path, to, bytes)
    }
    await rename(partial, join(folder, DATABASE))
    syncFolder(folder)
  } catch (error) {
    for (const path of made) rmSync(path, { force: true })
    if (isNew) rmdirSync(folder)
    throw error
  } finally {
    hold.release()
  }
}

function checkTarget(folder: string, isNew: boolean): void {
  try {
    checkPrivate(realpathSync.native(folder))
  } catch (error) {
    if (isNew) rmdirSync(folder)
    throw error
  }
}

async function copyBeginning(from: string, to: string, bytes: number): Promise<void> {
  const [source, target] = [await open(from, "r"), await open(to, "wx", 0o600)]
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    for (let at = 0; at < bytes;) {
      const length = Math.min(PIECE_BYTES, bytes - at)
      // oxlint-disable-next-line no-await-in-loop -- one piece after the other
      at += await copyPiece({ source, target }, piece.subarray(0, length), at)
    }
    await target.datasync()
  } finally {
    await source.close()
    await target.close()
  }
}

async function copyPiece({ source, target }: { source: FileHandle; target: FileHandle }, piece: Buffer, at: number): Promise<number> {
  const { bytesRead } = await source.read(piece, 0, piece.length, at)
  if (!bytesRead) throw new Error("the journal is shorter than what was written")
  for (let done = 0; done < bytesRead;) {
    // oxlint-disable-next-line no-await-in-loop
    const { bytesWritten } = await target.write(piece, done, bytesRead - done, at + done)
    done += bytesWritten
  }
  return bytesRead
}

async function synced(path: string): Promise<void> {
  const file = await open(path, "r+")
  try {
    await file.datasync()
  } finally {
    await file.close()
  }
}
