import { existsSync } from "node:fs"
import type { TableName } from "./environment.js"
import { Damage } from "./errors.js"
import { hasMark, type Meta, META_BYTES, metaOf, type Tree } from "./pages/layout.js"
import { freePagesIn } from "./pages/free-list.js"
import { PageFile } from "./pages/page-file.js"
import { TreeCheck, type TreeKind } from "./pages/tree-check.js"

/** How long the keys of each table are, in bytes; undefined: of any length. */
export const KEY_BYTES: Readonly<Record<TableName, number | undefined>> = {
  chunks: 16,
  references: 24,
  bodies: 8,
  sharers: 8,
  logs: 16,
  sessions: 8,
  subscriptions: 12,
  cursors: 8,
  incoming: 12,
  retained: 8,
  wills: 8,
  meta: undefined,
}
/** A file may be this much shorter than LMDB says, in pages: they are free. */
const MOST_LACKING = 1 << 20

/** What a file that is whole takes, in bytes. */
export interface FileSize {
  bytes: number
  /** of them those that nothing lies in */
  free: number
}

/** Gets the rows of a file. */
export type TakeRow = (table: TableName, key: Buffer, value: Buffer) => void

/**
 * Throws a Damage when a file is no LMDB database of this program, is cut short or damaged: LMDB follows whatever it is given,
 * through a mapping of the file, and that ends the process (SIGBUS, SIGSEGV). All that it follows is looked up before, but
 * not what rows say: they have checksums. Undefined: there is no file.
 *
 * @param take gets every row as it is found
 */
export function checkFile(path: string, take?: TakeRow): FileSize | undefined {
  if (!existsSync(path)) return undefined
  const file = new PageFile(path)
  try {
    return { bytes: file.size, free: checkPages(file, readMeta(file), take) }
  } finally {
    file.close()
  }
}

/** The meta page that counts, of two that must be whole. */
function readMeta(file: PageFile): Meta {
  if (file.size === 0) throw new Damage(`${JSON.stringify(file.path)} is empty; remove it if nothing was ever stored here`)
  const first = file.bytes(0, META_BYTES)
  if (isForeign(file, first)) throw new Error(`${JSON.stringify(file.path)} is not a database of this program`)
  if (first.length < META_BYTES) throw file.cutShort()
  const meta = metaOf(first, 0)
  if (!meta) throw new Damage(`${JSON.stringify(file.path)} is damaged at page 0`)
  file.pageSize = meta.pageSize
  if (file.pages < 2) throw file.cutShort()
  const other = metaOf(file.bytes(meta.pageSize, META_BYTES), 1)
  if (!other || !areOfOneFile(meta, other)) throw new Damage(`${JSON.stringify(file.path)} is damaged at page ${other ? 0 : 1}`)
  return other.transaction > meta.transaction ? other : meta
}

/** Its first page is number 0, with a mark: whatever begins otherwise was never one, unless its second page says so. */
function isForeign(file: PageFile, first: Buffer): boolean {
  if (first.every((byte) => byte === 0)) return false
  const isFirst = first.subarray(0, 8).every((byte) => byte === 0) && (first.length < 28 || hasMark(first))
  return !isFirst && ![4096, 16_384, 65_536].some((pageSize) => hasMark(file.bytes(pageSize, META_BYTES)))
}

/** Each transaction writes the one that the one before did not; one that was never written says 0. */
function areOfOneFile(one: Meta, other: Meta): boolean {
  const [older, newer] = [one.transaction, other.transaction].toSorted((a, b) => a - b)
  return one.pageSize === other.pageSize && one.free.flags === other.free.flags && (older === 0 || older === (newer ?? 0) - 1)
}

export function isTable(name: string): name is TableName {
  return Object.hasOwn(KEY_BYTES, name)
}

/** The pages that an intact list of free pages names. Throws a Damage when it is not. */
export function* freeEntries(check: TreeCheck, meta: Meta): Generator<Buffer> {
  const entries: Buffer[] = []
  check.tree(meta.free, { keyBytes: 8, numbers: true, row: (_, value) => void entries.push(Buffer.from(value())) })
  yield* entries
}

/** Returns how many bytes are free. */
function checkPages(file: PageFile, meta: Meta, take?: TakeRow): number {
  if (meta.lastPage >= file.pages + MOST_LACKING) throw file.cutShort()
  const check = new TreeCheck(file, meta)
  const tables: [TreeKind, Tree][] = []
  check.tree(meta.main, {
    keyBytes: undefined,
    trees: (name, tree) => {
      if (!isTable(name))
        throw new Damage(`${JSON.stringify(file.path)} has a table ${JSON.stringify(name)} that this version does not know`)
      if (tree.flags !== 0) throw file.damaged(meta.main.root ?? 0, meta)
      tables.push([{ keyBytes: KEY_BYTES[name], ...(take && { row: (key, value) => take(name, key, value()) }) }, tree])
    },
  })
  for (const [kind, tree] of tables) check.tree(tree, kind)
  let free = 0
  for (const entry of freeEntries(check, meta)) {
    const pages = freePagesIn(entry, meta.lastPage + 1, check.used)
    if (pages === undefined) throw new Damage(`${JSON.stringify(file.path)} is damaged in its list of free pages`)
    free += pages
  }
  return free * file.pageSize
}
