import { type Stats, existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { systemCode } from "@mqtt-trio/common"
import { checkSpace } from "./disk-guard.js"
import { Damage, storeError } from "./errors.js"
import { JOURNAL_NAME } from "./journal/journal.js"

/** The file in a store's folder that holds everything. */
export const DATABASE = "mqtt-broker.mdb"
/** What a repair made, before it takes the place of what was there. */
export const REPAIRED = `${DATABASE}.repaired`
/** What may lie in the folder of a store that had no database a moment ago: what a broker makes, and the root of a file system. */
const HARMLESS_NAMES = /^(admin\..+\.sock|mqtt-broker\.mdb(-lock)?|probe|lost\+found)$/

/**
 * Makes a store's folder when it is missing, looks whether it is one, and returns where it really is: a link on the way
 * that changes later changes nothing. Throws a storeError when it cannot be used.
 */
export function prepareFolder(folder: string): string {
  try {
    makeFolder(folder)
    const path = realpathSync.native(folder)
    if (existsSync(join(path, REPAIRED))) throw new Damage("a repair of it was interrupted")
    const database = lstatSync(join(path, DATABASE), { throwIfNoEntry: false })
    if (database) checkDatabase(path, database)
    else checkNew(path)
    return path
  } catch (error) {
    throw storeError(folder, error)
  }
}

/** A database with another name may be another broker's too: the lock is the folder's. */
export function checkDatabase(folder: string, database: Stats): void {
  checkOwner(folder, database.uid)
  if (database.isSymbolicLink() || database.nlink > 1)
    throw new Error(`${JSON.stringify(join(folder, DATABASE))} is a link to a file with another name, which may be in use; copy it instead`)
}

/** A stranger may put a database into a folder that everybody may write, and a broker of his may use it. */
function checkOwner(folder: string, owner: number): void {
  if (owner === process.geteuid?.() || owner === 0 || owner === statSync(folder).uid) return
  throw new Error(`${JSON.stringify(join(folder, DATABASE))} belongs to another user (${owner}) than the folder`)
}

function checkNew(folder: string): void {
  const journal = readdirSync(folder).find((name) => JOURNAL_NAME.test(name))
  if (journal !== undefined) throw new Damage(`it has a journal (${JSON.stringify(journal)}), and ${JSON.stringify(DATABASE)} is missing`)
  const foreign = readdirSync(folder).find((name) => !HARMLESS_NAMES.test(name))
  if (foreign !== undefined)
    throw new Error(`it holds other things, such as ${JSON.stringify(foreign)}, and no store; a new store needs an empty folder`)
  checkSpace(folder)
}

/**
 * Makes a folder for its owner alone, and those above it that are missing. Throws the system's error. One level at a
 * time: mkdirSync's own recursion never ends in a folder that refuses new entries with ENOENT, such as /proc.
 */
export function makeFolder(folder: string): void {
  if (made(folder)) return
  const parent = dirname(folder)
  if (parent !== folder) makeFolder(parent)
  if (!made(folder)) mkdirSync(folder, { mode: 0o700 })
}

function made(folder: string): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 })
    return true
  } catch (error) {
    const code = systemCode(error)
    if (code === "EEXIST") {
      readdirSync(folder) // ENOTDIR when it is a file
      return true
    }
    if (code === "ENOENT") return false
    throw error
  }
}
