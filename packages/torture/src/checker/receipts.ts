import { GrowingBytes, GrowingWords } from "./growing.js"
import type { Stream } from "./stream.js"

/** What one session has received of one stream: about six bytes a message. */
export class Receipts {
  readonly stream: Stream
  /** QoS granted by each matching Subscription of the session. */
  readonly granted: readonly number[]
  /** First copies that were counted. */
  firstCopies = 0
  private readonly firstAt = new GrowingWords()
  private readonly copies = new GrowingBytes()
  private readonly plain = new GrowingBytes()
  /** Largest first copy per publishing connection. */
  private readonly highest = new Map<number, number>()
  /** Last repeat per publishing connection, and the session's connection that it came on. */
  private readonly repeated = new Map<number, { n: number; connection: number }>()

  constructor(stream: Stream, granted: readonly number[]) {
    this.stream = stream
    this.granted = granted
  }

  /** QoS of a delivery: the lower of the published and the highest granted one [MQTT-3.3.5-1]. */
  get qos(): number {
    return Math.min(this.stream.qos, Math.max(...this.granted))
  }

  /** True for a QoS that one of the matching Subscriptions leads to. */
  mayHave(qos: number): boolean {
    return this.granted.some((granted) => Math.min(granted, this.stream.qos) === qos)
  }

  /** Number of the delivery (from 1) that brought message `n` first; 0 when it has not come. */
  arrival(n: number): number {
    return this.firstAt.at(n)
  }

  /** Notes a copy and returns how many have come, and how many of them without DUP. */
  copy(n: number, dup: boolean): { copies: number; plain: number } {
    return { copies: this.copies.increment(n), plain: dup ? this.plain.at(n) : this.plain.increment(n) }
  }

  /** Notes a first copy; false when a later message of the same publishing connection came before it. */
  first(n: number, ordinal: number): boolean {
    this.firstAt.set(n, ordinal)
    this.firstCopies++
    const connection = this.stream.connectionOf(n)
    const highest = this.highest.get(connection) ?? -1
    if (n < highest) return false
    this.highest.set(connection, n)
    return true
  }

  /** Notes a repeat on a connection of the session; false when a later message of the same publishing connection was repeated on it before. */
  repeat(n: number, connection: number): boolean {
    const publishing = this.stream.connectionOf(n)
    const last = this.repeated.get(publishing)
    if (last?.connection === connection && n < last.n) return false
    this.repeated.set(publishing, { n, connection })
    return true
  }

  /** Whether the broker has message `n` once: at QoS 1, one that its publisher sent twice is two. */
  single(n: number): boolean {
    return this.stream.qos === 2 || this.stream.transmissions(n) === 1
  }

  /** Whether a copy may still be on its way, because the publisher sent message `n` more often than it came. */
  mayComeStill(n: number): boolean {
    return !this.single(n) && this.plain.at(n) < this.plainAllowed(n)
  }

  /** Copies without DUP that have a reason: one for each matching Subscription and, at QoS 1, each transmission of the publisher. */
  plainAllowed(n: number): number {
    return this.granted.length * (this.stream.qos === 1 ? this.stream.transmissions(n) : 1)
  }
}
