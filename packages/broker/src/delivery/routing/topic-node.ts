import { compareLevels, HASH_BITS, hashAt, liesAt } from "./levels.js"

/** Children that lie in order without gaps; more are a table. */
const MOST_DENSE = 8
/** A table has a power of two of places for hashes, and some behind them for what was pushed out of the last. */
const SMALLEST_TABLE = 16
const MOST_BEHIND = 32

/** Bytes of a node; of a text without its units; of an array without its elements, and of an element. */
const NODE_BYTES = 64
const TEXT_BYTES = 16
const ARRAY_BYTES = 48
const POINTER_BYTES = 8

/** Whether a text has units of one byte for certain. */
export function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length
}

function textBytes(text: string): number {
  return TEXT_BYTES + Math.ceil((isAscii(text) ? text.length : text.length * 2) / POINTER_BYTES) * POINTER_BYTES
}

/** Bytes of memory that a path takes in a tree at most, its value without. */
export function costOf(path: string): number {
  return 2 * (NODE_BYTES + POINTER_BYTES) + textBytes(path)
}

/**
 * A node of a TopicTree: levels that stand together in all that is below, and at the end of them a value, or several
 * children, or both.
 *
 * Children are found by their first level. They lie in the order of its hash, and of the level where hashes are equal,
 * each as near as it can to the place that the upper bits of the hash give it: a hash table without chains that is in
 * order however large it is, so that who walks through it finds on whatever changed meanwhile. It keeps no keys, and a
 * look-up makes no string.
 */
export class TopicNode<T> {
  children: Children<T> | undefined = undefined
  /** how many they are */
  size = 0
  value: T | undefined = undefined

  /**
   * @param label whole levels; a text of its own: a piece of another would keep that in memory
   * @param hash of its first level
   */
  constructor(
    public label: string,
    readonly hash = hashAt(label, 0),
  ) {}

  /** Bytes of memory, without the children themselves. */
  get bytes(): number {
    return NODE_BYTES + textBytes(this.label) + this.listBytes
  }

  /** Bytes of memory of the list of the children. */
  get listBytes(): number {
    return this.children ? ARRAY_BYTES + POINTER_BYTES * this.children.length : 0
  }

  /** Takes over what another node has at its end. */
  takeEnd({ value, children, size }: TopicNode<T>): void {
    this.value = value
    this.children = children
    this.size = size
  }

  /** Where the child is that begins with the level at an offset; where it would be, in front of what comes behind it. */
  seek(hash: number, text: string, from: number): number {
    const { children } = this
    if (!children) return 0
    for (let at = placeOf(hash, children.length); ; at++) {
      const child = children[at]
      if (!child || child.hash > hash) return at
      if (child.hash === hash && (liesAt(child.label, text, from) || compareLevels(child.label, 0, text, from) >= 0)) return at
    }
  }

  /** The child that begins with the level at an offset: its label is still to be compared, which may have another first level. */
  candidate(hash: number, text: string, from: number): TopicNode<T> | undefined {
    const { children } = this
    if (!children) return undefined
    for (let at = placeOf(hash, children.length); ; at++) {
      const child = children[at]
      if (!child || child.hash > hash) return undefined
      if (child.hash < hash) continue
      if (children[at + 1]?.hash !== hash || compareLevels(child.label, 0, text, from) === 0) return child
    }
  }

  /** Adds a child, where seek() says. */
  insert(at: number, child: TopicNode<T>): void {
    const children = this.children ?? []
    this.size++
    if (this.size <= MOST_DENSE && children.length <= MOST_DENSE) this.children = children.toSpliced(at, 0, child)
    else if (children.length > MOST_DENSE && this.size <= mostOf(children.length)) push(children, at, child)
    else {
      this.children = table(children, this.size)
      push(this.children, this.seek(child.hash, child.label, 0), child)
    }
  }

  /** Removes a child. */
  remove(at: number): void {
    const children = this.children ?? []
    this.size--
    if (children.length <= MOST_DENSE) this.children = this.size ? children.toSpliced(at, 1) : undefined
    else {
      pull(children, at)
      if (this.size * 8 < children.length) this.children = table(children, this.size)
    }
  }

  /** The child that is the only one. */
  get only(): TopicNode<T> | undefined {
    return this.size === 1 ? this.children?.[0] : undefined
  }
}

type Children<T> = (TopicNode<T> | undefined)[]

/** Places for hashes. */
function placesOf(length: number): number {
  return 1 << (31 - Math.clz32(length))
}

/** Where a hash belongs among children. */
function placeOf(hash: number, length: number): number {
  return length <= MOST_DENSE ? 0 : hash >>> (HASH_BITS - 31 + Math.clz32(length))
}

/** How many children a table takes. */
function mostOf(length: number): number {
  return placesOf(length) * 0.75
}

/** The same children, with places for so many. */
function table<T>(children: Children<T>, size: number): Children<T> {
  if (size <= MOST_DENSE) return children.filter((child) => child !== undefined)
  let places = SMALLEST_TABLE
  while (mostOf(places) < size) places *= 2
  const larger: Children<T> = Array.from({ length: places + Math.min(places / 2, MOST_BEHIND) })
  let at = 0
  for (const child of children) {
    if (!child) continue
    at = Math.max(at, placeOf(child.hash, larger.length))
    larger[at++] = child
  }
  return larger
}

/** Puts a child into a table; what is there up to the next gap makes way. */
function push<T>(children: Children<T>, at: number, child: TopicNode<T>): void {
  let moved: TopicNode<T> | undefined = child
  for (let i = at; moved; i++) [children[i], moved] = [moved, children[i]]
}

/** Takes a child out of a table; what was pushed away from its place comes back. */
function pull<T>(children: Children<T>, at: number): void {
  let i = at
  for (; ; i++) {
    const next = children[i + 1]
    if (!next || placeOf(next.hash, children.length) > i) break
    children[i] = next
  }
  children[i] = undefined
}
