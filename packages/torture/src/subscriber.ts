import type { Address } from "./address.js"
import type { GrantedFilter } from "./checker/checked-session.js"
import type { Checker } from "./checker/checker.js"
import { acknowledgementPacket, PACKET, pingreqPacket, readPayload, subscribePacket } from "./packets.js"
import type { RawPacket } from "./packet-splitter.js"
import { PersistentClient } from "./persistent-client.js"
import type { RawConnection } from "./raw-connection.js"

const SLOW_PAUSE_MS = 15
const NO_STREAM = 0xffff_ffff

export interface SubscriberOptions {
  address: Address
  clientId: string
  filters: readonly GrantedFilter[]
  checker: Checker
  /** Rests after every read. */
  slow: boolean
  /** Never acknowledges the first QoS 1 message of a connection. */
  withholds: boolean
}

/** A persistent session: tells the checker what comes and acknowledges it. */
export class TortureSubscriber extends PersistentClient {
  /** Packets that came for a message: PUBLISH and PUBREL. */
  heard = 0
  private readonly options: SubscriberOptions
  private readonly session: number
  private slow: boolean
  private withholds: boolean
  private withheld = false
  private dropping = false
  private subscribed = false
  private replies: Buffer[] = []
  private releases: number[] = []
  private suback: (() => void) | undefined
  private pingresp: (() => void) | undefined

  constructor(options: SubscriberOptions) {
    super(options.address, options.clientId)
    this.options = options
    this.slow = options.slow
    this.withholds = options.withholds
    this.session = options.checker.addSession(options.clientId, options.filters)
  }

  /** Connects for the first time and resolves with the SUBACK. */
  async subscribe(): Promise<void> {
    const subscribed = new Promise<void>((resolve) => (this.suback = resolve))
    await this.come()
    await subscribed
  }

  /** From here on like a good client; a message whose acknowledgement was withheld comes again on a new connection. */
  async behave(): Promise<void> {
    this.slow = false
    this.withholds = false
    this.dropping = false
    if (this.withheld) this.cut()
    await this.come()
  }

  /** Loses the connection at the next read, before what was read is acknowledged, and connects again. */
  drop(): void {
    this.dropping = this.isOnline
  }

  /** Resolves with a PINGRESP, or when the connection is lost; comes first when it is away, or on its way. */
  async ping(): Promise<void> {
    await this.come()
    const answered = new Promise<void>((resolve) => (this.pingresp = resolve))
    this.connection?.send(pingreqPacket())
    if (this.connection) await answered
  }

  protected override accepted(connection: RawConnection, sessionPresent: boolean): void {
    this.withheld = false
    this.dropping = false
    this.replies = []
    this.releases = []
    this.options.checker.connected(this.session, sessionPresent || this.connections === 1)
    if (!sessionPresent || !this.subscribed) connection.send(subscribePacket(1, this.options.filters))
  }

  protected override take({ head, body }: RawPacket): void {
    if ((head & 0xf0) === PACKET.publish || head === PACKET.pubrel) this.heard++
    if ((head & 0xf0) === PACKET.publish) this.receive(head, body)
    else if (head === PACKET.pubrel) this.release(body.readUInt16BE(0))
    else if (head === PACKET.suback) this.acceptSuback()
    else if (head === PACKET.pingresp) this.pingresp?.()
  }

  protected override readDone(): void {
    const { connection, replies } = this
    if (!connection) return
    if (this.dropping && replies.length > 0) return connection.cut()
    for (const packetId of this.releases) this.options.checker.released(this.session, packetId)
    if (replies.length > 0) connection.send(Buffer.concat(replies))
    this.replies = []
    this.releases = []
    if (!this.slow) return
    connection.pause()
    setTimeout(() => connection.resume(), SLOW_PAUSE_MS)
  }

  protected override lost(): void {
    this.pingresp?.()
  }

  private acceptSuback(): void {
    this.subscribed = true
    this.suback?.()
  }

  private receive(head: number, body: Buffer): void {
    const qos = (head >> 1) & 3
    const topicEnd = 2 + body.readUInt16BE(0)
    const packetId = qos > 0 ? body.readUInt16BE(topicEnd) : undefined
    const content = readPayload(body.subarray(topicEnd + (qos > 0 ? 2 : 0)))
    this.options.checker.delivered(this.session, {
      stream: content?.stream ?? NO_STREAM,
      n: content?.n ?? 0,
      payloadIntact: content?.intact ?? false,
      topic: body.toString("utf8", 2, topicEnd),
      qos,
      dup: (head & 8) !== 0,
      packetId,
    })
    if (packetId !== undefined) this.acknowledge(qos, packetId)
  }

  private acknowledge(qos: number, packetId: number): void {
    if (qos === 1 && this.withholds && !this.withheld) {
      this.withheld = true
      return
    }
    if (qos === 1) this.releases.push(packetId)
    this.replies.push(acknowledgementPacket(qos === 1 ? PACKET.puback : PACKET.pubrec, packetId))
  }

  private release(packetId: number): void {
    this.releases.push(packetId)
    this.replies.push(acknowledgementPacket(PACKET.pubcomp, packetId))
  }
}
