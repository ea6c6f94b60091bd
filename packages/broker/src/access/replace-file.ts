import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  type Stats,
  writeFileSync,
} from "node:fs"
import { dirname, resolve } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { messageOf, quoted, systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"

/** How long another command may take that changes the same file, and how often it is looked for, in ms. */
const WAIT_MS = 10_000
const LOOK_MS = 20

/**
 * Replaces a file by what `change` makes of it (undefined: there is none), as a whole: whoever reads it, even after a power cut, sees
 * the old or the new one. Who calls this at the same time waits. A link stays, and what it leads to is changed; mode and owner stay,
 * a new file can be read by its owner only. Returns what was written. Throws what `change` throws, and a BrokerError when the file cannot be written.
 */
export async function replaceFile(path: string, change: (content: Buffer | undefined) => Buffer): Promise<Buffer> {
  let file: string
  let fd: number | undefined
  // the new file under the name of a lock: renaming it makes it valid and gives the lock back, both at once
  let lock: string
  try {
    file = placeOf(path)
    lock = `${file}.lock`
    fd = await openLock(lock)
  } catch (error) {
    throw unwritable(path, error)
  }
  if (fd === undefined)
    throw new BrokerError("access-unusable", `another command is changing ${quoted(path)}, or was killed while it did`, {
      hint: `if none runs, remove ${quoted(lock)}`,
    })
  let content: Buffer
  try {
    const before = statSync(file, { throwIfNoEntry: false })
    if (before && !before.isFile()) throw new Error("it is not a regular file")
    content = change(before && readFileSync(file))
    writeInto(fd, content, before)
    renameSync(lock, file)
  } catch (error) {
    rmSync(lock, { force: true })
    throw error instanceof BrokerError ? error : unwritable(path, error)
  } finally {
    closeSync(fd)
  }
  syncFolder(dirname(file))
  return content
}

/** The file itself, where the path leads to it by links; it need not be there. Throws errors of the system. */
export function placeOf(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    if (systemCode(error) === "ENOENT" && !lstatSync(path, { throwIfNoEntry: false })) return resolve(path)
    throw error
  }
}

/**
 * Makes a file that is there while something is changed, and only its owner can read; waits for another command that has it.
 * Undefined: that one did not end in time, or the wait was cut. Throws errors of the system.
 */
export async function openLock(lock: string, isCut: () => boolean = () => false): Promise<number | undefined> {
  for (let waited = 0; waited <= WAIT_MS && !isCut(); waited += LOOK_MS) {
    try {
      return openSync(lock, "wx", 0o600)
    } catch (error) {
      if (systemCode(error) !== "EEXIST") throw error
    }
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    await pause(LOOK_MS)
  }
  return undefined
}

/** Writes a file that is to replace one, with the mode and owner of that one, and waits until it is on the disk. */
export function writeInto(fd: number, content: Buffer | string, before: Stats | undefined): void {
  if (before) keepOwner(fd, before)
  writeFileSync(fd, content)
  fsyncSync(fd)
}

function keepOwner(fd: number, { mode, uid, gid }: Stats): void {
  const own = fstatSync(fd)
  if (own.uid !== uid || own.gid !== gid) fchownSync(fd, uid, gid)
  fchmodSync(fd, mode & 0o7777)
}

/** Makes the renaming last. Where a folder cannot be opened, such as on Windows, the system does it. */
export function syncFolder(folder: string): void {
  let fd: number
  try {
    fd = openSync(folder, "r")
  } catch {
    return
  }
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function unwritable(path: string, error: unknown): BrokerError {
  return new BrokerError("access-unusable", `${quoted(path)} cannot be written: ${messageOf(error)}`, { cause: error })
}
