import { connect, type Socket } from "node:net"
import { onCleanUp, waitFor } from "@mqtt-trio/testing"
import { acknowledgementPacket, connectPacket, PACKET, subscribePacket, PacketSplitter } from "@mqtt-trio/torture"

/** Where the Keep Alive stands in a CONNECT whose Remaining Length takes one byte (MQTT 3.1.1 section 3.1.2.10). */
const KEEP_ALIVE_OFFSET = 10

/** A PUBLISH as it came. */
export interface ReceivedMessage {
  topic: string
  payload: string
  packetId: number
  dup: boolean
}

/** MQTT 3.1.1 over a bare socket: sends what it is told, acknowledges QoS 1, and keeps what came. */
export class RawClient {
  readonly messages: ReceivedMessage[] = []
  /** Packet Identifiers of the PUBACKs, in the order in which they came. */
  readonly pubacks: number[] = []
  sessionPresent: boolean | undefined
  subscribed = false
  closed = false
  private readonly socket: Socket
  private readonly splitter = new PacketSplitter()

  /** `keepAliveSeconds`: 0, the default, means none. This client never sends PINGREQ. */
  constructor(port: number, clientId: string, cleanSession: boolean, keepAliveSeconds = 0) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true })
    this.socket.on("data", (chunk: Buffer) => this.splitter.push(chunk, ({ head, body }) => this.take(head, body)))
    this.socket.on("error", () => (this.closed = true)).on("close", () => (this.closed = true))
    const packet = connectPacket(clientId, cleanSession)
    packet.writeUInt16BE(keepAliveSeconds, KEEP_ALIVE_OFFSET)
    this.socket.write(packet)
    onCleanUp(() => this.cut())
  }

  /** Connects and waits for the CONNACK. */
  static async open(port: number, clientId: string, cleanSession = false, keepAliveSeconds = 0): Promise<RawClient> {
    const client = new RawClient(port, clientId, cleanSession, keepAliveSeconds)
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
