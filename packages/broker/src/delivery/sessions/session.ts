import type { Permissions, Rights } from "../../access/rights/rights.js"
import { ackWithReason, ACK_SIZE, writeAck } from "../../wire/acknowledgements.js"
import { copyBytes, type Frames, Trait } from "../../wire/frames.js"
import { DUP, PacketType, PUBREL, type QoS, qosOf, RETAIN } from "../../wire/packet-types.js"
import { encodeFor, expirySecondsOf, sameTopic, topicOf } from "../../wire/publish.js"
import { protocolError, Reason } from "../../wire/reason-codes.js"
import type { Tally } from "../../accounting/tally.js"
import type { Maybe } from "../../stores/store.js"
import type { BrokerTime } from "../broker-time.js"
import type { Outlet } from "../outlet.js"
import type { Dropped, Dropper, Drops } from "./drops.js"
import type { Peeked } from "./peek.js"
import type { Count } from "./waiting.js"
import { costOfSession, costOfSubscription, INCOMING_COST_BYTES } from "./costs.js"
import { Phase, Window } from "./window.js"

/** Bytes in a socket before a Session stops filling it. */
export const UNSENT_BYTES = 1 << 20
/** The same for QoS 0, which has no queue: beyond it messages are dropped and counted. */
export const UNSENT_BYTES_QOS_0 = 8 << 20
/** The same while memory is tight. */
const UNSENT_BYTES_TIGHT = 65_536
/** Most messages in flight to an MQTT 5.0 client, whatever Receive Maximum it announces. */
const MOST_IN_FLIGHT = 4096
/** From this size on, bytes are sent where they lie instead of copied. */
const LARGE_BYTES = 8192

/** What a client asked for with one Topic Filter (MQTT 5.0 section 3.8.3.1). */
export interface SubscriptionOptions {
  qos: QoS
  noLocal: boolean
  retainAsPublished: boolean
  /** Subscription Identifier, 0: none */
  identifier: number
}

/** How a stretch of messages is sent. */
export interface Sending {
  /** the granted QoS, which caps what was published */
  cap: QoS
  /** QoS 1 messages before this position may have been sent before a crash */
  dupBelow: number
}

/** Keeps what a Session was offered for later. */
export interface Keeper {
  /** The same, which does not change any more. `now`: by the broker's time. */
  keep(given: Frames, now: number): Frames
}

/** What all Sessions share. */
export interface Surroundings {
  /** where it is noted that messages were given up */
  readonly drops: Drops
  readonly time: BrokerTime
  /** The Subscriptions of a Session with an identifier or Retain As Published that match a topic; the router knows them. */
  matching(session: Session, topic: string): readonly SubscriptionOptions[]
}

/**
 * The state of one client, beyond its network connection (MQTT 5.0 section 4.1): Subscriptions, what waits for it, and
 * what is in flight to it and from it.
 */
export abstract class Session implements Dropper {
  readonly subscriptions = new Map<string, SubscriptionOptions>()
  readonly dropped: Dropped = { slow: 0, expired: 0, tooLarge: 0, queueFull: 0, unsubscribed: 0, refused: 0, forbidden: 0, discarded: 0 }
  /** Packet Identifiers of QoS 2 messages from the client whose PUBREL has not come [MQTT-4.3.3-10] */
  readonly incoming = new Set<number>()
  /** the connection that may be written to; undefined: away, or its CONNACK has not left */
  outlet: Outlet | undefined = undefined
  /** A SUBSCRIBE is being answered: what it brings, and the store keeps, comes behind its SUBACK. */
  isQuiet = false
  /** discarded: nothing refers to it any more */
  gone = false
  protected readonly window = new Window(100)
  /** who says what its client may do; undefined: it may do everything */
  private rights: Rights | undefined = undefined
  private allowed: Permissions | undefined = undefined
  private careFor = 0
  private identifiers = false

  /** what of the window and of `incoming` is counted */
  private counted = 0

  readonly clientId: string
  /** unique among all persistent Sessions that ever were; 0: not persistent */
  readonly id: number
  /** to whom it belongs; undefined: nobody, its clients are anonymous */
  private owner: string | undefined

  constructor(
    { id, clientId, user }: { id: number; clientId: string; user?: string | undefined },
    protected readonly surroundings: Surroundings,
    readonly tally: Tally,
  ) {
    this.clientId = clientId
    this.id = id
    this.owner = user
    tally.add("sessions", costOfSession(clientId))
  }

  /** Counts what grew, or shrank, with messages in flight; called after each read. */
  count(): void {
    const bytes = this.window.bytes + this.incoming.size * INCOMING_COST_BYTES
    if (bytes === this.counted) return
    this.tally.add("sessions", bytes - this.counted)
    this.counted = bytes
  }

  get user(): string | undefined {
    return this.owner
  }
  /** What its client may do; undefined: everything. Made when it is asked for: most Sessions of many are away. */
  get permissions(): Permissions | undefined {
    return this.rights && (this.allowed ??= this.rights.permissions(this))
  }

  /** It was nobody's; stored when it is resumed. */
  belongTo(user: string): void {
    this.owner = user
    this.allowed = undefined
  }

  /** From now on these rules count: what waits and may not be read is given up when its turn comes. */
  govern(rights: Rights | undefined): void {
    this.rights = rights
    this.allowed = undefined
  }

  /** Whether the Session outlives its network connection. */
  abstract readonly persistent: boolean
  /** Whether it is discarded when its network connection ends: Session Expiry Interval 0. */
  abstract readonly endsWithConnection: boolean
  /** More waits than a client that reads leaves behind. */
  abstract readonly behind: boolean
  /** Sends what waits, as far as the window and the socket allow. */
  abstract pump(): void
  /** Takes messages at QoS 1 or 2 that reach it by no log: sends them, or keeps them until it can. `publisher`: who waits when they are too many. */
  abstract offer(run: Frames, publisher: Outlet | undefined, variants: Keeper): void
  /** It is new: from now on it is in the store, with the gathering commit, if it is to be kept. */
  begin(): void {}
  /** A CONNECT asks for it again. `expirySeconds`: its Session Expiry Interval, null: never. False: it cannot be resumed. */
  resume(_expirySeconds: number | null): boolean {
    return false
  }
  /**
   * Its network connection ended. `expirySeconds`: as DISCONNECT changed it, undefined: as before. False: it ends with the
   * connection.
   */
  disconnected(_expirySeconds: number | null | undefined): boolean {
    return false
  }
  /** Drops what logs and store have of it. */
  protected drop(): void {}
  /** When its connection ended, by the broker's time; null: it is connected, or ends with its connection. */
  get disconnectedAt(): number | null {
    return null
  }
  /** When it expires, by the broker's time; Infinity: not as long as nothing changes. */
  get expiresAt(): number {
    return Infinity
  }
  /** What will be sent to it, or sent again, and the bytes that its queue takes in the store. */
  async depth(): Promise<Count & { bytes: number }> {
    return { messages: 0, exact: true, bytes: 0 }
  }
  /** What lies in its queue in the store, in order. */
  async *peek(): AsyncGenerator<Peeked> {}
  /** Whether the message at `position` was sent; asked only about messages that are not done. */
  inFlight(_position: number): boolean {
    return false
  }
  /** Skips the oldest of what waits beyond so many bytes in the store. */
  capQueue(_bytes: number): Maybe<void> {}

  /**
   * What is lost when the Session ends now: waits, or is in flight and not acknowledged. `maximumPacketSize`: larger messages
   * do not count.
   */
  abstract countWaiting(maximumPacketSize?: number): Maybe<Count>
  /** Marks an entry of the window done. */
  protected abstract finish(entry: number): void
  /** Sends what must not leave before the window as it is now is stored. */
  protected abstract sendStored(bytes: Buffer): void

  /** CONNACK left: deliver. `receiveMaximum`: most messages in flight. */
  attach(outlet: Outlet, receiveMaximum: number): void {
    this.outlet = outlet
    this.window.limit = Math.min(receiveMaximum, MOST_IN_FLIGHT)
    this.careFor = Trait.EXPIRY | Trait.RETAIN | Trait.QOS2 | (outlet.v5 ? Trait.V3 : Trait.V5)
  }

  detach(): void {
    this.outlet = undefined
    this.isQuiet = false
  }

  /** Nothing refers to it any more: what is stored of it goes with the gathering commit, its queue with release(). */
  discard(): void {
    this.gone = true
    this.detach()
    this.drop()
    for (const filter of this.subscriptions.keys()) this.tally.add("subscriptions", -costOfSubscription(filter))
    this.tally.add("sessions", -costOfSession(this.clientId) - this.counted)
    this.counted = 0
  }

  /** What waited for a discarded Session was counted: its queue goes. */
  release(): void {}

  /** Messages were lost with earlier Sessions of this client. */
  inheritDiscarded(messages: number): void {
    this.dropped.discarded = messages
  }

  /** Makes or replaces a Subscription; of a persistent Session it is in the store with the gathering commit. */
  subscribe(filter: string, options: SubscriptionOptions): void {
    if (!this.subscriptions.has(filter)) this.tally.add("subscriptions", costOfSubscription(filter))
    this.subscriptions.set(filter, options)
    if (options.identifier) this.identifiers = true
  }

  /**
   * Ends a Subscription. What waits only under it is dropped and counted, what is in flight completes. False: it was made anew
   * before that was counted, and stays.
   */
  async unsubscribe(filter: string): Promise<boolean> {
    if (this.subscriptions.delete(filter)) this.tally.add("subscriptions", -costOfSubscription(filter))
    if (this.identifiers) this.identifiers = [...this.subscriptions.values()].some((s) => s.identifier > 0)
    return true
  }

  /**
   * PUBACK, PUBREC or PUBCOMP arrived (sections 4.3.2 and 4.3.3). `failed`: with a reason code that ends the exchange.
   * The caller pumps once it has read all that came. Throws a PacketError when the client is out of turn.
   */
  acknowledge(type: number, identifier: number, failed: boolean): void {
    const entry = this.window.entryOf(identifier)
    const phase = entry < 0 ? -1 : this.window.phaseAt(entry)
    if (failed && entry >= 0 && type !== PacketType.PUBCOMP) this.giveUp("refused", 1)
    if (type === PacketType.PUBACK) {
      if (phase === Phase.PUBLISHED_1 || phase === Phase.ABANDONED) this.finish(entry)
      else if (entry >= 0) throw protocolError("PUBACK for a message of QoS 2")
    } else if (type === PacketType.PUBREC) this.received(entry, phase, { identifier, failed })
    else if (phase === Phase.RELEASED) this.finish(entry)
    else if (entry >= 0) throw protocolError("PUBCOMP without PUBREC")
  }

  private received(entry: number, phase: number, { identifier, failed }: { identifier: number; failed: boolean }): void {
    if (phase === Phase.PUBLISHED_1 || phase === Phase.ABANDONED) throw protocolError("PUBREC for a message of QoS 1")
    if (entry < 0) {
      if (!failed)
        this.outlet?.push(this.outlet.v5 ? ackWithReason(PUBREL, identifier, Reason.PACKET_IDENTIFIER_NOT_FOUND) : pubrel(identifier))
    } else if (failed) this.finish(entry)
    else {
      this.window.release(entry)
      this.sendStored(pubrel(identifier))
    }
  }

  /** QoS 0 messages go out at once or not at all. */
  sendAtOnce(run: Frames, variants: { get(v5: boolean, qos: QoS): Frames }): void {
    const outlet = this.outlet
    if (!outlet) return
    const { unsent } = outlet
    if (unsent > UNSENT_BYTES_TIGHT && unsent > (this.tally.isTight ? UNSENT_BYTES_TIGHT : UNSENT_BYTES_QOS_0)) {
      this.giveUp("slow", run.n)
      return
    }
    const frames = variants.get(outlet.v5, 0)
    if (this.identifiers || frames.traits & Trait.RETAIN || frames.largest > outlet.maximumPacketSize) {
      for (let k = 0; k < frames.n; k++) this.sendWithCare(frames, k, 0, QOS_0_SENDING)
      return
    }
    const size = frames.bytes
    if (size >= LARGE_BYTES) outlet.push(frames.buf.subarray(frames.start, frames.end), frames.receivers)
    else {
      const at = outlet.claim(size)
      copyBytes(frames.buf, outlet.buffer, at, frames.start, frames.end)
    }
  }

  /**
   * Sends what may be read of messages `i` up to `j`, with fresh Packet Identifiers; at QoS 1, when nothing in the block
   * needs care, as one copy with patches. The caller has checked the room.
   */
  protected sendRun(src: Frames, i: number, j: number, sending: Sending): void {
    const { permissions } = this
    if (!permissions) return this.sendAll(src, i, j, sending)
    for (let from = i; from < j;) {
      let to = from + 1
      while (to < j && sameTopic(src, from, to)) to++
      if (permissions.mayRead(topicOf(src, from))) this.sendAll(src, from, to, sending)
      else this.giveUp("forbidden", to - from)
      from = to
    }
  }

  private sendAll(src: Frames, i: number, j: number, sending: Sending): void {
    const outlet = this.outlet
    if (!outlet) return
    if (src.traits & this.careFor || this.identifiers || sending.cap === 0 || src.largest > outlet.maximumPacketSize) {
      for (let k = i; k < j; k++) this.sendWithCare(src, k, src.positionOf(k), sending)
      return
    }
    if (src.largest < LARGE_BYTES) return this.copyOut(src, i, j, sending)
    for (let k = i; k < j; k++) this.copyOut(src, k, k + 1, sending)
  }

  /** Copies messages `i` up to `j` with fresh Packet Identifiers; of one that is large only what stands before its payload. */
  private copyOut(src: Frames, i: number, j: number, sending: Sending): void {
    const outlet = this.outlet
    if (!outlet) return
    const from = src.startOf(i)
    const behind = src.endOf(j - 1)
    const isLarge = j === i + 1 && behind - from >= LARGE_BYTES
    const end = isLarge ? src.identifierAt(i) + 2 : behind
    const at = outlet.claim(end - from)
    const out = outlet.buffer
    copyBytes(src.buf, out, at, from, end)
    const shift = at - from
    for (let k = i; k < j; k++) {
      const position = src.positionOf(k)
      const identifier = this.window.add(position, 1)
      const o = src.identifierAt(k) + shift
      out[o] = identifier >> 8
      out[o + 1] = identifier
      if (position < sending.dupBelow) out[src.startOf(k) + shift] = src.headerOf(k) | DUP
    }
    if (isLarge) outlet.push(src.buf.subarray(end, behind), src.receivers)
  }

  /** Sends one message that a plain copy does not serve. */
  private sendWithCare(src: Frames, k: number, position: number, { cap, dupBelow }: Sending): void {
    const qos = capped(src, k, cap)
    const bytes = this.encode(src, k, { qos, dup: qos === 1 && position < dupBelow })
    if (!bytes) return
    if (qos) patchIdentifier(bytes, this.window.add(position, qos))
    if (qos === 2) this.sendStored(bytes)
    else this.outlet?.push(bytes)
  }

  /** The packet with Packet Identifier 0, undefined when it must not be sent: expired or too large, which is counted. */
  protected encode(src: Frames, k: number, { qos, dup }: { qos: QoS; dup: boolean }): Buffer | undefined {
    const outlet = this.outlet
    if (!outlet) return undefined
    const waitedSeconds = src.traits & Trait.EXPIRY && src.createdAt ? this.surroundings.time.secondsSince(src.createdAt) : 0
    // what was sent before must be completed [MQTT-4.3.3-7]
    if (!dup && expirySecondsOf(src, k) <= waitedSeconds) {
      this.giveUp("expired", 1)
      return undefined
    }
    const retain = (src.headerOf(k) & RETAIN) === RETAIN
    const matching = this.identifiers || retain ? this.surroundings.matching(this, topicOf(src, k)) : NO_OPTIONS
    const bytes = encodeFor(src, k, {
      v5: outlet.v5,
      qos,
      identifier: 0,
      dup,
      retain: retain && (src.isKept(k) || matching.some((s) => s.retainAsPublished)),
      waitedSeconds,
      subscriptionIdentifiers: outlet.v5 ? matching.filter((s) => s.identifier).map((s) => s.identifier) : undefined,
    })
    if (bytes.length <= outlet.maximumPacketSize) return bytes
    this.giveUp("tooLarge", 1)
    return undefined
  }

  /** Messages are not delivered: counted here, and in the log soon. */
  giveUp(why: keyof Dropped, messages: number): void {
    this.dropped[why] += messages
    this.surroundings.drops.note(this)
  }
}

/** The QoS at which a message is delivered: as published, at most as granted [MQTT-3.8.4-8]. */
function capped(src: Frames, k: number, cap: QoS): QoS {
  const published = qosOf(src.headerOf(k))
  return published < cap ? published : cap
}

/** Writes the identifier into a packet that encode() made: behind the topic, whatever the length field takes. */
export function patchIdentifier(bytes: Buffer, identifier: number): void {
  let lengthBytes = 1
  while ((bytes[lengthBytes] ?? 0) > 127) lengthBytes++
  const topicAt = 1 + lengthBytes
  bytes.writeUInt16BE(identifier, topicAt + 2 + bytes.readUInt16BE(topicAt))
}

export function pubrel(identifier: number): Buffer {
  const bytes = Buffer.allocUnsafe(ACK_SIZE)
  writeAck(bytes, 0, PUBREL, identifier)
  return bytes
}

const QOS_0_SENDING: Sending = { cap: 0, dupBelow: 0 }
const NO_OPTIONS: SubscriptionOptions[] = []
