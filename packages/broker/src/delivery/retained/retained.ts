import { Frames } from "../../wire/frames.js"
import { type QoS, qosOf } from "../../wire/packet-types.js"
import { expirySecondsOf, payloadOf, topicOf } from "../../wire/publish.js"
import { type Due, DueQueue } from "./due-queue.js"
import type { GroupCommit } from "../logs/group-commit.js"
import { TopicTree } from "../routing/topic-tree.js"

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

  /**
   * @param value a sealed block of this one message, as it was published: there may be a million of them
   * @param sequence counts the changes of all retained messages since the broker started
   */
  constructor(
    readonly id: number,
    private readonly value: Buffer,
    readonly sequence: number,
  ) {}

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
}

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
   * the bytes that it is larger; those that expired make room.
   */
  fits(run: Frames): boolean {
    const k = run.n - 1
    const size = run.endOf(k) - run.startOf(k)
    if (this.count < this.limits.count && this.bytes + size <= this.limits.bytes) return true
    if (!payloadOf(run, k).length) return true
    const topic = topicOf(run, k)
    for (;;) {
      const old = this.tree.get(topic)
      if ((old || this.count < this.limits.count) && this.bytes + size - (old?.bytes ?? 0) <= this.limits.bytes) return true
      if (!this.removeExpired(Date.now())) return false
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
  update(run: Frames): boolean {
    const k = run.n - 1
    const fits = this.fits(run)
    const topic = topicOf(run, k)
    const old = this.tree.get(topic)
    if (!fits || !payloadOf(run, k).length) {
      if (!fits) this.refused++
      if (old) this.remove(topic, old)
      return fits || old !== undefined
    }
    const frames = run.only(k)
    frames.createdAt = Date.now()
    frames.markKept(0)
    const id = old?.id ?? this.commits.newId()
    const value = frames.seal()
    this.commits.writeRetained(id, value)
    this.put(topic, new RetainedMessage(id, value, ++this.sequence), frames)
    return true
  }

  /** Removes what expired, in several turns of the event loop when it is much. `now` in ms. */
  expire(now: number): void {
    if (this.sweeping) return
    for (let n = 0; n < MOST_EXPIRED; n++) if (!this.removeExpired(now)) return
    this.sweeping = true
    setImmediate(() => {
      this.sweeping = false
      this.expire(now)
    })
  }

  /** Removes the message that expired first, if one did. */
  private removeExpired(now: number): boolean {
    const { first } = this.expiring
    if (!first || first.at > now) return false
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
  load(stored: { id: number; value: Buffer }[]): void {
    for (const { id, value } of stored) {
      const message = new RetainedMessage(id, Buffer.from(value), 0)
      const { frames } = message
      this.put(topicOf(frames, 0), message, frames)
    }
    this.expire(Date.now())
  }

  /** The retained messages whose topics match a filter. Those that expired are left out and removed. */
  *match(filter: string): Generator<RetainedMessage> {
    for (const message of this.tree.matchedBy(filter)) {
      if (message.replaced) continue
      if (!message.due || message.due.at > Date.now()) yield message
      else this.remove(topicOf(message.frames, 0), message)
    }
  }

  private put(topic: string, message: RetainedMessage, frames: Frames): void {
    const before = this.tree.set(topic, message)
    if (before) this.forget(before)
    const seconds = expirySecondsOf(frames, 0)
    if (seconds !== Infinity) message.due = this.expiring.add(frames.createdAt + seconds * 1000, message)
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
    if (message.due) this.expiring.remove(message.due)
    this.count--
    this.bytes -= message.bytes
  }
}
