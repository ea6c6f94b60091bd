import { freeEntries, isTable, KEY_BYTES } from "../check-file.js"
import { checked } from "../checksum.js"
import type { TableName } from "../environment.js"
import { Damage } from "../errors.js"
import { FORMAT_KEY, formatOf } from "../formats.js"
import { freePagesIn } from "../pages/free-list.js"
import {
  BIG,
  BIG_VALUE,
  BRANCH,
  LEAF,
  type Meta,
  META_BYTES,
  metaOf,
  OVERFLOW,
  PAGE,
  SUBTREE,
  type Tree,
  TREE_BYTES,
  treeAt,
  u64,
} from "../pages/layout.js"
import { Page, PageFile } from "../pages/page-file.js"
import { PageSet } from "../pages/page-set.js"
import { TreeCheck } from "../pages/tree-check.js"

/** LMDB's keys are not longer. */
const LONGEST_KEY = 64
const PAGE_SIZES = [4096, 16_384, 65_536]

/** What there was, as far as a damaged file says. */
export interface Salvaged {
  /** rows of each table whose count could be read */
  expected: ReadonlyMap<TableName, number>
  /** what is free could not be read: rows that were removed shortly before may be among those that were found */
  mayBeOld: boolean
}

/** Gets each row that is intact: its checksum is right. The first one for a key is the one that counts. */
export type TakeIntact = (row: { table: TableName; key: Buffer; value: Buffer }) => void

/**
 * Finds all rows in a damaged file whose checksums are right, without LMDB: first what its trees lead to; then, where a tree
 * was damaged, what lies in leaves that nothing leads to and that are not free.
 */
export function salvage(path: string, take: TakeIntact): Salvaged {
  const file = new PageFile(path)
  try {
    return new Salvage(file, take).run()
  } finally {
    file.close()
  }
}

interface StrayLeaf {
  number: number
  /** that wrote it */
  transaction: number
}

class Salvage {
  private readonly meta: Meta
  /** what trees lead to */
  private readonly walked: PageSet
  /** what rows that are intact take, where all of a page is */
  private readonly seen: PageSet
  private broken = false
  private readonly expected = new Map<TableName, number>()

  constructor(
    private readonly file: PageFile,
    private readonly take: TakeIntact,
  ) {
    const metas = metasOf(file)
    this.broken = metas.length < 2
    this.meta = metas.find((meta) => this.leadsOn(meta)) ?? EMPTY
    file.pageSize = metas[0]?.pageSize ?? guessPageSize(file)
    this.walked = new PageSet(file.pages)
    this.seen = new PageSet(file.pages)
  }

  /** Whether the root of the tree of tables is there. */
  private leadsOn({ main, pageSize }: Meta): boolean {
    this.file.pageSize = pageSize
    const page = new Page(pageSize)
    return main.root !== undefined && page.load(this.file, main.root) && page.number === main.root
  }

  run(): Salvaged {
    const { main, transaction } = this.meta
    // what the meta page that is lost led to is newer than what the other one leads to
    if (this.broken) this.leaves((leaf) => (leaf.transaction > transaction ? TABLES : undefined), undefined)
    if (main.root === undefined) this.broken = true
    else this.walk(main.root, main.depth - 1, undefined)
    const free = this.broken ? this.freePages() : undefined
    if (this.broken) this.strays(free)
    return { expected: this.expected, mayBeOld: this.broken && !free }
  }

  /** A page that a tree leads to, and all below it. `table` undefined: the tree of tables. */
  private walk(number: number, left: number, table: TableName | undefined): void {
    const page = new Page(this.file.pageSize)
    if (number < 2 || left < 0 || left > 31 || !this.walked.add(number) || !page.load(this.file, number)) {
      this.broken = true
      return
    }
    const isBranch = left > 0
    const isWhole = page.number === number && page.flags === (isBranch ? BRANCH : LEAF) && page.isPacked(isBranch)
    // what a damaged branch leads to are strays
    if (isBranch && isWhole) for (const node of nodesOf(page)) this.walk(page.child(node), left - 1, table)
    const isIntact = isWhole && (isBranch || nodesOf(page).every((node) => this.isSized(page, node)))
    const taken = isBranch ? [] : (isIntact ? nodesOf(page) : everyPlace(page)).map((node) => this.leafNode(page, node, table))
    if (isIntact && taken.every(Boolean)) this.seen.add(number)
    else this.broken = true
  }

  private isSized(page: Page, node: number): boolean {
    return page.sizeOf(node, false) !== Infinity && page.keySize(node) <= LONGEST_KEY
  }

  /** False: it is not intact. */
  private leafNode(page: Page, node: number, table: TableName | undefined): boolean {
    if (!this.isSized(page, node)) return false
    if (table === "logs") return this.older(page, node)
    if (table) return this.row(page, node, [table])
    return page.nodeFlags(node) === SUBTREE && page.dataSize(node) === TREE_BYTES && this.tree(page, node)
  }

  private tree(page: Page, node: number): boolean {
    const name = page.key(node).toString().replace(/\0$/, "")
    if (!isTable(name) || this.expected.has(name)) return false
    const { root, depth, entries }: Tree = treeAt(page.bytes, page.data(node))
    this.expected.set(name, entries)
    if (root !== undefined) this.walk(root, depth - 1, name)
    return true
  }

  /** Gives a row on when it is one of these tables and intact. */
  private row(page: Page, node: number, tables: readonly TableName[]): boolean {
    const key = page.key(node)
    const fitting = tables.filter((table) => (KEY_BYTES[table] ?? key.length) === key.length)
    const value = fitting.length ? this.valueOf(page, node) : undefined
    if (!value) return false
    if (isFormat(tables, key, value.bytes)) return true
    const table = fitting.find((one) => checked(one, key, value.bytes))
    if (!table) return false
    this.seen.add(value.first, value.pages)
    this.take({ table, key, value: value.bytes })
    return true
  }

  /** Rows of format 1 have no checksum: a broker was interrupted while it brought them up to date. */
  private older(page: Page, node: number): boolean {
    const value = page.isPacked(false) && page.keySize(node) === KEY_BYTES.logs ? this.valueOf(page, node) : undefined
    if (value) this.take({ table: "logs", key: page.key(node), value: value.bytes })
    return value !== undefined
  }

  private valueOf(page: Page, node: number): { bytes: Buffer; first: number; pages: number } | undefined {
    const { pageSize, pages } = this.file
    const flags = page.nodeFlags(node)
    if (flags !== 0 && flags !== BIG) return undefined
    const [at, size] = [page.data(node), page.dataSize(node)]
    if (!flags) return { bytes: page.bytes.subarray(at, at + size), first: 0, pages: 0 }
    const first = u64(page.bytes, at + BIG_VALUE.page)
    const count = Math.ceil((PAGE.end + size) / pageSize)
    if (first < 2 || first + count > pages) return undefined
    return { bytes: this.file.bytes(first * pageSize + PAGE.end, size), first, pages: count }
  }

  /** Undefined: it cannot be said. */
  private freePages(): PageSet | undefined {
    const { file, meta } = this
    if (meta === EMPTY) return undefined
    const free = new PageSet(meta.lastPage)
    try {
      for (const entry of freeEntries(new TreeCheck(file, meta), meta))
        if (freePagesIn(entry, meta.lastPage + 1, NOTHING, free) === undefined) return undefined
      return free
    } catch {
      return undefined
    }
  }

  /**
   * Leaves that nothing leads to, the newest first: an older one may have the same rows as they were before. From those that
   * are free only messages are taken: what was delivered lies below what Sessions need, anything else would come back.
   */
  private strays(free: PageSet | undefined): void {
    this.leaves(({ number }) => (free?.has(number) ? MESSAGES : TABLES), free)
  }

  /** Takes rows of some tables from leaves, the newest first; `tables` undefined: from this leaf none. */
  private leaves(tables: (leaf: StrayLeaf) => readonly TableName[] | undefined, free: PageSet | undefined): void {
    const page = new Page(this.file.pageSize)
    for (const leaf of this.strayLeaves(free).toSorted((a, b) => b.transaction - a.transaction)) {
      const wanted = tables(leaf)
      if (!wanted || !page.load(this.file, leaf.number)) continue
      for (const node of page.isPacked(false) ? nodesOf(page) : everyPlace(page)) if (this.isSized(page, node)) this.row(page, node, wanted)
    }
  }

  /** What a value says is no page, whatever it looks like; but what is behind one that is gone, or whose size is spoiled, may be. */
  private endOfValue(first: number, pages: number, free: PageSet): number {
    let end = first + 1
    if (first + pages > this.file.pages) return end
    while (end < first + pages && end < this.file.pages && !this.seen.has(end) && !free.has(end)) end++
    return end
  }

  private strayLeaves(free: PageSet | undefined): StrayLeaf[] {
    const leaves: StrayLeaf[] = []
    const { pages, pageSize } = this.file
    for (let number = 2; number < pages; number++) {
      if (this.seen.has(number)) continue
      const head = this.file.bytes(number * pageSize, PAGE.end)
      if (u64(head, 0) !== number) continue
      const flags = head.readUInt16LE(PAGE.flags)
      if (flags === OVERFLOW && free) number = this.endOfValue(number, head.readUInt32LE(PAGE.lower), free) - 1
      else if (flags === LEAF) leaves.push({ number, transaction: u64(head, PAGE.transaction) })
    }
    return leaves
  }
}

const MESSAGES: readonly TableName[] = ["chunks", "references", "bodies"]
const TABLES = Object.keys(KEY_BYTES).filter(isTable)
const NOTHING = new PageSet(0)
const EMPTY_TREE: Tree = { root: undefined, depth: 0, flags: 0, entries: 0 }
const EMPTY: Meta = { pageSize: 0, free: EMPTY_TREE, main: EMPTY_TREE, lastPage: 1, mapSize: 0, transaction: 0 }

/** Whether it is the row that says the format, which has a checksum of its own. Throws when the format is newer. */
function isFormat(tables: readonly TableName[], key: Buffer, value: Buffer): boolean {
  if (!tables.includes("meta") || !key.equals(FORMAT_KEY)) return false
  try {
    formatOf(value)
  } catch (error) {
    if (!(error instanceof Damage)) throw error
  }
  return true
}

function nodesOf(page: Page): number[] {
  return Array.from({ length: page.count }, (_, n) => page.node(n))
}

/** Every place of a page where a node may be. */
function everyPlace(page: Page): number[] {
  return Array.from({ length: (page.bytes.length - PAGE.end) >> 1 }, (_, n) => PAGE.end + n * 2)
}

/** Those meta pages that are whole, the newest first. */
function metasOf(file: PageFile): Meta[] {
  const first = metaOf(file.bytes(0, META_BYTES), 0)
  const sizes = first ? [first.pageSize] : PAGE_SIZES
  const second = sizes.map((size) => metaOf(file.bytes(size, META_BYTES), 1)).find((meta) => meta && sizes.includes(meta.pageSize))
  return [first, second].filter((meta) => meta !== undefined).toSorted((a, b) => b.transaction - a.transaction)
}

/** Most pages have their number where it should be. */
function guessPageSize(file: PageFile): number {
  const hits = (size: number): number => {
    let count = 0
    for (let n = 2; n < 500; n++) {
      const head = file.bytes(n * size, 8)
      if (head.length === 8 && u64(head, 0) === n) count++
    }
    return count
  }
  return PAGE_SIZES.toSorted((a, b) => hits(b) - hits(a))[0] ?? 4096
}
