import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmdirSync, rmSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { CliError, listenForStop, messageOf, quoted, systemCode } from "@mqtt-trio/common"
import { openLock, placeOf, syncFolder, writeInto } from "../access/replace-file.js"
import { BrokerError } from "../errors.js"

/** A file that is to be there. */
export interface NewFile {
  readonly path: string
  readonly content: string
  /** where there is none yet; else mode and owner stay */
  readonly mode: number
}

/** What comes of looking at a folder. */
export interface Plan<T> {
  readonly files: readonly NewFile[]
  readonly result: T
}

type Stop = ReturnType<typeof listenForStop>

/**
 * Changes a folder as `plan` says, which only looks at it. All files are written before the first is replaced, and they are replaced
 * in their order. Who calls this at the same time waits. A signal that would end the process
 * does so before anything is changed, or not at all. Throws what `plan` throws, `output-failed` when a file cannot be written, `tls-unusable` when another
 * command does not end.
 */
export async function changeFolder<T>(folder: string, plan: () => Promise<Plan<T>>): Promise<T> {
  const stop = listenForStop(["SIGINT", "SIGTERM", "SIGHUP"], () => stop.received !== undefined)
  const isNew = makeFolder(folder)
  try {
    return await locked(folder, stop, async () => {
      const { files, result } = await plan()
      stopIf(stop)
      replaceAll(files)
      return result
    })
  } catch (error) {
    if (isNew) removeEmpty(folder)
    throw error
  } finally {
    stop.dispose()
  }
}

async function locked<T>(folder: string, stop: Stop, work: () => Promise<T>): Promise<T> {
  const lock = join(folder, "cert.lock")
  const fd = await openLock(lock, () => stop.received !== undefined).catch((error: unknown) => {
    throw unwritable(lock, error)
  })
  if (fd === undefined) {
    stopIf(stop)
    throw new BrokerError("tls-unusable", `another command is changing ${quoted(folder)}, or was killed while it did`, {
      hint: `if none runs, remove ${quoted(lock)}`,
    })
  }
  try {
    return await work()
  } finally {
    closeSync(fd)
    rmSync(lock, { force: true })
  }
}

function stopIf({ received }: Stop): void {
  if (received !== undefined)
    throw new CliError(received === "SIGINT" ? "interrupted" : "terminated", `${received} came before anything was changed`)
}

/** Returns whether it was made. */
function makeFolder(folder: string): boolean {
  if (existsSync(folder)) return false
  try {
    // not those above it: the system's own way to make them never ends in a folder that refuses new entries, such as /proc
    mkdirSync(folder)
    return true
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false // another command was faster
    throw unwritable(folder, error)
  }
}

/** Another command may use it by now. */
function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // it is not empty
  }
}

interface Staged {
  readonly temporary: string
  readonly place: string
}

function replaceAll(files: readonly NewFile[]): void {
  const staged: Staged[] = []
  try {
    for (const file of files) staged.push(stage(file))
    for (const one of staged) replace(one)
  } catch (error) {
    for (const { temporary } of staged) rmSync(temporary, { force: true })
    throw error
  }
}

/** Writes a new file beside the one that it is to replace. */
function stage({ path, content, mode }: NewFile): Staged {
  let temporary: string | undefined
  try {
    const place = placeOf(path)
    temporary = `${place}.new`
    rmSync(temporary, { force: true }) // of a command that was killed
    const fd = openSync(temporary, "wx", mode)
    try {
      writeInto(fd, content, statSync(place, { throwIfNoEntry: false }))
    } finally {
      closeSync(fd)
    }
    return { temporary, place }
  } catch (error) {
    if (temporary !== undefined) rmSync(temporary, { force: true })
    throw unwritable(path, error)
  }
}

/** The next one is replaced when this is on the disk. */
function replace({ temporary, place }: Staged): void {
  try {
    renameSync(temporary, place)
    syncFolder(dirname(place))
  } catch (error) {
    throw unwritable(place, error)
  }
}

function unwritable(path: string, error: unknown): CliError {
  const above = dirname(path)
  const hints: Record<string, string | undefined> = {
    ENOSPC: "free some space: no file was changed",
    EDQUOT: "free some space: no file was changed",
    ENOENT: existsSync(above) ? undefined : `make the folder ${quoted(above)} first`,
  }
  const hint = hints[systemCode(error) ?? ""]
  return new CliError("output-failed", `cannot write ${quoted(path)}: ${messageOf(error)}`, { cause: error, hint })
}
