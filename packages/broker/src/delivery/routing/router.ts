import { isReserved } from "../../access/rights/reserved-topics.js"
import type { QoS } from "../../wire/packet-types.js"
import { malformed, PacketError, Reason } from "../../wire/reason-codes.js"
import { tooDeep, validTopicName, validUtf8 } from "../../wire/utf8.js"
import type { Log } from "../logs/log.js"
import { isAscii } from "./topic-node.js"
import { TopicTree } from "./topic-tree.js"
import type { Session, SubscriptionOptions } from "../sessions/session.js"

/** Topics that are remembered: each has a place by its hash, where another one may take over; and how long they may be, in bytes. */
const PLACE_BITS = 16
const LONGEST_TOPIC = 256
/** Receivers and logs that are remembered, those of many topics once; who they are for costs as much as some of them. */
const MOST_REMEMBERED = 500_000
const RECEIVERS_COST = 8
/** An odd number that spreads hashes. */
const FACTOR = 0x9e3779b1

/** What one Session gets of a topic: the highest granted QoS of all its Subscriptions that match. */
export interface Receiver {
  session: Session
  qos: QoS
  /** the same without Subscriptions that ask for No Local; undefined: nothing (MQTT 5.0 section 3.8.3.1) */
  qosOfOwn: QoS | undefined
  /** the matching Subscriptions with an identifier or Retain As Published, undefined: none */
  options: SubscriptionOptions[] | undefined
}

/** Who receives what is published to a Topic Name; shared by all that the same Topic Filters match, where that can be. */
export class Receivers {
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
  readonly width: number
  private options: Map<Session, SubscriptionOptions[]> | undefined = undefined

  constructor(entries: readonly Entry[], topic: string) {
    const targets = new Map<Session, Receiver>()
    for (const entry of entries) gather(entry, { targets, logs: this.logs, topic })
    for (const target of targets.values()) {
      if (target.qos && target.qosOfOwn === 0 && target.session.persistent) this.ownAtOnce.push(target)
      const kind = target.qos === 0 ? this.atOnce : target.session.persistent ? this.queued : this.clean
      kind.push(target)
    }
    this.width = targets.size + this.logs.length
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

/** A Topic Name, and who receives what is published to it. */
export class Match {
  /** clients may not publish to it */
  readonly reserved: boolean

  /** @param bytes of the Topic Name, each as a unit of a text; the same text where it is ASCII */
  constructor(
    readonly topic: string,
    readonly bytes: string,
    readonly to: Receivers,
  ) {
    this.reserved = isReserved(topic)
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
  ownLogs: Map<Session, Log> | undefined = undefined
  /** more than one Topic Name may match */
  readonly isWide: boolean

  constructor(filter: string) {
    this.isWide = isWide(filter)
  }

  get isEmpty(): boolean {
    return !this.subscribers.size && !this.log && !this.ownLogs?.size
  }
}

/** The receivers of what some Topic Filters match, and of what they and one more match. */
class Combination {
  receivers: Receivers | undefined = undefined
  private more: Map<Entry, Combination> | undefined = undefined

  with(entry: Entry): Combination {
    let combination = this.more?.get(entry)
    if (!combination) (this.more ??= new Map()).set(entry, (combination = new Combination()))
    return combination
  }
}

/** Which Sessions subscribe to a topic: a tree of topic levels for the Topic Filters (MQTT 5.0 section 4.7). */
export class Router {
  private readonly tree = new TopicTree<Entry>()
  private readonly places: (Match | undefined)[] = Array.from({ length: 2 ** PLACE_BITS })
  private combinations = new Combination()
  private remembered = 0
  private isGoverned = false
  /** what the topic at hand is matched by */
  private readonly found: Entry[] = []

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
    const log = (owner ? entry.ownLogs?.get(owner) : entry.log) ?? make()
    if (owner) (entry.ownLogs ??= new Map()).set(owner, log)
    else entry.log = log
    this.changed(filter)
    return log
  }

  /** A log that nobody holds any more receives nothing. */
  removeLog(filter: string, log: Log): void {
    const entry = this.tree.get(filter)
    if (!entry) return
    if (entry.log === log) entry.log = undefined
    for (const [session, own] of entry.ownLogs ?? []) if (own === log) entry.ownLogs?.delete(session)
    this.changed(filter)
    this.prune(filter, entry)
  }

  /** The Match of the Topic Name in bytes `from` to `end`. Throws a PacketError when it is none (section 3.3.2.1). */
  lookup(buf: Buffer, from: number, end: number): Match {
    const place = placeOfBytes(buf, from, end)
    const known = this.places[place]
    if (known && isSame(known.bytes, buf, from, end)) return known
    if (!validUtf8(buf, from, end)) throw malformed("a Topic Name is not well-formed UTF-8 or holds U+0000")
    if (!validTopicName(buf, from, end))
      throw new PacketError(Reason.TOPIC_NAME_INVALID, "a Topic Name is empty or holds a wildcard [MQTT-3.3.2-2]")
    const topic = buf.toString("utf8", from, end)
    if (tooDeep(topic, this.maxLevels))
      throw new PacketError(Reason.TOPIC_NAME_INVALID, `a Topic Name has more than ${this.maxLevels} levels`)
    return this.remember(topic, topic.length === end - from ? topic : buf.toString("latin1", from, end), place)
  }

  match(topic: string): Match {
    const bytes = bytesOf(topic)
    const place = placeOf(bytes)
    const known = this.places[place]
    return known?.bytes === bytes ? known : this.remember(topic, bytes, place)
  }

  private remember(topic: string, bytes: string, place: number): Match {
    const match = new Match(topic, bytes, this.receivers(topic))
    if (bytes.length <= LONGEST_TOPIC) this.places[place] = match
    return match
  }

  private receivers(topic: string): Receivers {
    const { found } = this
    found.length = 0
    this.tree.matching(topic, this.find)
    // rights differ from topic to topic, and an exact filter's receivers belong to one topic
    if (this.isGoverned || !found.every(({ isWide }) => isWide)) return this.count(new Receivers(found, topic))
    let combination = this.combinations
    for (const entry of found) combination = combination.with(entry)
    return (combination.receivers ??= this.count(new Receivers(found, topic)))
  }

  private readonly find = (entry: Entry): void => void this.found.push(entry)

  private count(receivers: Receivers): Receivers {
    this.remembered += RECEIVERS_COST + receivers.width
    if (this.remembered > MOST_REMEMBERED) this.forgetAll()
    return receivers
  }

  private entry(filter: string): Entry {
    let entry = this.tree.get(filter)
    if (!entry) this.tree.set(filter, (entry = new Entry(filter)))
    return entry
  }

  private prune(filter: string, entry: Entry): void {
    if (entry.isEmpty) this.tree.delete(filter)
  }

  private changed(filter: string): void {
    if (isWide(filter)) return this.forgetAll()
    const bytes = bytesOf(filter)
    const place = placeOf(bytes)
    if (this.places[place]?.bytes === bytes) this.places[place] = undefined
  }

  /** Who receives a topic must be looked up again: other rights hold, if any. */
  govern(isGoverned: boolean): void {
    this.isGoverned = isGoverned
    this.forgetAll()
  }

  private forgetAll(): void {
    if (!this.remembered) return
    this.places.fill(undefined)
    this.combinations = new Combination()
    this.remembered = 0
  }
}

const NO_OPTIONS: readonly SubscriptionOptions[] = []

function isWide(filter: string): boolean {
  return /[+#]/.test(filter)
}

/** The bytes of a text in UTF-8, each as a unit; the same text where it is ASCII. */
function bytesOf(text: string): string {
  return isAscii(text) ? text : Buffer.from(text).toString("latin1")
}

function placeOf(bytes: string): number {
  let hash = bytes.length
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes.charCodeAt(i), FACTOR)
  return hash >>> (32 - PLACE_BITS)
}

/** The same of bytes that lie in a buffer. */
function placeOfBytes(buf: Buffer, from: number, end: number): number {
  let hash = end - from
  for (let i = from; i < end; i++) hash = Math.imul(hash ^ (buf[i] ?? 0), FACTOR)
  return hash >>> (32 - PLACE_BITS)
}

function isSame(bytes: string, buf: Buffer, from: number, end: number): boolean {
  if (bytes.length !== end - from) return false
  for (let i = 0; i < bytes.length; i++) if (bytes.charCodeAt(i) !== buf[from + i]) return false
  return true
}

interface Gathered {
  readonly topic: string
  readonly targets: Map<Session, Receiver>
  readonly logs: RoutedLog[]
}

function gather(entry: Entry, { topic, targets, logs }: Gathered): void {
  // a log that nobody who is there may read gets nothing
  let read = entry.subscribers.size === 0
  for (const [session, options] of entry.subscribers) {
    if (session.permissions?.mayRead(topic) === false) continue
    read ||= options.qos > 0
    const own = options.noLocal ? undefined : options.qos
    let target = targets.get(session)
    if (!target) targets.set(session, (target = { session, qos: options.qos, qosOfOwn: own, options: undefined }))
    if (options.qos > target.qos) target.qos = options.qos
    if (own !== undefined && own > (target.qosOfOwn ?? -1)) target.qosOfOwn = own
    if (options.identifier || options.retainAsPublished) (target.options ??= []).push(options)
  }
  if (entry.log && read) logs.push({ log: entry.log, except: undefined })
  for (const [session, log] of entry.ownLogs ?? []) if (session.permissions?.mayRead(topic) !== false) logs.push({ log, except: session })
}
