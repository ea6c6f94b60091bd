import { existsSync, lstatSync, mkdirSync, openSync, closeSync, fsyncSync, readdirSync, realpathSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { checkFile } from "../check-file.js"
import { DiskGuard } from "../disk-guard.js"
import type { TableName } from "../environment.js"
import { Damage } from "../errors.js"
import { checkDatabase, DATABASE, REPAIRED } from "../folder.js"
import { type Contents, inspectStore } from "../inspect.js"
import { JOURNAL_NAME } from "../journal/journal.js"
import { syncFolder } from "../journal/segment.js"
import { readUint64 } from "../keys.js"
import { FOLDED_KEY, SECRET_KEY, Tables } from "../tables.js"
import { Unfolded } from "../unfolded.js"
import { salvageJournal } from "./journal-salvage.js"
import { Rebuilt } from "./rebuilt.js"
import { salvage, type Salvaged } from "./salvage.js"

/** What a repair did. */
export interface Repair {
  /** what the store has now */
  contents: Contents
  /** undefined: nothing was wrong, and nothing was changed */
  repaired: Repaired | undefined
}

export interface Repaired {
  /** the folder with the files that were there */
  aside: string
  /** what was wrong first */
  reason: string
  /** what could not be read; an interrupted repair that is finished does not know any more */
  missing: Missing | undefined
}

/** Undefined: nobody knows. */
export interface Missing {
  sessions: number | undefined
  subscriptions: number | undefined
  retained: number | undefined
  wills: number | undefined
  /** blocks of queued messages */
  blocks: number | undefined
  /** messages that were behind and before others that are there, and in how many logs */
  messages: number
  logs: number
  /** sessions that lost their place: they get again all that is stored for them */
  places: number
  /** commits of the journal */
  commits: number
  /** what had been removed shortly before may be back */
  mayBeOld: boolean
}

const NEW = `${DATABASE}.new`

/**
 * Makes a store that starts of what is intact in a damaged one; the files that were there are kept in a subfolder. It can be
 * interrupted at any point, and goes on the next time. Throws a Damage when nothing can be saved; then nothing is changed.
 *
 * @param folder nobody has it open, and its lock is held
 */
export async function repairStore(folder: string): Promise<Repair> {
  const path = realpathSync.native(folder)
  if (existsSync(join(path, REPAIRED))) {
    const aside = swap(path)
    return { contents: inspectStore(path), repaired: { aside, reason: "a repair was interrupted", missing: undefined } }
  }
  const found = inspected(path)
  if (found.contents) return { contents: found.contents, repaired: undefined }
  clear(path)
  const missing = await rebuild(path)
  const aside = swap(path)
  return { contents: inspectStore(path), repaired: { aside, reason: found.reason, missing } }
}

/** What is in a store that is whole; else what is wrong. */
function inspected(path: string): { contents: Contents; reason: "" } | { contents: undefined; reason: string } {
  try {
    const database = lstatSync(join(path, DATABASE), { throwIfNoEntry: false })
    if (database) checkDatabase(path, database)
    const contents = inspectStore(path)
    if (!contents.damaged) return { contents, reason: "" }
    return { contents: undefined, reason: `${contents.damaged} rows of messages in it are damaged` }
  } catch (error) {
    if (!(error instanceof Damage)) throw error
    return { contents: undefined, reason: error.message }
  }
}

/** What a repair that was interrupted had begun. */
function clear(path: string): void {
  for (const name of [NEW, `${NEW}-lock`]) rmSync(join(path, name), { force: true })
}

async function rebuild(path: string): Promise<Missing> {
  const database = join(path, DATABASE)
  const rebuilt = new Rebuilt(join(path, NEW))
  try {
    const saved = existsSync(database) ? salvage(database, (row) => rebuilt.add(row)) : NOTHING
    rebuilt.settleBodies()
    const lost = amounts(saved, rebuilt)
    const journal = await addJournal(path, rebuilt)
    const places = rebuilt.settle()
    if (!hasAnything(rebuilt)) throw new Damage("nothing in it can be saved")
    await rebuilt.close()
    finish(path)
    return { ...lost, ...journal, places, mayBeOld: saved.mayBeOld }
  } catch (error) {
    clear(path)
    throw error
  }
}

const NOTHING: Salvaged = { expected: new Map(), mayBeOld: false }

/** Brings what the journal has into the tables. Returns what is missing in the journal, and in the queues. */
async function addJournal(path: string, rebuilt: Rebuilt): Promise<Pick<Missing, "commits" | "messages" | "logs">> {
  const { environment } = rebuilt
  const file = join(path, NEW)
  const unfolded = new Unfolded()
  const folded = rebuilt.meta(FOLDED_KEY)
  const known = { folded: folded && readUint64(folded, 0), secret: rebuilt.meta(SECRET_KEY)?.readUInt32LE(0) }
  const { last, missing } = salvageJournal(path, known, (commit) => unfolded.apply(commit))
  const { messages, logs } = rebuilt.gaps(unfolded.logs)
  const tables = new Tables(file, environment, new DiskGuard(file), {})
  tables.load()
  await tables.fold(unfolded, last, () => 0)
  return { commits: missing, messages, logs }
}

function hasAnything({ environment }: Rebuilt): boolean {
  return (["sessions", "chunks", "references", "logs", "retained", "wills"] as const).some(
    (table) => Array.from(environment[table].getKeys({ limit: 1 })).length > 0,
  )
}

type Amounts = Pick<Missing, "sessions" | "subscriptions" | "retained" | "wills" | "blocks">

function amounts({ expected }: Salvaged, rebuilt: Rebuilt): Amounts {
  const of = (table: TableName): number | undefined => {
    const count = expected.get(table)
    return count === undefined ? undefined : Math.max(0, count - rebuilt.count(table))
  }
  const chunks = of("chunks")
  return {
    sessions: of("sessions"),
    subscriptions: of("subscriptions"),
    retained: of("retained"),
    wills: of("wills"),
    blocks: chunks === undefined ? undefined : chunks + (of("references") ?? 0), // format 2 has none
  }
}

/** The new file is whole, and on the disk: from here on it takes the place of the other. */
function finish(path: string): void {
  rmSync(join(path, `${NEW}-lock`), { force: true })
  checkFile(join(path, NEW))
  const file = openSync(join(path, NEW), "r+")
  fsyncSync(file)
  closeSync(file)
  renameSync(join(path, NEW), join(path, REPAIRED))
  syncFolder(path)
}

/** Puts what was there aside, and the new file in its place. Returns where the former files are. */
function swap(path: string): string {
  const aside = newFolder(path)
  const move = (name: string): void => renameSync(join(path, name), join(aside, name))
  if (existsSync(join(path, DATABASE))) move(DATABASE)
  rmSync(join(path, `${DATABASE}-lock`), { force: true })
  syncFolder(aside)
  renameSync(join(path, REPAIRED), join(path, DATABASE))
  syncFolder(path)
  // all that they say is in the new file
  for (const name of readdirSync(path)) if (JOURNAL_NAME.test(name)) move(name)
  syncFolder(aside)
  syncFolder(path)
  return aside
}

function newFolder(path: string): string {
  const name = `damaged-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}Z`
  for (let n = 1; ; n++) {
    const folder = join(path, n === 1 ? name : `${name}-${n}`)
    if (existsSync(folder)) continue
    mkdirSync(folder, { mode: 0o700 })
    return folder
  }
}
