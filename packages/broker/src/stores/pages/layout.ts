/** How LMDB lays things out in its file, little-endian, as far as it is read here: offsets and flags. */

/** the mark in both meta pages, and the version behind it */
export const MAGIC = 0xbeefc0de
export const VERSION = 2
/** offsets in a page; its number comes first */
export const PAGE = { transaction: 8, flags: 18, lower: 20, upper: 22, end: 24 }
/** flags of a page */
export const BRANCH = 1
export const LEAF = 2
export const OVERFLOW = 4
export const META_PAGE = 8
/** flags of a node in a leaf: its value has pages of its own; it is a tree */
export const BIG = 1
export const SUBTREE = 2
/** offsets in what stands for a value that has pages of its own, and its length */
export const BIG_VALUE = { page: 0, transaction: 8, pages: 16, end: 24 }
/** offsets in the record of a tree, and its length */
const TREE = { flags: 4, depth: 6, entries: 32, root: 40, end: 48 }
export const TREE_BYTES = TREE.end
const META = { magic: 24, version: 28, mapSize: 40, free: 48, main: 96, lastPage: 144, transaction: 152, end: 160 }
export const META_BYTES = META.end
/** stands for the root of a tree that is empty */
const NO_PAGE = 2 ** 64

/** A tree as its record says; root undefined: it is empty. */
export interface Tree {
  root: number | undefined
  depth: number
  flags: number
  /** how many rows it has */
  entries: number
}

/** What a meta page says. */
export interface Meta {
  pageSize: number
  free: Tree
  main: Tree
  lastPage: number
  mapSize: number
  transaction: number
}

/** Above 2^53 it is not exact, and far beyond every page that there is. */
export function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x1_0000_0000
}

export function treeAt(bytes: Buffer, at: number): Tree {
  const root = u64(bytes, at + TREE.root)
  return {
    root: root >= NO_PAGE ? undefined : root,
    depth: bytes.readUInt16LE(at + TREE.depth),
    flags: bytes.readUInt16LE(at + TREE.flags),
    entries: u64(bytes, at + TREE.entries),
  }
}

/** Whether LMDB's mark is in a meta page. */
export function hasMark(page: Buffer): boolean {
  return page.length >= META.magic + 4 && page.readUInt32LE(META.magic) === MAGIC
}

/** What a meta page says, the first or the second one; undefined: it is none that is whole. */
export function metaOf(page: Buffer, number: number): Meta | undefined {
  if (page.length < META.end || !hasMark(page) || page.readUInt32LE(META.version) !== VERSION) return undefined
  if (u64(page, 0) !== number || page.readUInt16LE(PAGE.flags) !== META_PAGE) return undefined
  const pageSize = page.readUInt32LE(META.free)
  const transaction = u64(page, META.transaction)
  const meta: Meta = {
    pageSize,
    free: treeAt(page, META.free),
    main: treeAt(page, META.main),
    lastPage: u64(page, META.lastPage),
    mapSize: u64(page, META.mapSize),
    transaction,
  }
  return isPlausible(meta) && (transaction % 2 === number || transaction === 0) ? meta : undefined
}

const MOST_BYTES = 2 ** 46

function isPlausible({ pageSize, lastPage, mapSize, free, main, transaction }: Meta): boolean {
  const isPowerOfTwo = pageSize >= 512 && pageSize <= 65_536 && (pageSize & (pageSize - 1)) === 0
  const isEmpty = free.root === undefined && main.root === undefined
  return (
    isPowerOfTwo &&
    lastPage >= 1 &&
    lastPage * pageSize < MOST_BYTES &&
    mapSize < MOST_BYTES &&
    Number.isSafeInteger(transaction) &&
    main.flags === 0 &&
    (transaction > 0 || isEmpty)
  )
}
