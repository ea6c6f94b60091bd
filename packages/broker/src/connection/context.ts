import type { Session } from "../delivery/session.js"
import type { Discarded } from "../delivery/sessions.js"
import type { Delivery } from "../delivery/delivery.js"
import type { Engine } from "../engine/aedes.js"
import type { ReasonCode } from "../wire/reason-codes.js"
import type { Connection } from "./connection.js"
import type { Clock } from "./keep-alive.js"
import type { Takeovers } from "./takeovers.js"
import type { PublishReader } from "./publish-reader.js"

/** Bounds on what a client may do. */
export interface Limits {
  /** most bytes of a packet, fixed header included; MQTT 5.0 clients learn it as Maximum Packet Size */
  packetBytes: number
  /** the same before CONNECT is accepted */
  firstPacketBytes: number
  /** ms from the connection to its CONNECT */
  connectTimeoutMs: number
  /** most unacknowledged messages to a client of MQTT 3.1 or 3.1.1 */
  inflight: number
  /** most connections with a Session */
  connections: number
  /** most Sessions, connected or not */
  sessions: number
  /** most Subscriptions of one Session */
  subscriptions: number
  /** most levels of a Topic Name or Topic Filter */
  topicLevels: number
}

/** What the broker says about one connection. */
export interface ConnectionLog {
  connected(connection: Connection): void
  /** `reason` is null when the client left, with or without a DISCONNECT */
  closed(connection: Connection, reason: ReasonCode | null, message: string): void
  /** something was not done as this client asked */
  notice(clientId: string, message: string): void
  /** several connections keep taking one Client Identifier from each other */
  fight(clientId: string): void
  /** messages of these Sessions were given up since the last call */
  dropped(sessions: Iterable<Session>): void
  /** messages were lost with a Session */
  discarded(lost: Discarded): void
}

/** What all connections share. */
export interface Context {
  readonly delivery: Delivery
  readonly engine: Engine
  readonly limits: Limits
  readonly clock: Clock
  readonly reader: PublishReader
  readonly log: ConnectionLog
  readonly takeovers: Takeovers
  /** connections with a Session, by Client Identifier: one each */
  readonly clients: Map<string, Connection>
  /** every connection, accepted or not */
  readonly open: Set<Connection>
}
