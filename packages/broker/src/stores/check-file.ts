import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs"

/** the mark in both meta pages of an LMDB file */
const MAGIC = 0xbeefc0de
/** where things are in a page, a meta page, the record of a tree, a node, and in the place of a value that has pages of its own */
const PAGE = { flags: 18, lower: 20, end: 24 }
const META = { magic: 24, pageSize: 48, free: 48, main: 96, lastPage: 144, transaction: 152, end: 160 }
const TREE = { root: 40 }
const NODE = { flags: 4, keySize: 6, key: 8 }
const BIG_VALUE = { pages: 16 }
const NO_PAGE = 0xffff_ffff_ffff_ffffn
const BRANCH = 1
const LEAF = 2
/** flags of a node in a leaf: its value has pages of its own; it is a tree */
const BIG = 1
const SUBTREE = 2

/**
 * Throws when a file is no LMDB database, or is cut short: LMDB reads whatever it is given through a mapping of the file,
 * and what is not there ends the process (SIGBUS). A file that is missing passes.
 */
export function checkFile(path: string): void {
  if (!existsSync(path)) return
  const file = openSync(path, "r")
  try {
    const { size } = fstatSync(file)
    if (size === 0)
      throw new Error(`${JSON.stringify(path)} is empty; remove it if nothing was ever stored here, or take a copy from before`)
    const meta = newestMeta(file, size)
    if (meta === "foreign") throw new Error(`${JSON.stringify(path)} is not a database of this program`)
    if (meta === "short" || !isWhole(file, meta, size))
      throw new Error(`${JSON.stringify(path)} is cut short at ${size} bytes, and what it lacks is lost; take a copy from before`)
  } finally {
    closeSync(file)
  }
}

interface Meta {
  page: Buffer
  pageSize: number
}

function newestMeta(file: number, size: number): Meta | "foreign" | "short" {
  const first = bytes(file, 0, META.end)
  // its first page is number 0: whatever begins otherwise was never one
  if (first.subarray(0, 8).some((byte) => byte !== 0)) return "foreign"
  if (first.length >= META.magic + 4 && first.readUInt32LE(META.magic) !== MAGIC) return "foreign"
  if (first.length < META.end) return "short"
  const pageSize = first.readUInt32LE(META.pageSize)
  if (size < 2 * pageSize) return "short"
  const second = bytes(file, pageSize, META.end)
  const isSecond = second.readUInt32LE(META.magic) === MAGIC && transaction(second) > transaction(first)
  return { page: isSecond ? second : first, pageSize }
}

function transaction(meta: Buffer): bigint {
  return meta.readBigUInt64LE(META.transaction)
}

/** A file that ends before its last page may lack only pages that are free: then every page in use is looked up. */
function isWhole(file: number, { page, pageSize }: Meta, size: number): boolean {
  const pages = Math.floor(size / pageSize)
  if (page.readBigUInt64LE(META.lastPage) < pages) return true
  const waiting = [page.readBigUInt64LE(META.free + TREE.root), page.readBigUInt64LE(META.main + TREE.root)]
  for (let number = waiting.pop(); number !== undefined; number = waiting.pop()) {
    if (number === NO_PAGE) continue
    if (number >= pages) return false
    const tree = bytes(file, Number(number) * pageSize, pageSize)
    if (!(tree.readUInt16LE(PAGE.flags) & (BRANCH | LEAF))) return false
    for (const [below, end] of references(tree)) {
      if (end > pages) return false
      if (below !== undefined) waiting.push(below)
    }
  }
  return true
}

/** What a page of a tree refers to: a page of trees below, or undefined for a value, and the page after its last one. */
function* references(page: Buffer): Generator<[below: bigint | undefined, end: bigint]> {
  const isBranch = page.readUInt16LE(PAGE.flags) & BRANCH
  const count = page.readUInt16LE(PAGE.lower) >> 1
  for (let n = 0; n < count; n++) {
    const node = page.readUInt16LE(PAGE.end + 2 * n) + PAGE.end
    const flags = page.readUInt16LE(node + NODE.flags)
    const value = node + NODE.key + page.readUInt16LE(node + NODE.keySize)
    if (isBranch) {
      const number = BigInt(page.readUInt32LE(node)) | (BigInt(flags) << 32n)
      yield [number, number + 1n]
    } else if (flags & BIG) yield [undefined, page.readBigUInt64LE(value) + page.readBigUInt64LE(value + BIG_VALUE.pages)]
    else if (flags & SUBTREE) {
      const root = page.readBigUInt64LE(value + TREE.root)
      if (root !== NO_PAGE) yield [root, root + 1n]
    }
  }
}

function bytes(file: number, at: number, length: number): Buffer {
  const buffer = Buffer.alloc(length)
  return buffer.subarray(0, readSync(file, buffer, 0, length, at))
}
