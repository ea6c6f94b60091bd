import type { Origin } from "../delivery/intake.js"
import type { Delivery } from "../delivery/delivery.js"
import type { Match } from "../delivery/routing/router.js"
import { INCOMING_COST_BYTES } from "../delivery/sessions/costs.js"
import { ACK_SIZE, ackWithReason, writeAck } from "../wire/acknowledgements.js"
import { type Frames, Trait } from "../wire/frames.js"
import { PUBACK, PUBCOMP, PUBREC, type QoS } from "../wire/packet-types.js"
import { PacketError, Reason } from "../wire/reason-codes.js"
import { RECEIVE_MAXIMUM, type ReplyLine } from "./reply-line.js"
import { type WaitingPublisher, WaitingRuns } from "./waiting-runs.js"

/** How long a publisher waits that makes memory grow while it is tight. */
const TIGHT_MS = 200

/** So many open Packet Identifiers of a Session are let, whatever others from there have. */
const FEW_IDENTIFIERS = 100

/** What messages that come in need of their connection. */
export interface PublishingConnection extends Origin, WaitingPublisher {
  readonly v5: boolean
  readonly replies: ReplyLine
  /** Reading waits for the store when too much gathers for it. */
  waitForStore(): void
  /** Reading stands still for so many ms: memory is tight. */
  slowDown(ms: number): void
  /** Messages were not taken: the client may not publish to the topic. */
  refusedMessages(topic: string, messages: number): void
}

/** The messages of one publishing connection on their way into delivery, and their acknowledgements (MQTT 5.0 section 4.3). */
export class Inbound {
  private readonly waiting: WaitingRuns

  constructor(
    private readonly connection: PublishingConnection,
    private readonly delivery: Pick<Delivery, "intake" | "commits" | "retained" | "router">,
  ) {
    const { commits, router } = delivery
    this.waiting = new WaitingRuns(connection, commits, (run, qos, topic) => this.takeNow(run, qos, router.match(topic)))
  }

  /** Delivery takes a run; its acknowledgement waits for the commit where one is needed. Throws a PacketError. */
  readonly take = (run: Frames, qos: QoS, match: Match): void => {
    if (!this.mustWait(run, qos, match)) return this.takeNow(run, qos, match)
    this.waiting.add(run, qos, match.topic)
    if (this.connection.v5) this.checkQuota()
  }

  /** The store has no room for it, or others of this connection wait for that and it would be acknowledged before them. */
  private mustWait(run: Frames, qos: QoS, match: Match): boolean {
    const { commits, intake } = this.delivery
    if (qos > 0 && this.waiting.messages > 0) return true
    if (!intake.needsRoom(run, qos, match)) return false
    return this.waiting.messages > 0 || commits.lacksRoom(run.bytes)
  }

  private takeNow(run: Frames, qos: QoS, match: Match): void {
    const told = qos > 0 && this.connection.v5
    if (!this.mayPublish(match)) this.refuse(run, qos, match)
    else if (told && run.traits & Trait.RETAIN && !this.delivery.retained.fits(run, this.connection.place))
      this.takeWhatFits(run, qos, match)
    else this.takeAll(run, qos, match)
  }

  private mayPublish({ reserved, topic }: Match): boolean {
    return !reserved && this.connection.session?.permissions?.mayWrite(topic) !== false
  }

  /** MQTT 5.0 clients are told where there is an acknowledgement; others are answered as if all were well (section 3.3.5 of 3.1.1). */
  private refuse(run: Frames, qos: QoS, match: Match): void {
    const { session, replies, v5 } = this.connection
    this.connection.refusedMessages(match.topic, run.n)
    if (qos === 1) replies.acknowledge(PUBACK, run, v5 ? Reason.NOT_AUTHORIZED : Reason.SUCCESS, false)
    if (qos !== 2) return
    if (v5) return this.refuseUnknown(run, match)
    this.unknown(run)
    replies.acknowledge(PUBREC, run, Reason.SUCCESS, session?.persistent ?? false)
  }

  /** What was accepted before its right went is answered as it was. */
  private refuseUnknown(run: Frames, match: Match): void {
    const { replies, session } = this.connection
    for (let k = 0; k < run.n; k++) {
      const one = run.only(k)
      if (session?.incoming.has(one.identifierOf(0))) this.takeAll(one, 2, match)
      else replies.acknowledge(PUBREC, one, Reason.NOT_AUTHORIZED, false)
    }
  }

  /** Retained messages beyond the limits: those that find no place are refused, and nothing else is done with them (MQTT 5.0 section 3.4.2.1). */
  private takeWhatFits(run: Frames, qos: QoS, match: Match): void {
    const { place, replies, session } = this.connection
    const { retained } = this.delivery
    for (let k = 0; k < run.n; k++) {
      const one = run.only(k)
      const known = qos === 2 && session?.incoming.has(one.identifierOf(0))
      if (known || retained.fits(one, place)) this.takeAll(one, qos, match)
      else {
        retained.refuse()
        replies.acknowledge(qos === 2 ? PUBREC : PUBACK, one, Reason.QUOTA_EXCEEDED, false)
      }
    }
  }

  private takeAll(run: Frames, qos: QoS, match: Match): void {
    const { connection } = this
    const { intake, commits } = this.delivery
    const { accountant } = connection.place
    const before = accountant.total
    const fresh = qos === 2 ? this.unknown(run) : run
    let durable = commits.isDoubtful || (qos === 2 && (connection.session?.persistent ?? false))
    if (fresh && intake.accept(fresh, qos, match, connection)) durable = true
    if (qos) {
      const reason = connection.v5 && match.to.empty ? Reason.NO_MATCHING_SUBSCRIBERS : Reason.SUCCESS
      connection.replies.acknowledge(qos === 2 ? PUBREC : PUBACK, run, reason, durable)
      if (connection.v5) this.checkQuota()
    }
    if (durable && commits.full) connection.waitForStore()
    if (accountant.isTight && accountant.total > before) connection.slowDown(TIGHT_MS)
  }

  private checkQuota(): void {
    const { replies, session } = this.connection
    if (replies.unacknowledged + this.waiting.messages + (session?.incoming.size ?? 0) <= RECEIVE_MAXIMUM) return
    throw new PacketError(
      Reason.RECEIVE_MAXIMUM_EXCEEDED,
      `more than ${RECEIVE_MAXIMUM} messages without an acknowledgement [MQTT-3.3.4-9]`,
    )
  }

  /**
   * What of a QoS 2 run is new: its identifiers are known from now on, in the store with the gathering commit. A message
   * that is sent again is answered, not delivered [MQTT-4.3.3-10]. Null: nothing is new.
   */
  private unknown(run: Frames): Frames | undefined {
    const { session } = this.connection
    if (!session) return undefined
    if (session.persistent && session.incoming.size > FEW_IDENTIFIERS && !session.tally.mayKeep(run.n * INCOMING_COST_BYTES))
      throw new PacketError(Reason.QUOTA_EXCEEDED, "its open Packet Identifiers of QoS 2 take all the memory that they may")
    let fresh: Frames | undefined = undefined
    for (let k = 0; k < run.n; k++) {
      const identifier = run.identifierOf(k)
      if (session.incoming.has(identifier)) {
        fresh ??= run.slice(0, k)
        continue
      }
      fresh?.append(run, k, k + 1, 0)
      session.incoming.add(identifier)
      if (session.persistent) this.delivery.commits.writeIncoming(session.id, identifier, true)
    }
    return fresh?.n === 0 ? undefined : (fresh ?? run)
  }

  /** PUBREL: the identifier is free again; PUBCOMP leaves when that is stored (section 4.3.3). */
  released(identifier: number): void {
    const { session, replies, v5 } = this.connection
    if (!session) return
    const known = session.incoming.delete(identifier)
    if (known && session.persistent) this.delivery.commits.writeIncoming(session.id, identifier, false)
    const bytes = Buffer.allocUnsafe(ACK_SIZE)
    writeAck(bytes, 0, PUBCOMP, identifier)
    replies.send(known || !v5 ? bytes : ackWithReason(PUBCOMP, identifier, Reason.PACKET_IDENTIFIER_NOT_FOUND), known && session.persistent)
  }
}
