import type { Address } from "./address.js"
import type { GrantedFilter } from "./checker/checked-session.js"
import type { Checker } from "./checker/checker.js"
import type { StoredQos } from "./checker/stream.js"
import type { AcknowledgementFile } from "./acknowledgement-file.js"
import { TorturePublisher, type Budget, type OwnStream } from "./publisher.js"
import { Random } from "./random.js"
import { TortureSubscriber } from "./subscriber.js"

/** Windows of the publishers, in turn. */
const PUBLISHER_WINDOWS = [50, 1000, 1]
const LIVE_TOPICS = ["a", "b", "c/d"]
const SHARED_SHARE = 50
const GROUP_SIZE = 50

export interface CastOptions {
  address: Address
  /** First part of every client identifier and topic. */
  prefix: string
  publishers: number
  subscribers: number
  /** Highest QoS: 1, or 2 for a mix of both. */
  qos: StoredQos
  seed: number
  budget: Budget
  checker: Checker
  acknowledgements: AcknowledgementFile
}

/** The clients of one shape. */
export interface Cast {
  publishers: TorturePublisher[]
  subscribers: TortureSubscriber[]
}

/**
 * Publishers on three topics each, and subscribers with exact, `+`, `#` and overlapping filters. Every fourth subscriber is slow,
 * every fifth withholds an acknowledgement; with QoS 2 every third is granted QoS 1 only.
 */
export function liveCast(options: CastOptions): Cast {
  const { prefix, checker, address, qos } = options
  const subscribers = Array.from({ length: options.subscribers }, (_, index) => {
    const granted = index % 3 === 2 ? 1 : qos
    const filters = liveFilters(prefix, index, options.publishers).map((filter) => ({ filter, qos: granted }))
    return new TortureSubscriber({
      address,
      checker,
      filters,
      clientId: `${prefix}-live-sub-${index}`,
      slow: index % 4 === 3,
      withholds: index % 5 === 4,
    })
  })
  const topics = (publisher: number): string[] => LIVE_TOPICS.map((topic) => `${prefix}/live/p${publisher}/${topic}`)
  return { subscribers, publishers: makePublishers(options, "live", topics) }
}

function liveFilters(prefix: string, index: number, publishers: number): string[] {
  const base = `${prefix}/live`
  const own = `${base}/p${index % publishers}`
  const choices = [
    [`${base}/#`],
    [`${base}/+/a`, `${base}/+/b`],
    [`${own}/a`, `${base}/+/a`, `${own}/#`],
    [`${base}/#`, `${own}/c/d`],
    [`${own}/a`],
  ]
  return choices[index % choices.length] ?? []
}

/** Absent sessions with a filter of their own each, and one filter that all of them share: logs with gaps. */
export function sparseCast(options: CastOptions, sessions: number): Cast {
  const { prefix, checker, address, qos } = options
  const base = `${prefix}/sparse`
  const subscribers = Array.from({ length: sessions }, (_, index) => {
    const filters: GrantedFilter[] = [
      { filter: `${base}/own/${index}`, qos },
      { filter: `${base}/shared`, qos },
    ]
    return new TortureSubscriber({ address, checker, filters, clientId: `${prefix}-sparse-sub-${index}`, slow: false, withholds: false })
  })
  const topics = (publisher: number): string[] => {
    const own = Array.from({ length: sessions }, (_, index) => index).filter((index) => index % options.publishers === publisher)
    return [...own.map((index) => `${base}/own/${index}`), `${base}/shared`]
  }
  return { subscribers, publishers: makePublishers(options, "sparse", topics) }
}

/**
 * A publisher that is connected to a broker before it sleeps, and a subscriber to its topic who comes to the next one: the sleeper
 * has nobody to store its messages for. They are of QoS 1: what an exchange at QoS 2 needs is stored in any case.
 */
export function lateCast(options: CastOptions, number: number): { publisher: TorturePublisher; subscriber: TortureSubscriber } {
  const { prefix, checker, address, acknowledgements, qos, seed } = options
  const topic = `${prefix}/late/${number}`
  const clientId = (part: string): string => `${prefix}-late-${part}-${number}`
  const filters = [{ filter: topic, qos }]
  const subscriber = new TortureSubscriber({ address, checker, filters, clientId: clientId("sub"), slow: false, withholds: false })
  const own = {
    clientId: clientId("pub"),
    streams: streamsOf({ ...options, qos: 1 }, clientId("pub"), topic),
    window: 1,
    budget: { remaining: 0 },
  }
  const publisher = new TorturePublisher({ address, checker, acknowledgements, random: new Random(seed + number), ...own })
  return { publisher, subscriber }
}

/** Connects and subscribes all subscribers, 50 at a time. */
export async function subscribeAll(subscribers: readonly TortureSubscriber[]): Promise<void> {
  await inGroups(subscribers, (subscriber) => subscriber.subscribe())
}

/** Runs `task` for all items, 50 at a time. */
export async function inGroups<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  for (let from = 0; from < items.length; from += GROUP_SIZE) {
    await Promise.all(items.slice(from, from + GROUP_SIZE).map(task))
  }
}

function makePublishers(options: CastOptions, shape: string, topics: (publisher: number) => string[]): TorturePublisher[] {
  const { address, budget, checker, acknowledgements, seed } = options
  return Array.from({ length: options.publishers }, (_, index) => {
    const clientId = `${options.prefix}-${shape}-pub-${index}`
    const streams = topics(index).flatMap((topic) => streamsOf(options, clientId, topic))
    const random = new Random(seed + index + 1)
    const window = PUBLISHER_WINDOWS[index % PUBLISHER_WINDOWS.length] ?? 1
    return new TorturePublisher({ address, clientId, streams: withMoreShared(streams), window, budget, random, checker, acknowledgements })
  })
}

function streamsOf(options: CastOptions, publisher: string, topic: string): OwnStream[] {
  const kinds: StoredQos[] = options.qos === 2 ? [1, 2] : [1]
  return kinds.map((qos) => ({ id: options.checker.addStream({ publisher, topic, qos }), topic, qos }))
}

/** The shared topic gets one message in fifty where there are many topics. */
function withMoreShared(streams: OwnStream[]): OwnStream[] {
  const shared = streams.filter(({ topic }) => topic.endsWith("/shared"))
  const more = Math.floor(streams.length / SHARED_SHARE)
  return [...streams, ...Array.from({ length: more }, () => shared).flat()]
}
