import { randomInt } from "node:crypto"

/**
 * The levels of Topic Names and Topic Filters, where they lie in a text (MQTT 5.0 section 4.7): from an offset up to the
 * next "/" or the end. No level becomes a string. The offset behind the last level is one more than the text is long.
 */

const SLASH = 0x2f
const PLUS = 0x2b
const NUMBER_SIGN = 0x23

/** Hashes of the wildcards "+" and "#": before all others, so that they stand first where hashes are in order. */
export const ANY_LEVEL = 0
export const ALL_LEVELS = 1
/** Bits of a hash. */
export const HASH_BITS = 30

/** Hashes are others in each process: nobody can know which levels have the same. */
const SEED = randomInt(2 ** 31)
const FACTOR = randomInt(2 ** 30, 2 ** 31) * 2 + 1

/** Levels of so many units are long: their hashes are remembered, for the text that was asked about last. */
const LONG = 256
const long: { text: string; offsets: number[]; hashes: number[] } = { text: "", offsets: [], hashes: [] }

/** A hash of the level at an offset. One text may be asked about the same level at thousands of nodes. */
export function hashAt(text: string, from: number): number {
  if (text.length - from < LONG) return hashOf(text, from)
  if (text !== long.text) {
    long.text = text
    long.offsets = []
    long.hashes = []
  }
  const known = long.hashes[long.offsets.indexOf(from)]
  if (known !== undefined) return known
  const hash = hashOf(text, from)
  long.offsets.push(from)
  long.hashes.push(hash)
  return hash
}

function hashOf(text: string, from: number): number {
  let hash = SEED
  let at = from
  for (; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit === SLASH) break
    hash = Math.imul(hash ^ unit, FACTOR)
  }
  if (at === from + 1) {
    const unit = text.charCodeAt(from)
    if (unit === PLUS) return ANY_LEVEL
    if (unit === NUMBER_SIGN) return ALL_LEVELS
  }
  return Math.max(ALL_LEVELS + 1, hash >>> (32 - HASH_BITS))
}

/** An order of levels; 0: they are the same. */
export function compareLevels(a: string, fromA: number, b: string, fromB: number): number {
  for (let i = 0; ; i++) {
    const x = unitAt(a, fromA + i)
    const y = unitAt(b, fromB + i)
    if (x !== y) return x - y
    if (x === END) return 0
  }
}

/** Whether all levels of a label are those of a text at an offset. */
export function liesAt(label: string, text: string, from: number): boolean {
  const end = from + label.length
  return (end === text.length || text.charCodeAt(end) === SLASH) && text.startsWith(label, from)
}

/** How many of the first units of a label are whole levels that a text has at an offset too; -1: not even one level. */
export function sharedUnits(label: string, text: string, from: number): number {
  if (liesAt(label, text, from)) return label.length
  let whole = -1
  for (let i = 0; ; i++) {
    const x = unitAt(label, i)
    const y = unitAt(text, from + i)
    if (x === END && y === END) whole = i
    if (i === label.length || from + i >= text.length) return whole
    if (x !== y) return whole
  }
}

/** What unitAt() says at a "/" and at the end: before all that a level may hold. */
const END = -1

function unitAt(text: string, at: number): number {
  const unit = at < text.length ? text.charCodeAt(at) : SLASH
  return unit === SLASH ? END : unit
}

function levelEnd(text: string, from: number): number {
  const end = text.indexOf("/", from)
  return end < 0 ? text.length : end
}

/** Whether the level at an offset of a Topic Filter is "#". */
export function isAll(filter: string, from: number): boolean {
  return filter.charCodeAt(from) === NUMBER_SIGN
}

/** Whether the level at an offset of a Topic Filter is a wildcard. */
export function isWildcard(filter: string, from: number): boolean {
  const unit = filter.charCodeAt(from)
  return unit === PLUS || unit === NUMBER_SIGN
}

/** Nothing matches. */
export const NO_MATCH = -1

/**
 * Matches a piece of a Topic Filter with the levels of a Topic Name at an offset: where the first level lies that it does
 * not cover, behind the last one when it is "#"; else NO_MATCH.
 */
export function passTopic(piece: string, topic: string, from: number): number {
  if (liesAt(piece, topic, from)) return from + piece.length + 1
  let at = from
  for (let i = 0; i < piece.length; i++) {
    const unit = piece.charCodeAt(i)
    if (unit === PLUS) at = levelEnd(topic, at)
    else if (unit === NUMBER_SIGN) return topic.length + 1
    // "#" matches the level above it too
    else if (at >= topic.length) return piece.length === i + 2 && isAll(piece, i + 1) ? topic.length + 1 : NO_MATCH
    else if (topic.charCodeAt(at++) !== unit) return NO_MATCH
  }
  return unitAt(topic, at) === END ? at + 1 : NO_MATCH
}

/**
 * Matches a piece of a Topic Name with the levels of a Topic Filter at an offset: where the first level lies that it does
 * not need, which is "#" as soon as that is met; else NO_MATCH.
 */
export function passFilter(piece: string, filter: string, from: number): number {
  let at = from
  for (let i = 0; ;) {
    const unit = at < filter.length ? filter.charCodeAt(at) : SLASH
    if (unit === NUMBER_SIGN) return at
    if (unit === PLUS) {
      i = levelEnd(piece, i)
      at++
    } else if (i === piece.length) return unit === SLASH ? at + 1 : NO_MATCH
    else if (at >= filter.length || piece.charCodeAt(i++) !== unit) return NO_MATCH
    else at++
  }
}

/** Whether a Topic Name may match both Topic Filters. */
export function filtersOverlap(a: string, b: string): boolean {
  for (let i = 0, k = 0; ; i++, k++) {
    if (isAll(a, i) || isAll(b, k)) return true
    if (i > a.length || k > b.length) return i > a.length && k > b.length
    if (isWildcard(a, i) || isWildcard(b, k)) {
      i = levelEnd(a, i)
      k = levelEnd(b, k)
      continue
    }
    for (let unit = unitAt(a, i); unit !== END || unitAt(b, k) !== END; unit = unitAt(a, ++i)) if (unit !== unitAt(b, k++)) return false
  }
}
