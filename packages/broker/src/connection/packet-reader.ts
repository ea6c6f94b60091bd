import type { PublishReader, RunTaker } from "./publish-reader.js"
import { ackFailed, readAck } from "../wire/acknowledgements.js"
import {
  checkConnect,
  checkProtocol,
  type DisconnectPacket,
  isVersion31,
  readDisconnect,
  readSubscribe,
  readUnsubscribe,
  type SubscribePacket,
  type SubscribeRules,
  type UnsubscribePacket,
} from "../wire/checks.js"
import { FixedHeader } from "../wire/fixed-header.js"
import { DUP, PacketType, type ProtocolVersion } from "../wire/packet-types.js"
import { CLIENT_REASONS, malformed, PacketError, protocolError, Reason } from "../wire/reason-codes.js"
import type { Tally } from "../accounting/tally.js"
import type { Limits } from "./limits.js"
import { Pace } from "./pace.js"
import { Splitter } from "./splitter.js"

/** What becomes of the packets of one connection. All of them passed the strict checks. */
export interface PacketTaker {
  /** a run of PUBLISH packets */
  readonly publish: RunTaker
  /** PUBACK, PUBREC or PUBCOMP came; `failed`: with a Reason Code that ends the exchange. */
  acknowledged(type: number, id: number, failed: boolean): void
  /** PUBREL came. */
  released(id: number): void
  /** These are control packets: what is behind them waits until resume(). */
  connect(bytes: Buffer): void
  subscribe(packet: SubscribePacket): void
  unsubscribe(packet: UnsubscribePacket): void
  ping(bytes: Buffer): void
  /** The client is above its rate: the rest of what was read has to come again, in so many ms. */
  hold(rest: Buffer, ms: number): void
  /** Others have their turn: resume() is due in a later turn of the event loop. */
  yield(): void
  disconnect(packet: DisconnectPacket): void
}

/** From so many bytes on what is kept of a packet is counted: nearly every read ends with a part of one. */
const COUNTED_FROM_BYTES = 4096

/** The byte half of a connection: splits the stream into packets, checks them, and calls who takes them. */
export class PacketReader {
  /** of the CONNECT; before it the one whose clients are most */
  version: ProtocolVersion = 4
  /** a CONNECT came */
  greeted = false
  /** what the CONNECT said: a bridge that cannot ask for No Local and Retain As Published itself */
  bridge = false
  private readonly splitter: Splitter
  private stopped = false
  /** a control packet waits for its answer, or what takes long waits for its turn */
  private waiting = false
  /** what was published last took long */
  private isLong = false
  /** what the tally has of what is kept */
  private counted = 0
  /** undefined: the client may be as fast as it likes, or its CONNECT was not accepted */
  private pace: Pace | undefined = undefined

  /** most bytes of a packet */
  private limit: number

  /** @param runs gathers PUBLISH packets; shared by all connections */
  constructor(
    private readonly taker: PacketTaker,
    private readonly limits: Limits,
    private readonly runs: PublishReader,
    private readonly tally: Tally,
  ) {
    this.limit = limits.firstPacketBytes
    this.splitter = new Splitter(() => tally.isCrowded)
  }

  get v5(): boolean {
    return this.version === 5
  }

  /** CONNECT was accepted: packets may be larger, and their rate counts. */
  widen(): void {
    const { packetBytes, rate } = this.limits
    this.limit = packetBytes
    if (rate) this.pace = new Pace(rate, performance.now())
  }

  /** The connection ends: no further packet is looked at, nothing is kept. */
  stop(): void {
    this.stopped = true
    this.splitter.drop()
    this.count()
  }

  private count(): void {
    const { kept } = this.splitter
    const bytes = kept < COUNTED_FROM_BYTES ? 0 : kept
    if (bytes === this.counted) return
    this.tally.add("packets", bytes - this.counted)
    this.counted = bytes
  }

  /** Whether so many bytes are more than one packet may have. */
  exceeds(bytes: number): boolean {
    return bytes > this.limit
  }

  /**
   * Bytes came. False: no packet is complete yet, or one waits for its answer. Throws a PacketError; what came before the
   * packet that is wrong was taken.
   */
  read(chunk: Buffer): boolean {
    const buf = this.splitter.add(chunk)
    const isTurn = buf !== undefined && !this.waiting
    if (isTurn && (this.isLong || buf.length >= LONG_BYTES) && this.runs.isBusy) this.giveWay(buf, 0)
    else if (isTurn) this.parse(buf)
    else if (buf) this.splitter.keep(buf, 0)
    this.count()
    return isTurn
  }

  /** The control packet is answered: goes on with what came behind it. Throws a PacketError. */
  resume(): void {
    this.waiting = false
    if (this.splitter.kept) this.parse(this.splitter.take())
    this.count()
  }

  private parse(buf: Buffer): void {
    this.runs.begin(buf, this.taker.publish)
    // who gives way is asked for its rate again
    const until = this.pace ? this.pace.admit(buf, performance.now()) : buf.length
    let at = 0
    try {
      while (until - at >= 2 && !this.stopped && !this.waiting) {
        if (!header.read(buf, at)) break
        const { body, end } = header
        if (end - at > this.limit)
          throw new PacketError(Reason.PACKET_TOO_LARGE, `a packet of ${end - at} bytes; the limit is ${this.limit}`)
        if (!this.greeted) checkFirst(buf, at)
        if (end > buf.length) return this.rest(buf, at, end - at)
        this.packet(buf, at, body, end)
        at = end
        if (this.runs.isTurnOver) return this.giveWay(buf, at)
      }
    } finally {
      this.runs.flush() // what came before a packet that is wrong is accepted
      this.isLong = this.runs.isLong
    }
    if (this.pace && until < buf.length) this.taker.hold(buf.subarray(until), this.pace.wait)
    else this.rest(buf, at, 0)
  }

  /** Its messages take long: it goes on in a later turn. */
  private giveWay(buf: Buffer, at: number): void {
    this.rest(buf, at, 0)
    this.wait(() => this.taker.yield())
  }

  /** Keeps the bytes from `at` on; `need`: how many the packet there takes at least. */
  private rest(buf: Buffer, at: number, need: number): void {
    this.splitter.keep(at < buf.length ? buf.subarray(at) : NO_BYTES, need)
  }

  private packet(buf: Buffer, start: number, body: number, end: number): void {
    const first = buf[start] ?? 0
    const type = first >> 4
    if (type === PacketType.PUBLISH) {
      if (this.version === 3 && (first & 14) === DUP) buf[start] = first & ~DUP // MQTT 3.1 does not use it at QoS 0
      this.runs.add(start, body, end, this.v5)
      return
    }
    if ((first & 15) !== FLAGS[type]) this.checkFlags(buf, start, body, end)
    if (type >= PacketType.PUBACK && type <= PacketType.PUBCOMP) this.acknowledgement(type, buf, body, end)
    else {
      this.runs.flush()
      this.control(type, buf.subarray(start, end), body - start)
    }
  }

  /** The flags are not those of the type: older versions may, and then they are put right. */
  private checkFlags(buf: Buffer, start: number, body: number, end: number): void {
    const first = buf[start] ?? 0
    const type = first >> 4
    const flags = FLAGS[type] ?? 0
    // MQTT 3.1 uses QoS 1 in some of these, and nothing in the others
    const unused = this.version === 3 || (type === PacketType.CONNECT && isVersion31(buf, body, end))
    if (!unused || (flags && (first & 6) !== flags)) throw malformed("reserved bits in the fixed header [MQTT-2.1.3-1]")
    buf[start] = (type << 4) | flags
  }

  private acknowledgement(type: number, buf: Buffer, body: number, end: number): void {
    const id = readAck(buf, body, end, end - body > 2 && this.v5 ? CLIENT_REASONS.get(type) : undefined)
    this.runs.flush()
    if (type === PacketType.PUBREL) this.taker.released(id)
    else this.taker.acknowledged(type, id, ackFailed(buf, body, end))
  }

  private get rules(): SubscribeRules {
    const { topicLevels, subscriptions } = this.limits
    return { version: this.version, levels: topicLevels, most: subscriptions, bridge: this.bridge }
  }

  private control(type: number, bytes: Buffer, body: number): void {
    const { taker } = this
    const end = bytes.length
    switch (type) {
      case PacketType.CONNECT:
        if (this.greeted) throw protocolError("a second CONNECT [MQTT-3.1.0-2]")
        this.greeted = true
        ;({ version: this.version, bridge: this.bridge } = checkProtocol(bytes, body, end))
        checkConnect(bytes, body, end, this.rules)
        return this.wait(() => taker.connect(bytes))
      case PacketType.SUBSCRIBE: {
        const packet = readSubscribe(bytes, body, end, this.rules)
        return this.wait(() => taker.subscribe(packet))
      }
      case PacketType.UNSUBSCRIBE: {
        const packet = readUnsubscribe(bytes, body, end, this.rules)
        return this.wait(() => taker.unsubscribe(packet))
      }
      case PacketType.PINGREQ:
        if (body !== end) throw malformed("PINGREQ must be empty")
        return this.wait(() => taker.ping(bytes))
      case PacketType.DISCONNECT:
        return taker.disconnect(readDisconnect(bytes, body, end, this.version))
      default:
        throw protocolError(`a client must not send packet type ${type}`)
    }
  }

  private wait(take: () => void): void {
    this.waiting = true
    take()
  }
}

/** The flags of each packet type but PUBLISH (MQTT 5.0 section 2.1.3). */
const FLAGS = Uint8Array.from({ length: 16 }, (_, type) =>
  type === PacketType.SUBSCRIBE || type === PacketType.UNSUBSCRIBE || type === PacketType.PUBREL ? 2 : 0,
)

function checkFirst(buf: Buffer, at: number): void {
  const first = buf[at] ?? 0
  if (first === TLS_HANDSHAKE) throw malformed("TLS came to a port that speaks MQTT without TLS")
  if (PROXY_HEADERS.includes(buf.readUInt16BE(at)))
    throw malformed("a PROXY header came from an address that --proxy-protocol does not name")
  if (HTTP_METHODS.has(buf.toString("latin1", at, at + 2))) throw protocolError("HTTP came to a port that speaks MQTT without WebSocket")
  if (first >> 4 !== PacketType.CONNECT) throw protocolError("the first packet must be CONNECT [MQTT-3.1.0-1]")
}

/** From so many bytes on it is not known how long it takes to treat them. */
const LONG_BYTES = 16_384
/** The first byte of what a TLS client sends; it would be a CONNECT with reserved bits. */
const TLS_HANDSHAKE = 0x16
/** The first two bytes of PROXY headers, version 1 and 2. */
const PROXY_HEADERS = [0x5052, 0x0d0a]
/** How requests begin; those letters begin no packet of MQTT that is in order. */
const HTTP_METHODS = new Set(["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "CONNECT"].map((method) => method.slice(0, 2)))
const header = new FixedHeader()
const NO_BYTES = Buffer.alloc(0)
