import { isReserved } from "../../access/rights/reserved-topics.js"
import type { QoS } from "../../wire/packet-types.js"
import { malformed, PacketError, Reason } from "../../wire/reason-codes.js"
import { tooDeep, validTopicName, validUtf8 } from "../../wire/utf8.js"
import type { Log } from "../logs/log.js"
import { TopicTree } from "./topic-tree.js"
import type { Session, SubscriptionOptions } from "../sessions/session.js"

/** Topics whose receivers are remembered, and their receivers, each counted for each topic. */
const CACHED_TOPICS = 20_000
const CACHED_RECEIVERS = 500_000

/** Topics that are found by their bytes, and how long they may be: bounds what is kept. */
const QUICK_TOPICS = 4096
const LONGEST_QUICK_TOPIC = 256

interface Quick {
  readonly topic: Buffer
  readonly match: Match
}

/** What one Session gets of a topic: the highest granted QoS of all its Subscriptions that match. */
export interface Receiver {
  session: Session
  qos: QoS
  /** the same without Subscriptions that ask for No Local; undefined: nothing (MQTT 5.0 section 3.8.3.1) */
  qosOfOwn: QoS | undefined
  /** the matching Subscriptions with an identifier or Retain As Published, undefined: none */
  options: SubscriptionOptions[] | undefined
}

/** Who receives what is published to one Topic Name; shared by all that publish to it. */
export class Match {
  /** Clean Sessions at QoS 1 or 2 */
  readonly clean: Receiver[] = []
  /** persistent Sessions at QoS 1 or 2: served by the logs, QoS 0 messages go to them at once */
  readonly queued: Receiver[] = []
  /** Sessions at QoS 0 */
  readonly atOnce: Receiver[] = []
  /** persistent Sessions that get their own messages at QoS 0 only, because of No Local */
  readonly ownAtOnce: Receiver[] = []
  readonly logs: RoutedLog[] = []
  /** how many Sessions and logs have to be served */
  width = 0
  /** subscriptions changed: look the topic up again */
  stale = false
  private options: Map<Session, SubscriptionOptions[]> | undefined = undefined
  /** clients may not publish to it */
  readonly reserved: boolean

  constructor(readonly topic: string) {
    this.reserved = isReserved(topic)
  }

  /** The Subscriptions of one Session among them that have an identifier or Retain As Published. */
  optionsOf(session: Session): readonly SubscriptionOptions[] {
    if (!this.options) {
      this.options = new Map()
      for (const list of [this.clean, this.queued, this.atOnce])
        for (const target of list) if (target.options) this.options.set(target.session, target.options)
    }
    return this.options.get(session) ?? NO_OPTIONS
  }

  get empty(): boolean {
    return !this.clean.length && !this.queued.length && !this.atOnce.length
  }
}

/** A log, and the Session whose own messages do not go into it: it asked for No Local. */
export interface RoutedLog {
  log: Log
  except: Session | undefined
}

class Entry {
  readonly subscribers = new Map<Session, SubscriptionOptions>()
  /** shared by all Sessions that hold the Topic Filter; No Local has one per Session */
  log: Log | undefined = undefined
  readonly ownLogs = new Map<Session, Log>()
}

/** Which Sessions subscribe to a topic: a tree of topic levels for the Topic Filters (MQTT 5.0 section 4.7). */
export class Router {
  private readonly tree = new TopicTree<Entry>()
  private readonly cache = new Map<string, Match>()
  private cached = 0
  /** by a hash of the topic's bytes: finds a Match without making a string; another topic may take the place */
  private readonly quick: (Quick | undefined)[] = Array.from({ length: QUICK_TOPICS })

  /** @param maxLevels most levels of a Topic Name */
  constructor(private readonly maxLevels: number) {}

  subscribe(session: Session, filter: string, options: SubscriptionOptions): void {
    this.entry(filter).subscribers.set(session, options)
    this.changed(filter)
  }

  unsubscribe(session: Session, filter: string): void {
    const entry = this.tree.get(filter)
    if (!entry?.subscribers.delete(session)) return
    this.changed(filter)
    this.prune(filter, entry)
  }

  /** The log of a Topic Filter; `make` is called when there is none yet. `owner`: a log for this Session alone. */
  log(filter: string, owner: Session | undefined, make: () => Log): Log {
    const entry = this.entry(filter)
    const log = (owner ? entry.ownLogs.get(owner) : entry.log) ?? make()
    if (owner) entry.ownLogs.set(owner, log)
    else entry.log = log
    this.changed(filter)
    return log
  }

  /** A log that nobody holds any more receives nothing. */
  removeLog(filter: string, log: Log): void {
    const entry = this.tree.get(filter)
    if (!entry) return
    if (entry.log === log) entry.log = undefined
    for (const [session, own] of entry.ownLogs) if (own === log) entry.ownLogs.delete(session)
    this.changed(filter)
    this.prune(filter, entry)
  }

  /** The Match of the Topic Name in bytes `from` to `end`. Throws a PacketError when it is none (section 3.3.2.1). */
  lookup(buf: Buffer, from: number, end: number): Match {
    const slot = slotOf(buf, from, end)
    const quick = this.quick[slot]
    if (quick && !quick.match.stale && sameBytes(quick.topic, buf, from, end)) return quick.match
    if (!validUtf8(buf, from, end)) throw malformed("a Topic Name is not well-formed UTF-8 or holds U+0000")
    if (!validTopicName(buf, from, end))
      throw new PacketError(Reason.TOPIC_NAME_INVALID, "a Topic Name is empty or holds a wildcard [MQTT-3.3.2-2]")
    const topic = buf.toString("utf8", from, end)
    if (tooDeep(topic, this.maxLevels))
      throw new PacketError(Reason.TOPIC_NAME_INVALID, `a Topic Name has more than ${this.maxLevels} levels`)
    const match = this.match(topic)
    if (end - from <= LONGEST_QUICK_TOPIC) this.quick[slot] = { topic: Buffer.from(buf.subarray(from, end)), match }
    return match
  }

  match(topic: string): Match {
    const known = this.cache.get(topic)
    if (known) return known
    const match = new Match(topic)
    const targets = new Map<Session, Receiver>()
    this.tree.matching(topic, (entry) => gather(entry, targets, match))
    for (const target of targets.values()) {
      if (target.qos && target.qosOfOwn === 0 && target.session.persistent) match.ownAtOnce.push(target)
      const kind = target.qos === 0 ? match.atOnce : target.session.persistent ? match.queued : match.clean
      kind.push(target)
    }
    match.width = targets.size + match.logs.length
    this.cached += match.width
    if (this.cache.size >= CACHED_TOPICS || this.cached > CACHED_RECEIVERS) this.forgetAll()
    if (topic.length <= LONGEST_QUICK_TOPIC) this.cache.set(topic, match)
    return match
  }

  private entry(filter: string): Entry {
    let entry = this.tree.get(filter)
    if (!entry) this.tree.set(filter, (entry = new Entry()))
    return entry
  }

  private prune(filter: string, entry: Entry): void {
    if (!entry.subscribers.size && !entry.log && !entry.ownLogs.size) this.tree.delete(filter)
  }

  private changed(filter: string): void {
    if (/[+#]/.test(filter)) return this.forgetAll()
    const match = this.cache.get(filter)
    if (!match) return
    match.stale = true
    this.cache.delete(filter)
    const topic = Buffer.from(filter)
    this.quick[slotOf(topic, 0, topic.length)] = undefined
  }

  /** Who receives a topic must be looked up again. */
  forgetAll(): void {
    for (const match of this.cache.values()) match.stale = true
    this.quick.fill(undefined)
    this.cache.clear()
    this.cached = 0
  }
}

const NO_OPTIONS: readonly SubscriptionOptions[] = []

function slotOf(buf: Buffer, from: number, end: number): number {
  let hash = end - from
  for (let i = from; i < end; i++) hash = (Math.imul(hash, 31) + (buf[i] ?? 0)) | 0
  return (hash ^ (hash >>> 16)) & (QUICK_TOPICS - 1)
}

function sameBytes(topic: Buffer, buf: Buffer, from: number, end: number): boolean {
  if (topic.length !== end - from) return false
  for (let i = 0; i < topic.length; i++) if (topic[i] !== buf[from + i]) return false
  return true
}

function gather(entry: Entry, targets: Map<Session, Receiver>, match: Match): void {
  // a log that nobody who is there may read gets nothing
  let read = entry.subscribers.size === 0
  for (const [session, options] of entry.subscribers) {
    if (session.permissions?.mayRead(match.topic) === false) continue
    read ||= options.qos > 0
    const own = options.noLocal ? undefined : options.qos
    let target = targets.get(session)
    if (!target) targets.set(session, (target = { session, qos: options.qos, qosOfOwn: own, options: undefined }))
    if (options.qos > target.qos) target.qos = options.qos
    if (own !== undefined && own > (target.qosOfOwn ?? -1)) target.qosOfOwn = own
    if (options.identifier || options.retainAsPublished) (target.options ??= []).push(options)
  }
  if (entry.log && read) match.logs.push({ log: entry.log, except: undefined })
  for (const [session, log] of entry.ownLogs)
    if (session.permissions?.mayRead(match.topic) !== false) match.logs.push({ log, except: session })
}
