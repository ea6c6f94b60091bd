import type { Frames } from "../../wire/frames.js"
import { expirySecondsOf } from "../../wire/publish.js"
import { Merge } from "../logs/merge.js"
import type { Reader } from "../logs/reader.js"

/** A number of messages; not `exact`: at least so many. */
export interface Count {
  messages: number
  exact: boolean
}

/** What a count may look at, about 10 ms of it: positions, chunks (each as LOOKS_PER_CHUNK of them), pairs of Topic Filters. */
const MOST_LOOKS = 100_000
const LOOKS_PER_CHUNK = 1000

/**
 * How many messages lie at or above `from`: each once, however many Topic Filters match it, and without what expired.
 * Holds that share none, and in which nothing expires, are counted by what their logs know, unless packets have a maximum
 * size: what is larger is not sent, and does not count.
 */
export function countFresh(readers: readonly Reader[], from: number, maximumPacketSize = Infinity): Count {
  const waiting = readers.filter((reader) => reader.log.last >= from && reader.until > from && reader.waiting(from).messages > 0)
  const shared = sharing(waiting)
  const mixed: Reader[] = []
  let plain = 0
  for (const reader of waiting) {
    const { messages, expiring } = reader.waiting(from)
    if (shared.has(reader) || expiring || maximumPacketSize !== Infinity) mixed.push(reader)
    else plain += messages
  }
  const { messages, exact } = look(mixed, from, maximumPacketSize)
  return { messages: plain + messages, exact }
}

/** How many messages at or above `from` only this one of several holds brings. */
export function countOnlyOf(reader: Reader, readers: readonly Reader[], from: number): Count {
  if (!reader.waiting(from).messages) return { messages: 0, exact: true }
  const others = readers.filter((other) => other !== reader && overlap(reader, other))
  const both = countFresh([reader, ...others], from)
  const without = countFresh(others, from)
  return { messages: Math.max(0, both.messages - without.messages), exact: both.exact && without.exact }
}

/** How many different messages lie from `from` to below `to`, expired or not; where that takes too long, how many one of the holds has. */
export function countBetween(readers: readonly Reader[], from: number, to: number): number {
  const between = (reader: Reader): number => reader.waiting(from).messages - reader.waiting(to).messages
  const some = readers.filter((reader) => between(reader) > 0)
  const shared = sharing(some)
  let sum = 0
  let most = 0
  for (const reader of some) {
    const messages = between(reader)
    if (shared.has(reader)) most = Math.max(most, messages)
    else sum += messages
  }
  const merge = new Merge([...shared], from)
  for (let messages = 0; ; messages++) {
    if (!merge.next() || merge.position >= to) return sum + messages
    if (messages * shared.size + merge.chunks * LOOKS_PER_CHUNK > MOST_LOOKS) return sum + Math.max(messages, most)
  }
}

/** Whether a message that waits has expired. */
export function hasExpired(chunk: Frames, i: number, now: number): boolean {
  return chunk.createdAt > 0 && expirySecondsOf(chunk, i) <= Math.floor((now - chunk.createdAt) / 1000)
}

/** Goes through messages one by one, as far as the bound allows. */
function look(readers: Reader[], from: number, maximumPacketSize: number): Count {
  const merge = new Merge(readers, from)
  const now = Date.now()
  let messages = 0
  for (let looks = 0; looks + merge.chunks * LOOKS_PER_CHUNK <= MOST_LOOKS; looks += readers.length) {
    if (!merge.next()) return { messages, exact: true }
    const { chunk, i } = merge
    if (chunk && !hasExpired(chunk, i, now) && chunk.endOf(i) - chunk.startOf(i) <= maximumPacketSize) messages++
  }
  // of the rest, one hold alone has so many
  let rest = 0
  for (const reader of readers.slice(0, 100)) {
    const left = reader.waiting(merge.position + 1)
    rest = Math.max(rest, left.messages - left.expiring)
  }
  return { messages: messages + rest, exact: false }
}

/** Those of several holds that may have a message in common with another one. */
function sharing(readers: Reader[]): Set<Reader> {
  const wild = readers.filter((reader) => reader.wild)
  if (wild.length * readers.length > MOST_LOOKS) return new Set(readers)
  const shared = new Set<Reader>()
  for (const one of wild)
    for (const other of readers) {
      if (one === other || !overlap(one, other)) continue
      shared.add(one)
      shared.add(other)
    }
  return shared
}

function overlap(a: Reader, b: Reader): boolean {
  if (a.until <= b.since || b.until <= a.since) return false
  return a.wild || b.wild ? filtersOverlap(a.levels, b.levels) : a.filter === b.filter && a.filter !== ""
}

/** Whether a Topic Name may match both Topic Filters (MQTT 5.0 section 4.7). */
function filtersOverlap(a: readonly string[], b: readonly string[]): boolean {
  for (let level = 0; ; level++) {
    const [x, y] = [a[level], b[level]]
    if (x === "#" || y === "#") return true
    if (x === undefined || y === undefined) return x === y
    if (x !== y && x !== "+" && y !== "+") return false
  }
}
