import { quoted } from "@mqtt-trio/common"
import type { Packet } from "./mqtt-library.js"

/** A connection that lasts longer did not die of one packet. */
const SHORT_LIFE_MS = 5000
const DEADLY_CLOSES = 2

/**
 * Finds the packet that the broker answers by closing the connection, each time that it comes again: with MQTT 3.1.1, which has no
 * reason codes, that is all it can do. It counts when a connection is closed soon while nothing but this packet is unanswered.
 */
export class DeadlyPacket {
  private readonly unanswered = new Set<number>()
  private last: Packet | undefined
  private since = 0
  private suspect: string | undefined
  private deaths = 0

  sent(packet: Packet): void {
    if (packet.messageId === undefined || !isRequest(packet)) return
    if (this.unanswered.size === 0) this.since = performance.now()
    this.unanswered.add(packet.messageId)
    this.last = packet
  }

  received({ cmd, messageId }: Packet): void {
    if (cmd !== "publish" && cmd !== "pubrec" && messageId !== undefined) this.unanswered.delete(messageId)
  }

  /** The connection is closed. Returns the description of the packet when it has died of it once too often. */
  closed(): string | undefined {
    const alone = this.unanswered.size === 1 && performance.now() - this.since < SHORT_LIFE_MS
    const suspect = alone && this.last !== undefined ? describe(this.last) : undefined
    this.unanswered.clear()
    this.deaths = suspect !== undefined && suspect === this.suspect ? this.deaths + 1 : 1
    this.suspect = suspect
    return this.deaths < DEADLY_CLOSES ? undefined : suspect
  }
}

function isRequest(packet: Packet): boolean {
  return (packet.cmd === "publish" && packet.qos > 0) || ["pubrel", "subscribe", "unsubscribe"].includes(packet.cmd)
}

function describe(packet: Packet): string {
  if (packet.cmd === "publish") return `message ${packet.messageId}, ${Buffer.byteLength(packet.payload)} bytes on ${quoted(packet.topic)}`
  if (packet.cmd === "subscribe") return `the subscription to ${packet.subscriptions.map(({ topic }) => quoted(topic)).join(", ")}`
  return `${packet.cmd.toUpperCase()} ${packet.messageId}`
}
