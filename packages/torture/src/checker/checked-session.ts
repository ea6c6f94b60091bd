import { RecentDeliveries } from "./recent.js"
import type { Receipts } from "./receipts.js"
import type { Stream } from "./stream.js"

/** A Subscription as it was granted in the SUBACK. */
export interface GrantedFilter {
  filter: string
  qos: number
}

/** A message whose Packet Identifier is in use: received, and the receiver has not completed it. */
export interface HeldMessage {
  stream: number
  n: number
  qos: number
}

/** What the checker knows about one persistent session. */
export class CheckedSession {
  readonly name: string
  readonly filters: readonly GrantedFilter[]
  /** Which life of the broker the session was last connected to. */
  brokerLife = 0
  /** Connections of the session so far. */
  connections = 0
  /** Deliveries so far, redeliveries included. */
  deliveries = 0
  readonly receipts = new Map<number, Receipts>()
  readonly held = new Map<number, HeldMessage>()
  readonly recent = new RecentDeliveries()

  constructor(name: string, filters: readonly GrantedFilter[]) {
    this.name = name
    this.filters = filters
  }

  /** The broker died: it may give identifiers of QoS 1 anew, not those of QoS 2. */
  forgetQos1(): void {
    for (const [packetId, message] of this.held) if (message.qos === 1) this.held.delete(packetId)
  }

  /** The last deliveries, a line each. */
  history(streams: readonly Stream[]): string[] {
    const lines = this.recent.list().map((entry) => {
      const stream = streams[entry.stream]
      const where = stream ? `"${stream.publisher}" on "${stream.topic}"` : "an unknown publisher"
      const id = entry.packetId > 0 ? ` identifier ${entry.packetId}` : ""
      return `  delivery ${entry.ordinal}, connection ${entry.connection}:${id}${entry.dup ? " DUP" : ""} message ${entry.n} of ${where}`
    })
    return [`last deliveries to session "${this.name}":`, ...lines]
  }
}
