import type { Access } from "../access/access.js"
import type { Discarded } from "../delivery/sessions/sessions.js"
import type { Delivery } from "../delivery/delivery.js"
import type { Dropper } from "../delivery/sessions/drops.js"
import type { Session } from "../delivery/sessions/session.js"
import type { Engine } from "../engine/aedes.js"
import type { ProtocolVersion } from "../wire/packet-types.js"
import type { ReasonCode } from "../wire/reason-codes.js"
import type { Clients } from "./clients.js"
import type { Clock } from "./keep-alive.js"
import type { Limits } from "./limits.js"
import type { TellTight } from "./relief.js"
import type { PublishReader } from "./publish-reader.js"

/** A network connection, as the log tells of it. */
export interface ConnectionFacts {
  /** empty until its CONNECT was accepted */
  readonly clientId: string
  /** who its CONNECT says it is; once the login is accepted, who it is; undefined before CONNECT */
  readonly claims: { readonly clientId: string; readonly user: string | undefined } | undefined
  /** address and port of the other side */
  readonly remote: string
  readonly version: ProtocolVersion
  readonly session: Session | undefined
  /** a CONNECT came */
  readonly greeted: boolean
  /** the CONNECT has the bit of a bridge of MQTT 3.1 or 3.1.1 */
  readonly bridge: boolean
}

/** What the broker says about one connection. */
export interface ConnectionLog {
  connected(connection: ConnectionFacts): void
  /** `reason` is undefined when the client left, with or without a DISCONNECT */
  closed(connection: ConnectionFacts, reason: ReasonCode | undefined, message: string): void
  /** something was not done as this client asked */
  notice(clientId: string, message: string): void
  /** a message was not taken: the client may not publish to the topic; `refused`: how many of this connection, this one included */
  refusedMessages(connection: ConnectionFacts, topic: string, refused: number): void
  /** a Topic Filter was refused, with this code of SUBACK */
  refusedSubscription(session: Pick<Session, "clientId" | "user">, filter: string, code: number): void
  /** several connections keep taking one Client Identifier from each other */
  fight(clientId: string): void
  /** messages of these Sessions were given up since the last call */
  dropped(sessions: Iterable<Dropper>): void
  /** memory is tight: publishers wait, and clients may be closed */
  tight: TellTight
  /** a Will was not sent: its user lost the right to publish to its topic */
  forbiddenWill(clientId: string, topic: string): void
  /** messages were lost with a Session */
  discarded(lost: Discarded): void
}

/** What all connections share. */
export interface Context {
  readonly access: Access
  readonly delivery: Delivery
  readonly engine: Engine
  readonly limits: Limits
  readonly clock: Clock
  readonly runs: PublishReader
  readonly log: ConnectionLog
  readonly clients: Clients
}
