import { type Stats, existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { systemCode } from "@mqtt-trio/common"
import { checkSpace } from "./disk-guard.js"
import { Damage, Exposed, storeError } from "./errors.js"
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
    checkPrivate(path)
    if (existsSync(join(path, REPAIRED))) throw new Damage("a repair of it was interrupted")
    const database = lstatSync(join(path, DATABASE), { throwIfNoEntry: false })
    if (database) checkDatabase(path, database)
    else checkNew(path)
    return path
  } catch (error) {
    throw storeError(folder, error)
  }
}

/** Bits of a mode: who else may write, and that entries are their owners' all the same. */
const GROUP_WRITES = 0o020
const OTHERS_WRITE = 0o002
const STICKY = 0o1000

/**
 * Throws when others than root and this process's user can change what a folder has, or put another one in its place. Stricter
 * than that, as sshd is with the folders above it, would refuse what groups are used for on purpose: volumes of Kubernetes,
 * Homebrew. Whoever moves the folder away there gets none of its files, and one of his own in its place is refused.
 * @param path without links
 */
export function checkPrivate(path: string): void {
  const own = process.geteuid?.()
  if (own === undefined) return // Windows: modes say nothing there
  const { uid, mode } = statSync(path)
  if (uid !== own && uid !== 0)
    throw new Exposed(
      `${JSON.stringify(path)} belongs to another user (${uid})`,
      "run it as that user, or give the folder and what is in it to the broker's user with chown -R",
    )
  if (mode & (GROUP_WRITES | OTHERS_WRITE))
    throw new Exposed(
      `others than its owner may write to ${JSON.stringify(path)}`,
      `take that away with chmod go-w${isEverybodys(mode) ? "" : ", or name a folder in it that does not exist yet: it is made for the broker alone"}`,
    )
  const open = foldersAbove(path).find((folder) => isEverybodys(statSync(folder).mode))
  if (open !== undefined)
    throw new Exposed(
      `everybody may write to ${JSON.stringify(open)}, and put another folder in its place`,
      "take that away with chmod o-w, or let everybody move only what is his own, with chmod +t",
    )
}

/** Whether everybody may rename what a folder has. */
function isEverybodys(mode: number): boolean {
  return (mode & (OTHERS_WRITE | STICKY)) === OTHERS_WRITE
}

function foldersAbove(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [] : [parent, ...foldersAbove(parent)]
}

/** A database with another name may be another broker's too: the lock is the folder's. */
export function checkDatabase(folder: string, database: Stats): void {
  checkOwner(folder, database.uid)
  if (database.isSymbolicLink() || database.nlink > 1)
    throw new Error(`${JSON.stringify(join(folder, DATABASE))} is a link to a file with another name, which may be in use; copy it instead`)
}

/** A stranger may have put a database into a folder that he could write once, and a broker of his may use it. */
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
