import { topicMatches } from "@mqtt-trio/common"
import { AnomalyLog, type Anomaly, type AnomalyKind } from "./anomaly.js"
import { CheckedSession, type GrantedFilter } from "./checked-session.js"
import { Receipts } from "./receipts.js"
import { Stream, type StreamDefinition } from "./stream.js"

/** A PUBLISH as a receiver got it. `stream` and `n` come from its payload; `payloadIntact` is true unless stated. */
export interface ReceivedCopy {
  stream: number
  n: number
  topic: string
  qos: number
  dup: boolean
  /** Absent where the client hides it: then nothing is checked about identifiers and protocol redelivery. */
  packetId?: number | undefined
  payloadIntact?: boolean
}

/** What a history amounts to. `repeats` (QoS 1) and `overlapCopies` are allowed by the standard; everything in `anomalies` is not. */
export interface Verdict {
  clean: boolean
  published: number
  acknowledged: number
  deliveries: number
  /** Messages delivered for the first time, summed over the sessions. */
  firstCopies: number
  /** Acknowledged messages times the sessions that must get them. */
  expected: number
  /** Later copies at QoS 1. */
  repeats: number
  /** Copies that further matching Subscriptions of the same session account for [MQTT-3.3.5-1]. */
  overlapCopies: number
  anomalies: Anomaly[]
}

/**
 * The one checker: takes what publishers sent, what was acknowledged and what persistent sessions received, in the order in which it happened,
 * and finds what breaks the promise. All sessions must be added, and subscribed, before the first message of a stream that they match.
 * Memory: about two bytes a message and six a message and matching session; histories are kept for the first anomaly of each kind only.
 */
export class Checker {
  private readonly streams: Stream[] = []
  private readonly sessions: CheckedSession[] = []
  private readonly log = new AnomalyLog()
  private deliveries = 0
  private firstCopies = 0
  private repeats = 0
  private overlapCopies = 0
  private outstandingPairs = 0
  private brokerLife = 0
  private completed = false

  /** Adds a stream; its number is what payloads carry. */
  addStream(definition: StreamDefinition): number {
    const stream = new Stream(this.streams.length, definition)
    this.streams.push(stream)
    for (const session of this.sessions) match(session, stream)
    return stream.id
  }

  /** Adds a persistent session with its Subscriptions as granted; returns its number. */
  addSession(name: string, filters: readonly GrantedFilter[]): number {
    const session = new CheckedSession(name, filters)
    for (const stream of this.streams) match(session, stream)
    return this.sessions.push(session) - 1
  }

  /** Message `n` of a stream leaves on a publishing connection, for the first time or again. */
  published(stream: number, n: number, connection: number): void {
    this.streams[stream]?.transmitted(n, connection)
  }

  /** PUBACK at QoS 1, PUBREC at QoS 2: from here on the broker answers for the message. */
  acknowledged(stream: number, n: number): void {
    const known = this.streams[stream]
    if (!known?.acknowledge(n)) return
    for (const receipts of known.receipts) if (receipts.arrival(n) === 0) this.outstandingPairs++
  }

  /** CONNACK for a session that exists since `addSession`. */
  connected(session: number, sessionPresent: boolean): void {
    const known = this.sessions[session]
    if (!known) throw new RangeError(`no session ${session}`)
    known.connections++
    if (known.brokerLife !== this.brokerLife) known.forgetQos1()
    known.brokerLife = this.brokerLife
    if (sessionPresent) return
    known.held.clear()
    this.log.report("sessionLost", () => [
      `session "${known.name}": Session Present 0 on connection ${known.connections}`,
      ...known.history(this.streams),
    ])
  }

  /** The receiver's PUBACK or PUBCOMP leaves: the identifier is free. */
  released(session: number, packetId: number): void {
    this.sessions[session]?.held.delete(packetId)
  }

  /** The broker was killed or stopped and has not been started again. What its connections still bring belongs to its life. */
  brokerEnded(): void {
    this.brokerLife++
  }

  /** Every acknowledgement was processed and every queue is empty: whatever comes from here on is left over. */
  complete(): void {
    this.completed = true
  }

  /** Deliveries so far, redeliveries included. */
  get deliveryCount(): number {
    return this.deliveries
  }

  /** Notes something that other parts found, e.g. a broker that stalls. */
  report(kind: AnomalyKind, history: readonly string[]): void {
    this.log.report(kind, () => [...history])
  }

  /** Acknowledged messages that a session still waits for, summed over the sessions. */
  get outstanding(): number {
    return this.outstandingPairs
  }

  /** A PUBLISH reached a session. */
  delivered(session: number, delivery: ReceivedCopy): void {
    const known = this.sessions[session]
    if (!known) throw new RangeError(`no session ${session}`)
    this.deliveries++
    this.remember(known, delivery)
    const receipts = this.receiptsOf(known, delivery)
    if (!receipts) return
    if (delivery.topic !== receipts.stream.topic || !receipts.mayHave(delivery.qos) || delivery.payloadIntact === false) {
      this.anomaly("altered", known, delivery, `came on "${delivery.topic}" at QoS ${delivery.qos}, expected QoS ${receipts.qos}`)
    }
    if (delivery.packetId === 0 && delivery.qos > 0) this.anomaly("altered", known, delivery, "came with Packet Identifier 0")
    if (delivery.dup && known.connections === 1 && this.brokerLife === 0 && receipts.arrival(delivery.n) === 0)
      this.anomaly("dupUnfounded", known, delivery, "was never sent before, and came with DUP")
    if (delivery.dup && receipts.arrival(delivery.n) > 0 && known.connections > 0) this.repeated(known, receipts, delivery)
    if (this.completed && !receipts.mayComeStill(delivery.n))
      this.anomaly("leftOver", known, delivery, "came after everything was acknowledged")
    if (this.hold(known, delivery)) this.count(known, receipts, delivery)
  }

  /** Messages that there are several copies of may come again in any order: those that their publisher sent again, and a copy for each Topic Filter. */
  private repeated(session: CheckedSession, receipts: Receipts, delivery: ReceivedCopy): void {
    if (receipts.granted.length > 1 || !receipts.single(delivery.n)) return
    if (!receipts.repeat(delivery.n, session.connections))
      this.anomaly(
        "repeatedOutOfOrder",
        session,
        delivery,
        "came again after a later message of the same publishing connection had come again",
      )
  }

  /** The verdict on what was added so far. Looks for what is missing: time grows with messages times sessions. */
  verdict(): Verdict {
    let expected = 0
    const missing = this.streams.flatMap((stream) => {
      expected += stream.acknowledgedCount * stream.receipts.length
      return this.sessions.flatMap((session) => this.missingOf(session, stream))
    })
    const log = new AnomalyLog()
    for (const { count, history } of missing) log.report("missing", history, count)
    const anomalies = [...log.list(), ...this.log.list()]
    const { deliveries, firstCopies, repeats, overlapCopies } = this
    const published = this.streams.reduce((sum, stream) => sum + stream.published, 0)
    const acknowledged = this.streams.reduce((sum, stream) => sum + stream.acknowledgedCount, 0)
    return { clean: anomalies.length === 0, published, acknowledged, deliveries, firstCopies, expected, repeats, overlapCopies, anomalies }
  }

  private remember(session: CheckedSession, delivery: ReceivedCopy): void {
    const { stream, n, dup, packetId = 0 } = delivery
    session.recent.add({ ordinal: ++session.deliveries, connection: session.connections, packetId, dup, stream, n })
  }

  private receiptsOf(session: CheckedSession, delivery: ReceivedCopy): Receipts | undefined {
    const stream = this.streams[delivery.stream]
    const receipts = session.receipts.get(delivery.stream)
    const published = stream && Number.isInteger(delivery.n) && delivery.n >= 0 && delivery.n < stream.published
    if (receipts && published) return receipts
    const why = published ? "matches no Subscription of the session" : "was never published"
    this.log.report("stray", () => [
      `session "${session.name}": a message on "${delivery.topic}" ${why} (stream ${delivery.stream}, message ${delivery.n})`,
      ...session.history(this.streams),
    ])
    return undefined
  }

  /** Notes the Packet Identifier as in flight; false for a QoS 2 redelivery that the receiver recognises and does not count. */
  private hold(session: CheckedSession, delivery: ReceivedCopy): boolean {
    const { packetId, stream, n, qos, dup } = delivery
    if (packetId === undefined || qos === 0) return true
    const held = session.held.get(packetId)
    session.held.set(packetId, { stream, n, qos })
    if (!held) return true
    if (held.stream !== stream || held.n !== n) {
      const before = this.streams[held.stream]?.describe(held.n) ?? "an unknown message"
      this.anomaly("identifierReused", session, delivery, `has identifier ${packetId}, which is in flight with ${before}`)
      return true
    }
    if (!dup) this.anomaly("dupMissing", session, delivery, `was delivered again with identifier ${packetId} and without DUP`)
    return qos !== 2
  }

  private count(session: CheckedSession, receipts: Receipts, delivery: ReceivedCopy): void {
    const { n, dup } = delivery
    const { copies, plain } = receipts.copy(n, dup)
    if (receipts.arrival(n) === 0) return this.countFirst(session, receipts, delivery)
    if (plain > receipts.plainAllowed(n)) {
      this.anomaly("dupMissing", session, delivery, `came ${plain} times without DUP`)
    }
    if (!dup && receipts.single(n) && copies <= receipts.granted.length) this.overlapCopies++
    else if (delivery.qos === 2) this.anomaly("deliveredTwice", session, delivery, `came first with delivery ${receipts.arrival(n)}`)
    else this.repeats++
  }

  private countFirst(session: CheckedSession, receipts: Receipts, delivery: ReceivedCopy): void {
    this.firstCopies++
    if (receipts.stream.isAcknowledged(delivery.n)) this.outstandingPairs--
    if (!receipts.first(delivery.n, session.deliveries)) {
      this.anomaly("outOfOrder", session, delivery, "came after a later message of the same publishing connection")
    }
  }

  private anomaly(kind: AnomalyKind, session: CheckedSession, delivery: ReceivedCopy, what: string): void {
    this.log.report(kind, () => [
      `session "${session.name}": ${this.streams[delivery.stream]?.describe(delivery.n) ?? "an unknown message"}; it ${what}`,
      ...session.history(this.streams),
    ])
  }

  private missingOf(session: CheckedSession, stream: Stream): { count: number; history: () => string[] }[] {
    const receipts = session.receipts.get(stream.id)
    if (!receipts || receipts.firstCopies >= stream.published) return []
    const lost: number[] = []
    let count = 0
    for (let n = 0; n < stream.published; n++) {
      if (receipts.arrival(n) > 0 || !stream.isAcknowledged(n)) continue
      if (count++ === 0) lost.push(n)
    }
    const [first] = lost
    if (first === undefined) return []
    const neighbour = (n: number): string => (n < 0 || n >= stream.published ? "does not exist" : arrivalText(receipts.arrival(n)))
    const history = (): string[] => [
      `session "${session.name}": ${stream.describe(first)}; it never came (${count} such in this stream)`,
      `  message ${first - 1} ${neighbour(first - 1)}; message ${first + 1} ${neighbour(first + 1)}`,
      ...session.history(this.streams),
    ]
    return [{ count, history }]
  }
}

function arrivalText(ordinal: number): string {
  return ordinal === 0 ? "did not come either" : `came with delivery ${ordinal}`
}

function match(session: CheckedSession, stream: Stream): void {
  const granted = session.filters.filter(({ filter }) => topicMatches(filter, stream.topic)).map(({ qos }) => qos)
  if (granted.length === 0 || Math.max(...granted) === 0) return
  const receipts = new Receipts(stream, granted)
  session.receipts.set(stream.id, receipts)
  stream.receipts.push(receipts)
}
