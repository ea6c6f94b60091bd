import { GrowingBytes } from "./growing.js"

/** QoS of a message whose delivery is promised. */
export type StoredQos = 1 | 2

/** The messages of one publisher on one topic at one QoS. Their order is what the standard promises. */
export interface StreamDefinition {
  publisher: string
  topic: string
  qos: StoredQos
}

/** What one session has received of a stream. */
export interface Arrivals {
  /** Number of the delivery (from 1) that brought message `n` first; 0 when it has not come. */
  arrival(n: number): number
}

const ACKNOWLEDGED = 0x80
const TRANSMISSIONS = 0x7f

/** What is known about the messages of a stream; message `n` counts from 0. Two bytes a message at most. */
export class Stream {
  readonly id: number
  readonly publisher: string
  readonly topic: string
  readonly qos: StoredQos
  /** Messages that were transmitted at least once. */
  published = 0
  acknowledgedCount = 0
  /** One for each session with a matching Subscription. */
  readonly receipts: Arrivals[] = []
  private readonly states = new GrowingBytes()
  /** First message of each publishing connection, ascending. */
  private readonly starts: { connection: number; from: number }[] = []

  constructor(id: number, definition: StreamDefinition) {
    this.id = id
    this.publisher = definition.publisher
    this.topic = definition.topic
    this.qos = definition.qos
  }

  /** Notes a transmission; the first one decides to which publishing connection the message belongs. */
  transmitted(n: number, connection: number): void {
    if (n >= this.published) {
      this.published = n + 1
      if (this.starts.at(-1)?.connection !== connection) this.starts.push({ connection, from: n })
    }
    const state = this.states.at(n)
    if ((state & TRANSMISSIONS) < TRANSMISSIONS) this.states.set(n, state + 1)
  }

  /** Returns false when it was acknowledged before. */
  acknowledge(n: number): boolean {
    if (this.isAcknowledged(n)) return false
    this.states.set(n, this.states.at(n) | ACKNOWLEDGED)
    this.acknowledgedCount++
    return true
  }

  isAcknowledged(n: number): boolean {
    return (this.states.at(n) & ACKNOWLEDGED) !== 0
  }

  /** How often the publisher sent message `n`. */
  transmissions(n: number): number {
    return this.states.at(n) & TRANSMISSIONS
  }

  /** Number of the publishing connection on which message `n` was sent first. */
  connectionOf(n: number): number {
    let low = 0
    let high = this.starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.starts[middle]?.from ?? 0) <= n) low = middle
      else high = middle - 1
    }
    return this.starts[low]?.connection ?? 0
  }

  /** One line for a person. */
  describe(n: number): string {
    const sent = `sent ${this.transmissions(n)} time(s), first on connection ${this.connectionOf(n)}`
    const state = this.isAcknowledged(n) ? "acknowledged" : "not acknowledged"
    return `message ${n} of "${this.publisher}" on "${this.topic}" at QoS ${this.qos}: ${sent}, ${state}`
  }
}
