import { setImmediate as turn } from "node:timers/promises"
import { type Maybe, whenThere } from "../../stores/store.js"
import type { Amount, Frames } from "../../wire/frames.js"
import { expirySecondsOf } from "../../wire/publish.js"
import type { BrokerTime } from "../broker-time.js"
import { Merge } from "../logs/merge.js"
import type { Reader } from "../logs/reader.js"
import { filtersOverlap } from "../routing/levels.js"

/** A number of messages; not `exact`: at least so many. */
export interface Count {
  messages: number
  exact: boolean
}

/** What a count may look at, about 10 ms of it: positions, chunks (each as LOOKS_PER_CHUNK of them), pairs of Topic Filters (each UNITS_PER_LOOK of one). */
const MOST_LOOKS = 100_000
const LOOKS_PER_CHUNK = 1000
const UNITS_PER_LOOK = 128
/** Holds that are looked at in one turn of the event loop. */
const READERS_PER_TURN = 256

/**
 * How many messages lie at or above `from`: each once, however many Topic Filters match it, and without what expired.
 * Holds that share none, and in which nothing expires, are counted by what their logs know, unless packets have a maximum
 * size: what is larger is not sent, and does not count.
 */
export async function countFresh(readers: readonly Reader[], from: number, time: BrokerTime, maximumPacketSize = Infinity): Promise<Count> {
  const waiting = await amounts(
    readers.filter((reader) => reader.log.last >= from && reader.until > from),
    from,
  )
  const shared = sharing([...waiting.keys()])
  const mixed: Reader[] = []
  let plain = 0
  for (const [reader, { messages, expiring }] of waiting) {
    if (shared.has(reader) || expiring || maximumPacketSize !== Infinity) mixed.push(reader)
    else plain += messages
  }
  const { messages, exact } = await look(mixed, from, time, maximumPacketSize)
  return { messages: plain + messages, exact }
}

/** What waits at or above `from`, by hold that has any. */
async function amounts(readers: readonly Reader[], from: number): Promise<Map<Reader, Amount>> {
  const found = new Map<Reader, Amount>()
  for (const [n, reader] of Array.from(readers).entries()) {
    if (n % READERS_PER_TURN === READERS_PER_TURN - 1) await turn() // oxlint-disable-line no-await-in-loop -- others have theirs
    const waiting = reader.waiting(from)
    // oxlint-disable-next-line no-await-in-loop -- one after the other: the store has others to answer
    const amount = waiting instanceof Promise ? await waiting : waiting
    if (amount.messages > 0) found.set(reader, amount)
  }
  return found
}

/** Bytes of what waits at or above `from`, what is in flight included. A message that matches several Topic Filters counts for each. */
export function waitingBytes(readers: readonly Reader[], from: number): Maybe<number> {
  if (readers.length >= READERS_PER_TURN)
    return amounts(readers, from).then((found) => [...found.values()].reduce((sum, { bytes }) => sum + bytes, 0))
  let sum: Maybe<number> = 0
  for (const reader of readers) sum = whenThere(sum, (some) => whenThere(reader.waiting(from), ({ bytes }) => some + bytes))
  return sum
}

/** How many messages at or above `from` only this one of several holds brings. */
export async function countOnlyOf(reader: Reader, readers: readonly Reader[], from: number, time: BrokerTime): Promise<Count> {
  if (!(await reader.waiting(from)).messages) return { messages: 0, exact: true }
  const others = readers.filter((other) => other !== reader && overlap(reader, other))
  const both = await countFresh([reader, ...others], from, time)
  const without = await countFresh(others, from, time)
  return { messages: Math.max(0, both.messages - without.messages), exact: both.exact && without.exact }
}

/** How many different messages lie from `from` to below `to`, expired or not; where that takes too long, how many one of the holds has. */
export async function countBetween(readers: readonly Reader[], from: number, to: number): Promise<number> {
  const upwards = await amounts(readers, from)
  const above = await amounts([...upwards.keys()], to)
  const between = (reader: Reader): number => (upwards.get(reader)?.messages ?? 0) - (above.get(reader)?.messages ?? 0)
  const some = [...upwards.keys()].filter((reader) => between(reader) > 0)
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
    const next = merge.next()
    // oxlint-disable-next-line no-await-in-loop -- only where the store has to be asked
    if (!(next instanceof Promise ? await next : next) || merge.position >= to) return sum + messages
    if (messages * shared.size + merge.chunks * LOOKS_PER_CHUNK > MOST_LOOKS) return sum + Math.max(messages, most)
  }
}

/** Whether a message that waits has expired. */
export function hasExpired(chunk: Frames, i: number, time: BrokerTime): boolean {
  return chunk.createdAt > 0 && expirySecondsOf(chunk, i) <= time.secondsSince(chunk.createdAt)
}

/** Goes through messages one by one, as far as the bound allows. */
async function look(readers: Reader[], from: number, time: BrokerTime, maximumPacketSize: number): Promise<Count> {
  const merge = new Merge(readers, from)
  let messages = 0
  for (let looks = 0; looks + merge.chunks * LOOKS_PER_CHUNK <= MOST_LOOKS; looks += readers.length) {
    const next = merge.next()
    // oxlint-disable-next-line no-await-in-loop -- only where the store has to be asked
    if (!(next instanceof Promise ? await next : next)) return { messages, exact: true }
    const { chunk, i } = merge
    if (chunk && !hasExpired(chunk, i, time) && chunk.endOf(i) - chunk.startOf(i) <= maximumPacketSize) messages++
  }
  // of the rest, one hold alone has so many
  let rest = 0
  const left = await amounts(readers.slice(0, 100), merge.position + 1)
  for (const { messages: some, expiring } of left.values()) rest = Math.max(rest, some - expiring)
  return { messages: messages + rest, exact: false }
}

/** Those of several holds that may have a message in common with another one. */
function sharing(readers: Reader[]): Set<Reader> {
  const wild = readers.filter((reader) => reader.wild)
  let looks = 0
  for (const { filter } of readers) looks += 1 + Math.floor(filter.length / UNITS_PER_LOOK)
  if (wild.length * looks > MOST_LOOKS) return new Set(readers)
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
  return a.wild || b.wild ? filtersOverlap(a.filter, b.filter) : a.filter === b.filter && a.filter !== ""
}
