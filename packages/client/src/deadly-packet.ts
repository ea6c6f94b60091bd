import { quoted, someOf } from "@mqtt-trio/common"
import type { Packet } from "./mqtt-library.js"

/** A connection that lasts longer did not die of one packet. */
const SHORT_LIFE_MS = 5000
const DEADLY_CLOSES = 2
/** A message at QoS 0 is never answered: it counts when the connection is closed so soon after it, without any other packet, and more often. */
const SHORT_LIFE_QOS_0_MS = 500
const DEADLY_CLOSES_QOS_0 = 3

/**
 * Finds the packet that the broker answers by closing the connection, each time that it comes again: with MQTT 3.1.1, which has no
 * reason codes, that is all it can do. It counts when a connection is closed soon while nothing but this packet is unanswered.
 */
export class DeadlyPacket {
  private readonly unanswered = new Set<number>()
  private last: Packet | undefined
  private since = 0
  /** What was sent first at QoS 0 since anything came. */
  private unacknowledged: Packet | undefined
  private unacknowledgedSince = 0
  private suspect: string | undefined
  private deaths = 0

  sent(packet: Packet): void {
    if (packet.cmd === "publish" && packet.qos === 0 && this.unacknowledged === undefined) {
      this.unacknowledged = packet
      this.unacknowledgedSince = performance.now()
    }
    if (packet.messageId === undefined || !isRequest(packet)) return
    if (this.unanswered.size === 0) this.since = performance.now()
    this.unanswered.add(packet.messageId)
    this.last = packet
  }

  received({ cmd, messageId }: Packet): void {
    this.unacknowledged = undefined
    if (cmd !== "publish" && cmd !== "pubrec" && messageId !== undefined) this.unanswered.delete(messageId)
  }

  /** The connection is closed. Returns the description of the packet when it has died of it once too often. */
  closed(): string | undefined {
    const alone = this.unanswered.size === 1 && performance.now() - this.since < SHORT_LIFE_MS
    const atOnce = this.unanswered.size === 0 && performance.now() - this.unacknowledgedSince < SHORT_LIFE_QOS_0_MS
    const packet = alone ? this.last : atOnce ? this.unacknowledged : undefined
    const suspect = packet === undefined ? undefined : describe(packet)
    this.unanswered.clear()
    this.unacknowledged = undefined
    this.deaths = suspect !== undefined && suspect === this.suspect ? this.deaths + 1 : 1
    this.suspect = suspect
    return this.deaths < (alone ? DEADLY_CLOSES : DEADLY_CLOSES_QOS_0) ? undefined : suspect
  }
}

function isRequest(packet: Packet): boolean {
  return (packet.cmd === "publish" && packet.qos > 0) || ["pubrel", "subscribe", "unsubscribe"].includes(packet.cmd)
}

function describe(packet: Packet): string {
  if (packet.cmd === "publish") {
    const message = packet.qos === 0 ? "a message at QoS 0" : `message ${packet.messageId}`
    return `${message}, ${Buffer.byteLength(packet.payload)} bytes on ${quoted(packet.topic)}`
  }
  if (packet.cmd === "subscribe") return `the subscription to ${someOf(packet.subscriptions.map(({ topic }) => quoted(topic)))}`
  return `${packet.cmd.toUpperCase()} ${packet.messageId}`
}
