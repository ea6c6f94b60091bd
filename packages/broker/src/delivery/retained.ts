import { Frames } from "../wire/frames.js"
import { type QoS, qosOf } from "../wire/packet-types.js"
import { expirySecondsOf, payloadOf, topicOf } from "../wire/publish.js"
import { type Due, DueQueue } from "./due-queue.js"
import type { GroupCommit } from "./group-commit.js"

/** Bounds on retained messages, all topics together. */
export interface RetainedLimits {
  count: number
  bytes: number
}

/** A retained message; a newer one takes its place. */
export class RetainedMessage {
  /** another message, or none, has taken its place */
  replaced = false
  /** when it expires; null: never */
  due: Due<RetainedMessage> | null = null

  /**
   * @param value a sealed block of this one message, as it was published: there may be a million of them
   * @param sequence counts the changes of all retained messages since the broker started
   */
  constructor(
    readonly number: number,
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

class Node {
  children: Map<string, Node> | null = null
  message: RetainedMessage | null = null
}

/**
 * The last message with RETAIN 1 of each topic (MQTT 5.0 section 3.3.1.3), in a tree of topic levels: finding one
 * topic, or those of a filter, does not look at the others.
 */
export class Retained {
  private readonly root = new Node()
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
      const old = this.find(topic)
      if ((old || this.count < this.limits.count) && this.bytes + size - (old?.bytes ?? 0) <= this.limits.bytes) return true
      if (!this.removeExpired(Date.now())) return false
    }
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
    const old = this.find(topic)
    if (!fits || !payloadOf(run, k).length) {
      if (!fits) this.refused++
      if (old) this.remove(topic, old)
      return fits || old !== null
    }
    const frames = run.only(k)
    frames.createdAt = Date.now()
    frames.markKept(0)
    const number = old?.number ?? this.commits.number()
    const value = frames.seal()
    this.commits.writeRetained(number, value)
    this.put(topic, new RetainedMessage(number, value, ++this.sequence), frames)
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
  load(stored: { number: number; value: Buffer }[]): void {
    for (const { number, value } of stored) {
      const message = new RetainedMessage(number, Buffer.from(value), 0)
      const { frames } = message
      this.put(topicOf(frames, 0), message, frames)
    }
    this.expire(Date.now())
  }

  /** The retained messages whose topics match a filter. Those that expired are left out and removed. */
  *match(filter: string): Generator<RetainedMessage> {
    for (const message of this.walk(this.root, filter.split("/"), 0)) {
      if (message.replaced) continue
      if (!message.due || message.due.at > Date.now()) yield message
      else this.remove(topicOf(message.frames, 0), message)
    }
  }

  private *walk(node: Node, levels: string[], depth: number): Generator<RetainedMessage> {
    const level = levels[depth]
    if (level === undefined) {
      if (node.message) yield node.message
    } else if (level === "#") {
      yield* this.below(node, depth === 0)
    } else if (level !== "+") {
      const child = node.children?.get(level)
      if (child) yield* this.walk(child, levels, depth + 1)
    } else {
      for (const [name, child] of node.children ?? NO_CHILDREN)
        if (depth || !name.startsWith("$")) yield* this.walk(child, levels, depth + 1)
    }
  }

  /** A node and all below it; topics that begin with $ are not matched by a leading wildcard [MQTT-4.7.2-1]. */
  private *below(node: Node, first: boolean): Generator<RetainedMessage> {
    if (node.message) yield node.message
    for (const [name, child] of node.children ?? NO_CHILDREN) if (!first || !name.startsWith("$")) yield* this.below(child, false)
  }

  private find(topic: string): RetainedMessage | null {
    let node: Node | undefined = this.root
    for (const level of topic.split("/")) {
      node = node.children?.get(level)
      if (!node) return null
    }
    return node.message
  }

  private put(topic: string, message: RetainedMessage, frames: Frames): void {
    let node = this.root
    for (const level of topic.split("/")) {
      node.children ??= new Map()
      let child = node.children.get(level)
      if (!child) node.children.set(level, (child = new Node()))
      node = child
    }
    if (node.message) this.forget(node.message)
    node.message = message
    const seconds = expirySecondsOf(frames, 0)
    if (seconds !== Infinity) message.due = this.expiring.add(frames.createdAt + seconds * 1000, message)
    this.count++
    this.bytes += message.bytes
  }

  private remove(topic: string, message: RetainedMessage): void {
    const path = [this.root]
    const levels = topic.split("/")
    for (const level of levels) {
      const child = path.at(-1)?.children?.get(level)
      if (!child) return
      path.push(child)
    }
    const leaf = path.at(-1)
    if (leaf?.message !== message) return
    leaf.message = null
    this.forget(message)
    this.commits.writeRetained(message.number, null)
    for (let depth = levels.length; depth > 0; depth--) {
      const node = path[depth]
      if (!node || node.message || node.children?.size) return
      path[depth - 1]?.children?.delete(levels[depth - 1] ?? "")
    }
  }

  private forget(message: RetainedMessage): void {
    message.replaced = true
    if (message.due) this.expiring.remove(message.due)
    this.count--
    this.bytes -= message.bytes
  }
}

const NO_CHILDREN = new Map<string, Node>()
