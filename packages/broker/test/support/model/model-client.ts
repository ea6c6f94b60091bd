import { connect, type Socket } from "node:net"
import {
  acknowledgementPacket,
  connectPacket,
  disconnectPacket,
  PACKET,
  pingreqPacket,
  publishPacket,
  subscribePacket,
  unsubscribePacket,
} from "../../../src/torture/packets.js"
import { PacketSplitter } from "../../../src/torture/packet-splitter.js"
import type { Arrival } from "./model-session.js"

/** What a client tells the model. */
export interface ClientEvents {
  arrived(arrival: Arrival): void
  acknowledged(n: number): void
  released(packetId: number): void
}

/** Which answer a request waits for. */
type Answer = "connack" | "suback" | "unsuback" | "puback" | "pubrec" | "pubcomp" | "pingresp" | "closed"

const LIMIT_MS = 10_000

/** One network connection of a client of the model: one request at a time, acknowledges by itself unless it holds. */
export class ModelClient {
  /** Messages that are not acknowledged while it holds, oldest first. */
  readonly held: { n: number; head: number; packetId: number }[] = []
  holds = false
  private readonly socket: Socket
  private readonly splitter = new PacketSplitter()
  private readonly events: ClientEvents
  private waiting: { answers: readonly Answer[]; resolve: (got: { answer: Answer; body: Buffer }) => void } | undefined
  private silent = false
  private closed = false

  constructor(port: number, events: ClientEvents) {
    this.events = events
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true })
    this.socket.on("data", (chunk: Buffer) => this.splitter.push(chunk, ({ head, body }) => this.take(head, body)))
    this.socket.on("error", () => this.socket.destroy())
    this.socket.on("close", () => this.ended())
  }

  get isOpen(): boolean {
    return !this.closed
  }

  /** Session Present, or undefined when the broker died. */
  async connect(clientId: string, clean: boolean): Promise<boolean | undefined> {
    const got = await this.ask(connectPacket(clientId, clean), "connack")
    if (got.answer === "connack" && got.body[1] !== 0) throw new Error(`CONNACK with return code ${got.body[1]}`)
    return got.answer === "connack" ? got.body[0] === 1 : undefined
  }

  /** True when the SUBACK came, false when the broker died. */
  async subscribe(filter: string, qos: number): Promise<boolean> {
    const got = await this.ask(subscribePacket(1, [{ filter, qos }]), "suback")
    if (got.answer === "suback" && got.body[2] !== qos) throw new Error(`SUBACK with ${got.body[2]} for QoS ${qos}`)
    return got.answer === "suback"
  }

  async unsubscribe(filter: string): Promise<boolean> {
    return (await this.ask(unsubscribePacket(1, filter), "unsuback")).answer === "unsuback"
  }

  /** How far the broker took the message: "done", "received" (QoS 2, PUBREC came), or "nothing" before it died. */
  async publish(
    message: { topic: string; qos: 1 | 2; payload: Buffer },
    packetId: number,
    dup: boolean,
  ): Promise<"done" | "received" | "nothing"> {
    const got = await this.ask(publishPacket({ ...message, packetId, dup }), message.qos === 1 ? "puback" : "pubrec")
    if (got.answer === "puback") return "done"
    return got.answer === "pubrec" ? this.release(packetId) : "nothing"
  }

  /** The second half of QoS 2. */
  async release(packetId: number): Promise<"done" | "received"> {
    const got = await this.ask(acknowledgementPacket(PACKET.pubrel, packetId), "pubcomp")
    return got.answer === "pubcomp" ? "done" : "received"
  }

  /** Everything that was sent before has been processed, and what the broker had sent has been read. */
  async ping(): Promise<void> {
    if (this.isOpen) await this.ask(pingreqPacket(), "pingresp")
  }

  /** Acknowledges what it holds, in order, and from here on by itself. */
  acknowledgeAgain(): void {
    this.holds = false
    for (const { n, head, packetId } of this.held.splice(0)) this.acknowledge(n, head, packetId)
  }

  async disconnect(): Promise<void> {
    await this.ask(disconnectPacket())
  }

  /** Ends at once and reads nothing more. */
  cut(): void {
    this.silent = true
    this.socket.destroy()
  }

  /** Reads nothing more; the broker is to find the connection open when the client connects again. */
  abandon(): void {
    this.silent = true
  }

  private async ask(bytes: Buffer, ...answers: Answer[]): Promise<{ answer: Answer; body: Buffer }> {
    if (this.closed) return { answer: "closed", body: Buffer.alloc(0) }
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        this.waiting = { answers: [...answers, "closed"], resolve }
        timer = setTimeout(() => reject(new Error(`no ${answers.join(" or ") || "end"} within ${LIMIT_MS} ms`)), LIMIT_MS)
        this.socket.write(bytes)
      })
    } finally {
      clearTimeout(timer)
      this.waiting = undefined
    }
  }

  private ended(): void {
    this.closed = true
    this.answered("closed", Buffer.alloc(0))
  }

  private answered(answer: Answer, body: Buffer): void {
    if (this.waiting?.answers.includes(answer)) this.waiting.resolve({ answer, body })
  }

  private take(head: number, body: Buffer): void {
    if (this.silent) return
    if ((head & 0xf0) === PACKET.publish) this.receive(head, body)
    else if (head === PACKET.pubrel) {
      this.events.released(body.readUInt16BE(0))
      this.socket.write(acknowledgementPacket(PACKET.pubcomp, body.readUInt16BE(0)))
    } else {
      const answer = ANSWERS.get(head)
      if (answer) this.answered(answer, body)
    }
  }

  private receive(head: number, body: Buffer): void {
    const end = 2 + body.readUInt16BE(0)
    const qos = (head >> 1) & 3
    const packetId = qos > 0 ? body.readUInt16BE(end) : 0
    const n = Number(body.toString("utf8", end + (qos > 0 ? 2 : 0)))
    this.events.arrived({ n, topic: body.toString("utf8", 2, end), qos, dup: (head & 8) !== 0, packetId })
    if (qos === 0) return
    const reply = qos === 1 ? PACKET.puback : PACKET.pubrec
    if (this.holds) this.held.push({ n, head: reply, packetId })
    else this.acknowledge(n, reply, packetId)
  }

  private acknowledge(n: number, head: number, packetId: number): void {
    this.events.acknowledged(n)
    this.socket.write(acknowledgementPacket(head, packetId))
  }
}

const ANSWERS: ReadonlyMap<number, Answer> = new Map([
  [PACKET.connack, "connack"],
  [PACKET.suback, "suback"],
  [PACKET.unsuback, "unsuback"],
  [PACKET.puback, "puback"],
  [PACKET.pubrec, "pubrec"],
  [PACKET.pubcomp, "pubcomp"],
  [PACKET.pingresp, "pingresp"],
])
