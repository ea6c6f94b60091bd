import { Frames } from "../../wire/frames.js"
import { type QoS, qosOf } from "../../wire/packet-types.js"
import { expirySecondsOf, payloadOf, topicOf } from "../../wire/publish.js"
import { type Due, DueQueue } from "./due-queue.js"
import type { Place } from "../../accounting/tally.js"
import type { GroupCommit } from "../logs/group-commit.js"
import { costOf } from "../routing/topic-node.js"
import { TopicTree } from "../routing/topic-tree.js"
import { RESTING } from "../routing/topic-walk.js"

/** Bounds on retained messages, all topics together. */
export interface RetainedLimits {
  count: number
  bytes: number
}

/** A retained message; a newer one takes its place. */
export class RetainedMessage {
  /** another message, or none, has taken its place */
  replaced = false
  /** when it expires; undefined: never */
  due: Due<RetainedMessage> | undefined = undefined

  /** bytes of memory that are counted for it */
  cost = 0
  /** counts the changes of all retained messages since the broker started */
  readonly sequence: number
  /** for which it counts */
  readonly place: Place

  /** @param value a sealed block of this one message, as it was published: there may be a million of them */
  constructor(
    readonly id: number,
    private readonly value: Buffer,
    { sequence, place }: { sequence: number; place: Place },
  ) {
    this.sequence = sequence
    this.place = place
  }

  get frames(): Frames {
    return Frames.unseal(0, this.value)
  }
  /** as published */
  get qos(): QoS {
    return qosOf(this.value[0] ?? 0)
  }
  get bytes(): number {
    return Frames.bytesOf(this.value)
  }
  /** with what belongs to it in the store */
  get size(): number {
    return this.value.length
  }
}

/** What a retained message takes in memory beside its bytes and its topic. */
const COST_BYTES = 400

/** Expired messages that are removed in one turn of the event loop. */
const MOST_EXPIRED = 1000

/**
 * The last message with RETAIN 1 of each topic (MQTT 5.0 section 3.3.1.3), in a tree of topic levels.
 */
export class Retained {
  private readonly tree = new TopicTree<RetainedMessage>()
  count = 0
  bytes = 0
  /** the sequence of the last change */
  sequence = 0
  /** messages that were not kept because of the limits, since takeRefused() */
  private refused = 0
  private readonly expiring = new DueQueue<RetainedMessage>()
  private sweeping = false

  constructor(
    private readonly commits: GroupCommit,
    private readonly limits: RetainedLimits,
  ) {}

  /**
   * Whether the limits allow what update() would do. A message in the place of another needs no place of its own, only
   * the bytes that it is larger; those that expired make room. And whether its place may keep it.
   */
  fits(run: Frames, place: Place): boolean {
    const k = run.n - 1
    const size = run.endOf(k) - run.startOf(k)
    const cost = size + COST_BYTES
    // twice is more than the topic takes beside
    if (this.count < this.limits.count && this.bytes + size <= this.limits.bytes && place.mayKeep(2 * cost)) return true
    if (!payloadOf(run, k).length) return true
    const topic = topicOf(run, k)
    for (;;) {
      const old = this.tree.get(topic)
      const isAllowed = (old || this.count < this.limits.count) && this.bytes + size - (old?.bytes ?? 0) <= this.limits.bytes
      if (isAllowed && place.mayKeep(cost + costOf(topic) - (old?.cost ?? 0))) return true
      if (!this.removeExpired()) return false
    }
  }

  /** Whether update() would keep something: an empty payload removes. */
  keeps(run: Frames): boolean {
    return payloadOf(run, run.n - 1).length > 0
  }

  /** A message was refused: its publisher was told. */
  refuse(): void {
    this.refused++
  }

  /**
   * Keeps the last message of a run, or with an empty payload removes what was kept [MQTT-3.3.1-6]. In the store with
   * the gathering commit. When the limits do not allow it nothing is kept for the topic: the run was accepted, so what
   * was kept is not the last message any more [MQTT-3.3.1-5]. False: nothing changed.
   */
  update(run: Frames, place: Place): boolean {
    const k = run.n - 1
    const fits = this.fits(run, place)
    const topic = topicOf(run, k)
    const old = this.tree.get(topic)
    if (!fits || !payloadOf(run, k).length) {
      if (!fits) this.refused++
      if (old) this.remove(topic, old)
      return fits || old !== undefined
    }
    const frames = run.only(k)
    frames.createdAt = this.commits.time.now
    frames.markKept(0)
    const id = old?.id ?? this.commits.newId()
    const value = frames.seal()
    this.commits.writeRetained(id, value)
    this.put(topic, new RetainedMessage(id, value, { sequence: ++this.sequence, place }), frames)
    return true
  }

  /** Removes what expired, in several turns of the event loop when it is much. */
  expire(): void {
    if (this.sweeping) return
    for (let n = 0; n < MOST_EXPIRED; n++) if (!this.removeExpired()) return
    this.sweeping = true
    setImmediate(() => {
      this.sweeping = false
      this.expire()
    })
  }

  /** Removes the message that expired first, if one did. */
  private removeExpired(): boolean {
    const { first } = this.expiring
    if (!first || first.at > this.commits.time.now) return false
    this.remove(topicOf(first.item.frames, 0), first.item)
    return true
  }

  /** How many messages the limits refused since the last call. */
  takeRefused(): number {
    const { refused } = this
    this.refused = 0
    return refused
  }

  /** What the store kept; what expired meanwhile is removed. */
  load(stored: { id: number; value: Buffer }[], place: Place): void {
    for (const { id, value } of stored) {
      const message = new RetainedMessage(id, Buffer.from(value), { sequence: 0, place })
      const { frames } = message
      this.put(topicOf(frames, 0), message, frames)
    }
    this.expire()
  }

  /** The retained messages whose topics match a filter; RESTING when it takes long to find one. Those that expired are left out and removed. */
  *match(filter: string): Generator<RetainedMessage | typeof RESTING> {
    for (const message of this.tree.matchedBy(filter)) {
      if (message === RESTING) yield message
      else if (message.replaced) continue
      else if (!message.due || message.due.at > this.commits.time.now) yield message
      else this.remove(topicOf(message.frames, 0), message)
    }
  }

  /** Whether a filter matches one. */
  has(filter: string): boolean {
    for (const message of this.match(filter)) if (message !== RESTING) return true
    return false
  }

  private put(topic: string, message: RetainedMessage, frames: Frames): void {
    const before = this.tree.set(topic, message)
    if (before) this.forget(before)
    const seconds = expirySecondsOf(frames, 0)
    if (seconds !== Infinity) message.due = this.expiring.add(frames.createdAt + seconds * 1000, message)
    message.cost = message.size + COST_BYTES + costOf(topic)
    message.place.keeping.add("retained", message.cost)
    this.count++
    this.bytes += message.bytes
  }

  private remove(topic: string, message: RetainedMessage): void {
    if (this.tree.get(topic) !== message) return
    this.tree.delete(topic)
    this.forget(message)
    this.commits.writeRetained(message.id, undefined)
  }

  private forget(message: RetainedMessage): void {
    message.replaced = true
    message.place.keeping.add("retained", -message.cost)
    if (message.due) this.expiring.remove(message.due)
    this.count--
    this.bytes -= message.bytes
  }
}
