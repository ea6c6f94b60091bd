import type { Socket } from "node:net"
import { Hold, type Outlet } from "../delivery/outlet.js"
import { RetainedStream } from "../delivery/retained-stream.js"
import { type Session, UNSENT, UNSENT_QOS_0 } from "../delivery/session.js"
import type { ArmedWill } from "../delivery/wills.js"
import { StoreBusy } from "../stores/store.js"
import { ackFailed, readAck } from "../wire/acknowledgements.js"
import { type FilterRules, checkConnect, checkDisconnect, checkProtocol, checkSubscribe, checkUnsubscribe } from "../wire/checks.js"
import { DUP, PacketType, type ProtocolVersion } from "../wire/packet-types.js"
import { malformed, PacketError, protocolError, Reason, type ReasonCode } from "../wire/reason-codes.js"
import { readVarint } from "../wire/varint.js"
import type { Context } from "./context.js"
import { ControlFlow } from "./control-flow.js"
import { Inbound } from "./inbound.js"
import { write } from "./control-packets.js"
import { TICK_MS, type Timed } from "./keep-alive.js"
import { Output } from "./output.js"
import { ReplyLine } from "./reply-line.js"
import { Splitter } from "./splitter.js"

/** How long a connection that the broker ended may take to go, in ms. */
const LINGER_MS = 2000

/**
 * One network connection: splits the stream into packets, checks them, sends each to its one owner (control packets to
 * the control flow, messages to delivery), and answers in the order of the packets.
 */
export class Connection implements Outlet, Timed {
  version: ProtocolVersion = 4
  v5 = false
  session: Session | null = null
  clientId = ""
  maximumPacketSize = Infinity
  closed = false
  readonly output: Output
  readonly replies: ReplyLine

  private readonly splitter = new Splitter()
  /** made when a CONNECT is accepted */
  will: ArmedWill | null = null
  retained: RetainedStream | null = null
  private readonly control: ControlFlow
  private readonly inbound: Inbound
  /** why reading stands still: bits of Hold */
  holds = 0
  private keepAliveMs = 0
  /** when something was read last, by the clock; after the end: when it ended */
  private since: number
  /** bytes that came after the end */
  private afterEnd = 0
  /** a CONNECT came */
  private greeted = false
  /** CONNACK left */
  private welcomed = false

  constructor(
    private readonly socket: Socket,
    private readonly context: Context,
  ) {
    this.output = new Output(socket)
    this.replies = new ReplyLine(context.delivery.commits, this.output)
    this.control = new ControlFlow(this, context)
    this.inbound = new Inbound(this, context)
    this.since = context.clock.now
  }

  /** From now on the connection is served. */
  start(): void {
    const { context, socket } = this
    context.open.add(this)
    context.clock.add(this)
    socket.on("data", (chunk: Buffer) => this.read(chunk))
    socket.on("drain", () => this.drained())
    socket.on("error", () => {}) // 'close' follows
    socket.on("close", () => this.gone())
  }

  get remote(): string {
    return `${this.socket.remoteAddress ?? "?"}:${this.socket.remotePort ?? "?"}`
  }
  get outlet(): this {
    return this
  }
  get unsent(): number {
    return this.output.unsent + this.replies.waitingBytes
  }
  get block(): Buffer {
    return this.output.block
  }
  claim(size: number): number {
    return this.output.claim(size)
  }
  push(bytes: Buffer): void {
    this.output.push(bytes)
  }

  pushDurable(bytes: Buffer): void {
    this.replies.send(bytes, true)
  }

  hold(reason: number): void {
    this.holds |= reason
    this.socket.pause()
  }

  release(reason: number): void {
    if (!(this.holds & reason)) return
    this.holds &= ~reason
    if (this.holds) return
    this.since = this.context.clock.now
    this.socket.resume()
  }

  private drained(): void {
    this.release(Hold.UNSENT)
    this.session?.pump()
  }

  private read(chunk: Buffer): void {
    if (this.closed) {
      // what still comes is not looked at; too much of it is not even read
      this.afterEnd += chunk.length
      if (this.afterEnd > this.limit) this.socket.pause()
      return
    }
    this.since = this.context.clock.now
    const buf = this.splitter.add(chunk)
    if (!buf) return
    if (this.holds & Hold.CONTROL) this.splitter.keep(buf, 0)
    else this.parse(buf)
  }

  private parse(buf: Buffer): void {
    const { reader } = this.context
    reader.begin(buf, this.inbound.take)
    try {
      const [at, need] = this.packets(buf)
      reader.flush()
      this.session?.pump()
      if (this.unsent > MOST_UNSENT) this.hold(Hold.UNSENT)
      this.splitter.keep(at < buf.length ? buf.subarray(at) : EMPTY, need)
    } catch (error) {
      this.fail(error)
    }
  }

  /** Treats the complete packets; returns where the rest begins, and how many bytes its first packet takes at least. */
  private packets(buf: Buffer): [at: number, need: number] {
    let at = 0
    try {
      while (buf.length - at >= 2 && !this.closed && !(this.holds & Hold.CONTROL)) {
        const length = readVarint(buf, at + 1, buf.length)
        if (length === -2) throw malformed("the Remaining Length is longer than four bytes or not in its shortest form")
        if (length === -1) break
        const body = at + 1 + (length & 7)
        const end = body + (length >>> 3)
        if (end - at > this.limit)
          throw new PacketError(Reason.PACKET_TOO_LARGE, `a packet of ${end - at} bytes; the limit is ${this.limit}`)
        if (end > buf.length) {
          this.early(buf[at] ?? 0)
          return [at, end - at]
        }
        this.packet(buf, at, body, end)
        at = end
      }
    } catch (error) {
      this.context.reader.flush() // what came before the packet that is wrong is accepted
      throw error
    }
    return [at, 0]
  }

  private get filterRules(): FilterRules {
    const { topicLevels, subscriptions } = this.context.limits
    return { version: this.version, levels: topicLevels, most: subscriptions }
  }

  private get limit(): number {
    return this.session ? this.context.limits.packetBytes : this.context.limits.firstPacketBytes
  }

  private packet(buf: Buffer, start: number, body: number, end: number): void {
    const header = buf[start] ?? 0
    const type = header >> 4
    this.early(header)
    if (type === PacketType.PUBLISH) {
      this.context.reader.add(start, body, end, this.v5)
      return
    }
    const flags = type === PacketType.SUBSCRIBE || type === PacketType.UNSUBSCRIBE || type === PacketType.PUBREL ? 2 : 0
    if (this.version === 3 && flags && (header & 15) === (flags | DUP)) buf[start] = header & ~DUP // MQTT 3.1 sends these again with DUP
    else if ((header & 15) !== flags) throw malformed("reserved bits in the fixed header [MQTT-2.1.3-1]")
    if (type >= PacketType.PUBACK && type <= PacketType.PUBCOMP) {
      const identifier = readAck(buf, body, end, this.v5)
      if (type !== PacketType.PUBREL) this.session?.acknowledge(type, identifier, ackFailed(buf, body, end))
      else {
        this.context.reader.flush()
        this.inbound.released(identifier)
      }
      return
    }
    this.context.reader.flush()
    this.controlPacket(type, buf.subarray(start, end), body - start)
  }

  /** What the first byte of a packet already forbids. */
  private early(header: number): void {
    const type = header >> 4
    if (!this.greeted && header === TLS_HANDSHAKE) throw malformed("TLS came to a port that speaks MQTT without TLS")
    if (!this.greeted && type !== PacketType.CONNECT) throw protocolError("the first packet must be CONNECT [MQTT-3.1.0-1]")
  }

  private controlPacket(type: number, bytes: Buffer, body: number): void {
    const end = bytes.length
    switch (type) {
      case PacketType.CONNECT:
        if (this.greeted) throw protocolError("a second CONNECT [MQTT-3.1.0-2]")
        this.greeted = true
        this.version = checkProtocol(bytes, body, end)
        this.v5 = this.version === 5
        checkConnect(bytes, body, end, this.filterRules)
        return this.await(this.control.connect(bytes))
      case PacketType.SUBSCRIBE:
        checkSubscribe(bytes, body, end, this.filterRules)
        return this.await(this.control.subscribe(bytes))
      case PacketType.UNSUBSCRIBE:
        checkUnsubscribe(bytes, body, end, this.filterRules)
        return this.await(this.control.unsubscribe(bytes))
      case PacketType.PINGREQ:
        if (body !== end) throw malformed("PINGREQ must be empty")
        return this.await(this.control.ping(bytes))
      case PacketType.DISCONNECT:
        return this.leave(checkDisconnect(bytes, body, end, this.version), this.control.disconnect(bytes))
      default:
        throw protocolError(`a client must not send packet type ${type}`)
    }
  }

  /** Reading waits for the answer; then the rest of the buffer is treated. */
  private await(answered: Promise<void>): void {
    this.hold(Hold.CONTROL)
    // one control packet per turn of the event loop: a flood of them takes its turn like everybody
    void answered.then(
      () => setImmediate(() => this.answered()),
      (error: unknown) => this.fail(error),
    )
  }

  private answered(): void {
    if (this.closed) return
    this.holds &= ~Hold.CONTROL
    if (this.splitter.kept) this.parse(this.splitter.take())
    if (!this.holds) this.socket.resume()
  }

  /** CONNECT was accepted; CONNACK follows. */
  open(session: Session, options: { maximumPacketSize: number; keepAliveSeconds: number }): void {
    this.session = session
    this.retained = new RetainedStream(session, this.context.delivery)
    this.clientId = session.clientId
    this.maximumPacketSize = options.maximumPacketSize
    this.keepAliveMs = options.keepAliveSeconds * 1000
    this.context.clients.set(this.clientId, this)
    this.context.log.connected(this)
  }

  /** CONNACK leaves, and what waits for the Session behind it. `receiveMaximum`: most messages in flight. */
  welcome(connack: Buffer, receiveMaximum: number): void {
    if (this.closed || !this.session) return
    this.push(connack)
    this.welcomed = true
    this.session.attach(this, receiveMaximum)
  }

  tick(now: number): void {
    const idle = now - this.since
    if (this.closed) {
      if (idle > LINGER_MS) this.socket.destroy()
    } else if (!this.session) {
      if (idle > this.context.limits.connectTimeoutMs) this.refuse(Reason.PROTOCOL_ERROR, "no CONNECT came in time")
    } else if (this.keepAliveMs && !this.holds && idle > this.keepAliveMs * 1.5 + TICK_MS)
      this.refuse(Reason.KEEP_ALIVE_TIMEOUT, `nothing came for ${Math.round(idle / 1000)} s, Keep Alive is ${this.keepAliveMs / 1000} s`)
  }

  /** Another connection has the Client Identifier now (section 3.1.4). */
  takenOver(): void {
    this.refuse(Reason.SESSION_TAKEN_OVER, "another connection took the client identifier over")
  }

  /** CONNACK with a refusal that is encoded already. */
  refuseConnect(connack: Buffer): void {
    this.push(connack)
    this.end(Reason.NOT_AUTHORIZED, "not authorized")
  }

  private fail(error: unknown): void {
    if (error instanceof PacketError) this.refuse(error.reason, error.message)
    else if (error instanceof StoreBusy) this.refuse(Reason.SERVER_UNAVAILABLE, error.message)
    else this.refuse(Reason.UNSPECIFIED_ERROR, `internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }

  refuse(reason: ReasonCode, message: string): void {
    if (this.closed) return
    if (this.welcomed) {
      if (this.v5) this.push(write({ cmd: "disconnect", reasonCode: reason }, 5))
    } else if (reason === Reason.SESSION_TAKEN_OVER) {
      // no code of CONNACK says this, and DISCONNECT must not come first [MQTT-3.14.0-1]
    } else if (this.greeted && this.v5) this.push(write({ cmd: "connack", reasonCode: reason, sessionPresent: false }, 5))
    else {
      const code = OLD_RETURN_CODES.get(reason)
      if (code !== undefined) this.push(Buffer.from([0x20, 2, 0, code]))
    }
    this.end(reason, message)
  }

  /** DISCONNECT came: what is acknowledged leaves first, then the connection. */
  private leave(reason: number, expirySeconds: number | null | undefined): void {
    const stored = (this.session?.persistent ?? false) || this.will !== null
    if (this.will && reason !== Reason.DISCONNECT_WITH_WILL) {
      this.context.delivery.wills.disarm(this.will)
      this.will = null
    }
    this.finish(null, "it disconnected", expirySeconds)
    this.replies.afterwards(() => this.shut(), stored)
  }

  private end(reason: ReasonCode, message: string): void {
    this.finish(reason, message)
    this.shut()
  }

  /** Leaves Session and registries; the socket is still open for what was said. */
  private finish(reason: ReasonCode | null, message: string, expirySeconds?: number | null): void {
    if (this.closed) return
    this.closed = true
    this.since = this.context.clock.now
    this.control.close()
    const { session } = this
    if (session && this.context.clients.get(this.clientId) === this) {
      this.context.clients.delete(this.clientId)
      this.context.delivery.sessions.close(session, expirySeconds)
      if (this.will) this.context.delivery.wills.lost(this.will, !session.gone)
    }
    this.context.log.closed(this, reason, message)
  }

  /** The broker stops: what arrives from now on is not accepted, what was is still acknowledged. */
  stopReading(): void {
    this.hold(Hold.STOPPED)
  }

  destroy(): void {
    this.socket.destroy()
  }

  private shut(): void {
    this.output.flush()
    this.socket.end()
    this.socket.resume() // to see its end
  }

  /** The socket is closed. */
  private gone(): void {
    this.finish(null, "the connection closed")
    this.context.open.delete(this)
    this.context.clock.remove(this)
  }
}

/** CONNACK return codes of MQTT 3.1.1 (section 3.2.2.3); for other reasons there is none. */
const OLD_RETURN_CODES = new Map<ReasonCode, number>([
  [Reason.UNSUPPORTED_PROTOCOL_VERSION, 1],
  [Reason.CLIENT_IDENTIFIER_NOT_VALID, 2],
  [Reason.SERVER_UNAVAILABLE, 3],
  [Reason.QUOTA_EXCEEDED, 3],
  [Reason.NOT_AUTHORIZED, 5],
])

/** The first byte of what a TLS client sends; it would be a CONNECT with reserved bits. */
const TLS_HANDSHAKE = 0x16

/** Unsent bytes from which on a client is not read any more: above what any Session lets gather. */
const MOST_UNSENT = UNSENT_QOS_0 + UNSENT

const EMPTY = Buffer.alloc(0)
