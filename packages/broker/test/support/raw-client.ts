import type { Duplex } from "node:stream"
import { onCleanUp, waitFor } from "@mqtt-trio/testing"
import { acknowledgementPacket, PACKET, subscribePacket, PacketSplitter } from "@mqtt-trio/torture"
import { openPort } from "./doors.js"
import { connect, type ConnectFields } from "./wire.js"

/** A PUBLISH as it came. */
export interface ReceivedMessage {
  topic: string
  payload: string
  packetId: number
  dup: boolean
}

/** MQTT 3.1.1 over a bare connection: sends what it is told, acknowledges QoS 1, and keeps what came. */
export class RawClient {
  readonly messages: ReceivedMessage[] = []
  /** Packet Identifiers of the PUBACKs, in the order in which they came. */
  readonly pubacks: number[] = []
  sessionPresent: boolean | undefined
  subscribed = false
  closed = false
  private readonly socket: Duplex
  private readonly splitter = new PacketSplitter()

  /**
   * Its Session lasts unless `fields` say otherwise. This client never sends PINGREQ.
   * @param to the port of 127.0.0.1 (see {@link openPort}), or a connection that was opened otherwise
   */
  constructor(to: number | Duplex, clientId: string, fields: ConnectFields = {}) {
    this.socket = typeof to === "number" ? openPort(to) : to
    this.socket.on("data", (chunk: Buffer) => this.splitter.push(chunk, ({ head, body }) => this.take(head, body)))
    this.socket.on("error", () => (this.closed = true)).on("close", () => (this.closed = true))
    this.socket.write(connect(4, { clean: false, ...fields, clientId }))
    onCleanUp(() => this.cut())
  }

  /** Connects and waits for the CONNACK. */
  static async open(to: number | Duplex, clientId: string, fields: ConnectFields = {}): Promise<RawClient> {
    const client = new RawClient(to, clientId, fields)
    await waitFor(() => client.sessionPresent !== undefined, { what: `CONNACK for ${clientId}` })
    return client
  }

  /** Subscribes at QoS 1 and waits for the SUBACK. */
  async subscribe(filter: string): Promise<void> {
    this.subscribed = false
    this.send(subscribePacket(1, [{ filter, qos: 1 }]))
    await waitFor(() => this.subscribed, { what: `SUBACK for ${filter}` })
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes)
  }

  cut(): void {
    this.socket.destroy()
  }

  private take(head: number, body: Buffer): void {
    if (head === PACKET.connack) this.sessionPresent = body[0] === 1
    else if (head === PACKET.suback) this.subscribed = true
    else if (head === PACKET.puback) this.pubacks.push(body.readUInt16BE(0))
    else if ((head & 0xf0) === PACKET.publish) this.receive(head, body)
  }

  private receive(head: number, body: Buffer): void {
    const end = 2 + body.readUInt16BE(0)
    const stored = (head & 6) !== 0
    const packetId = stored ? body.readUInt16BE(end) : 0
    const payload = body.toString("utf8", end + (stored ? 2 : 0))
    this.messages.push({ topic: body.toString("utf8", 2, end), payload, packetId, dup: (head & 8) !== 0 })
    if (stored) this.send(acknowledgementPacket(PACKET.puback, packetId))
  }
}
