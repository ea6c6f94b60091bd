import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { Damage } from "../errors.js"
import { type Meta, PAGE, u64 } from "./layout.js"

/** The pages of an LMDB file, read without LMDB. */
export class PageFile {
  readonly size: number
  private readonly file: number
  private shape = { pageSize: 0, pages: 0 }

  constructor(readonly path: string) {
    this.file = openSync(path, "r")
    this.size = fstatSync(this.file).size
  }

  /** Set before pages are read. */
  set pageSize(pageSize: number) {
    this.shape = { pageSize, pages: Math.floor(this.size / pageSize) }
  }
  get pageSize(): number {
    return this.shape.pageSize
  }
  /** How many are whole. */
  get pages(): number {
    return this.shape.pages
  }

  /** Reads into a buffer, and gives the part of it that the file has. */
  read(into: Buffer, at: number): Buffer {
    let done = 0
    while (done < into.length) {
      const got = readSync(this.file, into, done, into.length - done, at + done)
      if (got === 0) break
      done += got
    }
    return into.subarray(0, done)
  }

  bytes(at: number, length: number): Buffer {
    return this.read(Buffer.alloc(length), at)
  }

  close(): void {
    closeSync(this.file)
  }

  /** What is wrong when a page is not what it should be. */
  damaged(page: number, meta: Meta): Damage {
    if (page >= this.pages && page <= meta.lastPage) return this.cutShort()
    return new Damage(`${JSON.stringify(this.path)} is damaged at page ${page}`)
  }

  cutShort(): Damage {
    return new Damage(`${JSON.stringify(this.path)} is cut short at ${this.size} bytes, and what it lacks is lost`)
  }
}

/** One page in memory: its bytes, and as 16-bit words, which everything in it is aligned to. */
export class Page {
  readonly bytes: Buffer
  readonly words: Uint16Array
  /** what isSound() needs to remember */
  private readonly sizes: Uint16Array

  constructor(pageSize: number) {
    this.bytes = Buffer.alloc(pageSize)
    this.words = new Uint16Array(this.bytes.buffer, this.bytes.byteOffset, pageSize >> 1)
    this.sizes = new Uint16Array(pageSize >> 1)
  }

  /** Reads a page. False: the file does not have all of it. */
  load(file: PageFile, number: number): boolean {
    return file.read(this.bytes, number * this.bytes.length).length === this.bytes.length
  }

  get number(): number {
    return u64(this.bytes, 0)
  }
  /** The transaction that wrote it. */
  get transaction(): number {
    return u64(this.bytes, PAGE.transaction)
  }
  get flags(): number {
    return this.words[PAGE.flags >> 1] ?? 0
  }
  /** How many nodes it has. */
  get count(): number {
    return (this.words[PAGE.lower >> 1] ?? 0) >> 1
  }
  /** Where its n-th node is. */
  node(n: number): number {
    return (this.words[(PAGE.end >> 1) + n] ?? 0) + PAGE.end
  }
  keySize(node: number): number {
    return this.words[(node >> 1) + 3] ?? 0
  }
  nodeFlags(node: number): number {
    return this.words[(node >> 1) + 2] ?? 0
  }
  dataSize(node: number): number {
    return (this.words[node >> 1] ?? 0) + (this.words[(node >> 1) + 1] ?? 0) * 0x1_0000
  }
  /** The page that a node of a branch leads to. */
  child(node: number): number {
    return this.dataSize(node) + this.nodeFlags(node) * 0x1_0000_0000
  }
  key(node: number): Buffer {
    return this.bytes.subarray(node + 8, node + 8 + this.keySize(node))
  }
  /** What stands behind the key. */
  data(node: number): number {
    return node + 8 + this.keySize(node)
  }

  /** The bytes that a node takes in the page; Infinity when they are not in it. */
  sizeOf(node: number, isBranch: boolean): number {
    const { length } = this.bytes
    if (node % 2 || node + 8 > length) return Infinity
    const data = isBranch ? 0 : this.nodeFlags(node) & NODE_BIG ? BIG_BYTES : this.dataSize(node)
    const size = 8 + this.keySize(node) + data
    return node + size > length ? Infinity : size + (size % 2)
  }

  /** Whether its nodes are packed as LMDB does it: from the end down, without a gap, each once. */
  isPacked(isBranch: boolean): boolean {
    const { length } = this.bytes
    const { count, sizes } = this
    const lower = this.words[PAGE.lower >> 1] ?? 0
    const from = (this.words[PAGE.upper >> 1] ?? 0) + PAGE.end
    if (!count || lower % 2 || PAGE.end + lower > from || from > length) return false
    for (let n = 0; n < count; n++) {
      const node = this.node(n)
      const size = this.sizeOf(node, isBranch)
      if (node < from || size === Infinity) return this.forget()
      sizes[node >> 1] = size
    }
    let found = 0
    for (let at = from; at < length; found++) {
      const size = sizes[at >> 1] ?? 0
      if (!size) return this.forget()
      sizes[at >> 1] = 0
      at += size
    }
    return found === count || this.forget()
  }

  private forget(): false {
    this.sizes.fill(0)
    return false
  }
}

const NODE_BIG = 1
const BIG_BYTES = 24
