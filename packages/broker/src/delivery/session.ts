import { copyBytes, type Frames, Trait } from "../wire/frames.js"
import { DUP, type QoS } from "../wire/packet-types.js"
import { encodeFor, expirySecondsOf, topicOf } from "../wire/publish.js"
import type { Outlet } from "./outlet.js"
import { topicMatches } from "@mqtt-trio/common"
import { Window } from "./window.js"

/** Bytes in a socket before a Session stops filling it. */
export const UNSENT = 1 << 20
/** The same for QoS 0, which has no queue: beyond it messages are dropped and counted. */
export const UNSENT_QOS_0 = 8 << 20
/** Most messages in flight to an MQTT 5.0 client, whatever Receive Maximum it announces. */
const MOST_IN_FLIGHT = 4096

/** What a client asked for with one Topic Filter (MQTT 5.0 section 3.8.3.1). */
export interface SubscriptionOptions {
  qos: QoS
  noLocal: boolean
  retainAsPublished: boolean
  /** Subscription Identifier, 0: none */
  identifier: number
}

/** Messages that were given up, by reason. */
export interface Dropped {
  /** QoS 0 to a client that reads too slowly */
  slow: number
  /** Message Expiry Interval ran out */
  expired: number
  /** larger than the client's Maximum Packet Size */
  tooLarge: number
}

/** How a message that a plain copy does not serve is sent. */
export interface Care {
  qos: QoS
  dup: boolean
}

/**
 * The state of one client, beyond its network connection (MQTT 5.0 section 4.1): Subscriptions, what waits for it, and
 * what is in flight to it.
 */
export abstract class Session {
  readonly subscriptions = new Map<string, SubscriptionOptions>()
  readonly dropped: Dropped = { slow: 0, expired: 0, tooLarge: 0 }
  /** the connection that may be written to; null: away, or its CONNACK has not left */
  outlet: Outlet | null = null
  /** discarded: nothing refers to it any more */
  gone = false
  protected readonly window = new Window(100)
  private careFor = 0
  private identifiers = false

  constructor(
    readonly clientId: string,
    /** unique among all Sessions that ever were */
    readonly number: number,
  ) {}

  /** Whether the Session outlives its network connection. */
  abstract readonly persistent: boolean
  /** Sends what waits, as far as the window and the socket allow. */
  abstract pump(): void
  /** The window moved on. */
  protected abstract advanced(): void

  /** CONNACK left: deliver. `receiveMaximum`: most messages in flight. */
  attach(outlet: Outlet, receiveMaximum: number): void {
    this.outlet = outlet
    this.window.limit = Math.min(receiveMaximum, MOST_IN_FLIGHT)
    this.careFor = Trait.EXPIRY | Trait.RETAIN | (outlet.v5 ? Trait.V3 : Trait.V5)
  }

  detach(): void {
    this.outlet = null
  }

  subscribe(filter: string, options: SubscriptionOptions): void {
    this.subscriptions.set(filter, options)
    if (options.identifier) this.identifiers = true
  }

  unsubscribe(filter: string): void {
    this.subscriptions.delete(filter)
    if (this.identifiers) this.identifiers = [...this.subscriptions.values()].some((s) => s.identifier > 0)
  }

  /** PUBACK arrived. The caller pumps once it has read all that came. */
  acknowledge(identifier: number): void {
    if (this.window.acknowledge(identifier)) this.advanced()
  }

  /** QoS 0 messages go out at once or not at all. */
  sendAtOnce(run: Frames, variants: { get(v5: boolean, qos: QoS): Frames }): void {
    const outlet = this.outlet
    if (!outlet) return
    if (outlet.unsent > UNSENT_QOS_0) {
      this.dropped.slow += run.n
      return
    }
    const frames = variants.get(outlet.v5, 0)
    if (this.identifiers || frames.traits & Trait.RETAIN || frames.largest > outlet.maximumPacketSize) {
      for (let k = 0; k < frames.n; k++) this.sendWithCare(frames, k, 0, { qos: 0, dup: false })
      return
    }
    const size = frames.bytes
    if (size >= LARGE) outlet.push(frames.buf.subarray(frames.start, frames.end))
    else {
      const at = outlet.claim(size)
      copyBytes(frames.buf, outlet.block, at, frames.start, frames.end)
    }
  }

  /**
   * Sends messages `i` up to `j` at QoS 1 with fresh Packet Identifiers: one copy, patched.
   * `dupBelow`: messages before this position may have been sent before a crash. The caller has checked the room.
   */
  protected sendRun(src: Frames, i: number, j: number, care: { qos: QoS; dupBelow: number }): void {
    const outlet = this.outlet
    if (!outlet) return
    if (src.traits & this.careFor || this.identifiers || care.qos !== 1 || src.largest > outlet.maximumPacketSize) {
      for (let k = i; k < j; k++) {
        const position = src.positionOf(k)
        this.sendWithCare(src, k, position, { qos: care.qos, dup: position < care.dupBelow })
      }
      return
    }
    const from = src.startOf(i)
    const size = src.endOf(j - 1) - from
    const at = outlet.claim(size)
    const out = outlet.block
    copyBytes(src.buf, out, at, from, from + size)
    const shift = at - from
    for (let k = i; k < j; k++) {
      const position = src.positionOf(k)
      const identifier = this.window.add(position)
      const o = src.identifierAt(k) + shift
      out[o] = identifier >> 8
      out[o + 1] = identifier
      if (position < care.dupBelow) out[src.startOf(k) + shift] = src.headerOf(k) | DUP
    }
  }

  /** Sends one message that a plain copy does not serve; expired and too large ones are dropped and counted. */
  private sendWithCare(src: Frames, k: number, position: number, care: Care): void {
    const bytes = this.encode(src, k, care)
    if (!bytes) return
    if (care.qos) this.patchIdentifier(bytes, this.window.add(position))
    this.outlet?.push(bytes)
  }

  /** The packet with Packet Identifier 0, null when it must not be sent. */
  protected encode(src: Frames, k: number, care: Care): Buffer | null {
    const outlet = this.outlet
    if (!outlet) return null
    const waitedSeconds = src.traits & Trait.EXPIRY && src.createdAt ? Math.floor((Date.now() - src.createdAt) / 1000) : 0
    if (expirySecondsOf(src, k) <= waitedSeconds) {
      this.dropped.expired++
      return null
    }
    const topic = this.identifiers || src.traits & Trait.RETAIN ? topicOf(src, k) : ""
    const matching = topic ? [...this.subscriptions].filter(([filter]) => topicMatches(filter, topic)).map(([, s]) => s) : []
    const bytes = encodeFor(src, k, {
      v5: outlet.v5,
      qos: care.qos,
      identifier: 0,
      dup: care.dup,
      retain: (src.headerOf(k) & 1) === 1 && matching.some((s) => s.retainAsPublished),
      waitedSeconds,
      subscriptionIdentifiers: outlet.v5 ? matching.filter((s) => s.identifier).map((s) => s.identifier) : null,
    })
    if (bytes.length > outlet.maximumPacketSize) {
      this.dropped.tooLarge++
      return null
    }
    return bytes
  }

  /** Writes the identifier into a packet that encode() made: behind the topic, whatever the length field takes. */
  protected patchIdentifier(bytes: Buffer, identifier: number): void {
    let lengthBytes = 1
    while ((bytes[lengthBytes] ?? 0) > 127) lengthBytes++
    const topicAt = 1 + lengthBytes
    bytes.writeUInt16BE(identifier, topicAt + 2 + bytes.readUInt16BE(topicAt))
  }
}

/** From this size on, bytes are sent where they lie instead of copied. */
const LARGE = 8192
