import { BIG, BIG_VALUE, BRANCH, LEAF, type Meta, OVERFLOW, PAGE, SUBTREE, type Tree, TREE_BYTES, treeAt, u64 } from "./layout.js"
import { Page, type PageFile } from "./page-file.js"
import { PageSet } from "./page-set.js"

/** LMDB follows no more pages down a tree. */
const DEEPEST = 32
/** a branch leads to at least two; the tree of free pages may have one that is being taken apart */
const LEAST_CHILDREN = 2

/** What kind of tree it is: how long its keys are, undefined: any length; and what its leaves have. */
export interface TreeKind {
  keyBytes: number | undefined
  /** keys are numbers of transactions, little-endian */
  numbers?: boolean
  /** gets each row; its value is read only when it is asked for. Both are valid until it returns */
  row?: (key: Buffer, value: () => Buffer) => void
  /** its values are records of trees */
  trees?: (name: string, tree: Tree) => void
}

/**
 * Looks up every page that LMDB would follow, before it does: it believes what it reads, and dies of what is not so.
 * What takes memory: a bit for each page of the file.
 */
export class TreeCheck {
  /** those that trees and values take */
  readonly used: PageSet
  private readonly pages: Page[] = []
  /** the key of the node before, in the order of the tree */
  private readonly last = { bytes: Buffer.alloc(0), any: false }
  private readonly head: Buffer

  constructor(
    private readonly file: PageFile,
    private readonly meta: Meta,
  ) {
    this.used = new PageSet(Math.min(meta.lastPage, file.pages))
    this.head = Buffer.alloc(PAGE.end)
  }

  /** Throws when anything in it is not what it should be. */
  tree({ root, depth }: Tree, kind: TreeKind): void {
    this.last.any = false
    if (root === undefined) return
    if (depth < 1 || depth > DEEPEST) throw this.file.damaged(0, this.meta)
    this.page(root, { left: depth - 1, depth: 0 }, kind)
  }

  private page(number: number, { left, depth }: { left: number; depth: number }, kind: TreeKind): void {
    const page = (this.pages[depth] ??= new Page(this.file.pageSize))
    this.take(number, 1)
    const isBranch = left > 0
    if (!page.load(this.file, number) || !this.isPage(page, number, isBranch ? BRANCH : LEAF) || !page.isPacked(isBranch))
      throw this.file.damaged(number, this.meta)
    if (isBranch && page.count < LEAST_CHILDREN && !kind.numbers) throw this.file.damaged(number, this.meta)
    for (let n = 0; n < page.count; n++) {
      const node = page.node(n)
      if (!this.follows(page, node, { kind, isBranch, n })) throw this.file.damaged(number, this.meta)
      if (isBranch) this.page(page.child(node), { left: left - 1, depth: depth + 1 }, kind)
      else this.leaf(page, { number, node }, kind)
    }
    if (!isBranch) this.remember(page.key(page.node(page.count - 1)))
  }

  private take(number: number, count: number): void {
    if (number < 2 || number + count > this.file.pages || number + count - 1 > this.meta.lastPage || !this.used.add(number, count))
      throw this.file.damaged(number + count > this.file.pages ? number + count - 1 : number, this.meta)
  }

  private isPage(page: Page, number: number, flag: number): boolean {
    return page.number === number && page.flags === flag && page.transaction <= this.meta.transaction
  }

  /** Whether a node's key has the right length and comes behind those before. */
  private follows(page: Page, node: number, { kind, isBranch, n }: { kind: TreeKind; isBranch: boolean; n: number }): boolean {
    const size = page.keySize(node)
    if (isBranch && n === 0) return size === 0 || size === (kind.keyBytes ?? size) // nobody reads it
    if (kind.keyBytes !== undefined && size !== kind.keyBytes) return false
    if (n === 0) return !this.last.any || this.order(this.last.bytes, page.key(node), kind) <= 0
    if (!isBranch)
      return kind.numbers ? this.order(page.key(page.node(n - 1)), page.key(node), kind) < 0 : isBelow(page, page.node(n - 1), node)
    // all that is below the node before it is smaller, all that is below it is not
    const key = page.key(node)
    const isAbove = this.order(this.last.bytes, key, kind) < 0
    this.remember(key)
    return isAbove
  }

  private leaf(page: Page, { number, node }: { number: number; node: number }, kind: TreeKind): void {
    const flags = page.nodeFlags(node)
    const data = page.data(node)
    const bytes = page.dataSize(node)
    if (flags === SUBTREE && kind.trees && bytes === TREE_BYTES)
      kind.trees(page.key(node).toString().replace(/\0$/, ""), treeAt(page.bytes, data))
    else if (kind.trees) throw this.file.damaged(number, this.meta)
    else if (flags === BIG) {
      const place = this.big(page, number, { at: data, bytes })
      kind.row?.(page.key(node), () => this.file.bytes(place, bytes))
    } else if (flags === 0) kind.row?.(page.key(node), () => page.bytes.subarray(data, data + bytes))
    else throw this.file.damaged(number, this.meta)
  }

  /** Where a value that has pages of its own is in the file. */
  private big(page: Page, number: number, { at, bytes }: { at: number; bytes: number }): number {
    const first = u64(page.bytes, at + BIG_VALUE.page)
    const count = u64(page.bytes, at + BIG_VALUE.pages)
    if (count < Math.ceil((PAGE.end + bytes) / this.file.pageSize) || count > this.meta.lastPage) throw this.file.damaged(number, this.meta)
    this.take(first, count)
    const head = this.file.read(this.head, first * this.file.pageSize)
    const isRight =
      u64(head, 0) === first &&
      head.readUInt16LE(PAGE.flags) === OVERFLOW &&
      head.readUInt32LE(PAGE.lower) === count &&
      u64(head, PAGE.transaction) <= this.meta.transaction
    if (!isRight) throw this.file.damaged(first, this.meta)
    return first * this.file.pageSize + PAGE.end
  }

  private remember(key: Buffer): void {
    const { last } = this
    if (last.bytes.length !== key.length) last.bytes = Buffer.alloc(key.length)
    key.copy(last.bytes)
    last.any = true
  }

  private order(one: Buffer, other: Buffer, kind: TreeKind): number {
    return kind.numbers ? u64(one, 0) - u64(other, 0) : one.compare(other)
  }
}

/** Whether the key of one node of a page is below that of another one. */
function isBelow(page: Page, one: number, other: number): boolean {
  const { bytes } = page
  const sizes = [page.keySize(one), page.keySize(other)] as const
  const end = Math.min(...sizes)
  for (let n = 8; n < end + 8; n++) {
    const difference = (bytes[one + n] ?? 0) - (bytes[other + n] ?? 0)
    if (difference) return difference < 0
  }
  return sizes[0] < sizes[1]
}
