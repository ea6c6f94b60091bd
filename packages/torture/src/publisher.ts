import type { Address } from "./address.js"
import type { Checker } from "./checker/checker.js"
import type { StoredQos } from "./checker/stream.js"
import type { AcknowledgementFile } from "./acknowledgement-file.js"
import { acknowledgementPacket, PACKET, payloadOf, publishPacket } from "./packets.js"
import type { RawPacket } from "./packet-splitter.js"
import { PersistentClient } from "./persistent-client.js"
import type { Random } from "./random.js"
import type { RawConnection } from "./raw-connection.js"

const UNSENT_BYTES = 1 << 20
const LAST_IDENTIFIER = 65_535

/** A stream as its publisher writes it. */
export interface OwnStream {
  id: number
  topic: string
  qos: StoredQos
}

/** How many messages may still be published, all publishers together. */
export interface Budget {
  remaining: number
}

export interface PublisherOptions {
  address: Address
  clientId: string
  streams: readonly OwnStream[]
  /** Unacknowledged messages at a time. */
  window: number
  budget: Budget
  random: Random
  checker: Checker
  acknowledgements: AcknowledgementFile
}

interface InFlight {
  stream: OwnStream
  n: number
  /** PUBREC came: PUBREL is what is sent again. */
  received: boolean
  /** Sent, on this connection, to a broker that was replaced before. */
  inVain: boolean
}

/** Publishes numbered messages over its streams, and after a reconnect everything unacknowledged again, in order, with DUP. */
export class TorturePublisher extends PersistentClient {
  /** Messages acknowledged so far. */
  acknowledged = 0
  private readonly options: PublisherOptions
  private readonly session: number
  private readonly inFlight = new Map<number, InFlight>()
  private readonly counts = new Map<number, number>()
  private readonly news: { stream: number; n: number }[] = []
  private nextIdentifier = 1

  constructor(options: PublisherOptions) {
    super(options.address, options.clientId)
    this.options = options
    this.session = options.checker.addSession(options.clientId, [])
  }

  /** Whether it publishes what this budget allows. */
  draws(budget: Budget): boolean {
    return this.options.budget === budget
  }

  /** Messages that wait for their last acknowledgement. */
  get unfinished(): number {
    return this.inFlight.size
  }

  /** Publishes as much as the window and the budget allow; call it when the budget has grown. */
  pump(): void {
    const { connection, options } = this
    if (!connection) return
    while (this.inFlight.size < options.window && options.budget.remaining > 0 && connection.unsent < UNSENT_BYTES) {
      options.budget.remaining--
      this.publish(connection, false)
    }
  }

  /** Publishes so many messages, whatever the window, to a broker that was replaced: it must not acknowledge them. */
  publishInVain(count: number): void {
    const { connection } = this
    if (connection) for (let n = 0; n < count; n++) this.publish(connection, true)
  }

  protected override accepted(connection: RawConnection, sessionPresent: boolean): void {
    this.options.checker.connected(this.session, sessionPresent || this.connections === 1)
    for (const [packetId, message] of this.inFlight) {
      message.inVain = false
      // Without the broker's half of the state nobody can tell whether a QoS 2 message arrived: it is given up.
      if (!sessionPresent && message.stream.qos === 2) this.inFlight.delete(packetId)
      else if (message.received) connection.send(acknowledgementPacket(PACKET.pubrel, packetId))
      else this.transmit(connection, packetId, message, true)
    }
    this.pump()
  }

  protected override take({ head, body }: RawPacket): void {
    const packetId = ((body[0] ?? 0) << 8) | (body[1] ?? 0)
    const message = this.inFlight.get(packetId)
    if (message?.inVain) this.reportOutlived(head, message)
    if (head === PACKET.puback && message?.stream.qos === 1) {
      this.inFlight.delete(packetId)
      this.news.push({ stream: message.stream.id, n: message.n })
    } else if (head === PACKET.pubrec) {
      if (message && !message.received) {
        message.received = true
        this.news.push({ stream: message.stream.id, n: message.n })
      }
      this.connection?.send(acknowledgementPacket(PACKET.pubrel, packetId))
    } else if (head === PACKET.pubcomp && message?.received) this.inFlight.delete(packetId)
  }

  /** First the file, then the count. */
  protected override readDone(): void {
    const { acknowledgements, checker } = this.options
    if (this.news.length > 0) {
      acknowledgements.append(this.news)
      for (const { stream, n } of this.news) checker.acknowledged(stream, n)
      this.acknowledged += this.news.length
      this.news.length = 0
    }
    this.pump()
  }

  protected override drained(): void {
    this.pump()
  }

  private publish(connection: RawConnection, inVain: boolean): void {
    const stream = this.options.random.pick(this.options.streams)
    const n = this.counts.get(stream.id) ?? 0
    this.counts.set(stream.id, n + 1)
    const packetId = this.freeIdentifier()
    const message: InFlight = { stream, n, received: false, inVain }
    this.inFlight.set(packetId, message)
    this.transmit(connection, packetId, message, false)
  }

  private reportOutlived(head: number, { stream, n }: InFlight): void {
    const what = `message ${n} of "${this.clientId}" on "${stream.topic}" at QoS ${stream.qos}`
    this.options.checker.report("outlived", [
      `${what} was sent to a broker that another one had replaced, and acknowledged by it (0x${head.toString(16)})`,
    ])
  }

  private transmit(connection: RawConnection, packetId: number, message: InFlight, dup: boolean): void {
    const { stream, n } = message
    this.options.checker.published(stream.id, n, this.connections)
    connection.send(publishPacket({ topic: stream.topic, qos: stream.qos, dup, packetId, payload: payloadOf(stream.id, n) }))
  }

  private freeIdentifier(): number {
    while (this.inFlight.has(this.nextIdentifier)) this.nextIdentifier = (this.nextIdentifier % LAST_IDENTIFIER) + 1
    const packetId = this.nextIdentifier
    this.nextIdentifier = (packetId % LAST_IDENTIFIER) + 1
    return packetId
  }
}
