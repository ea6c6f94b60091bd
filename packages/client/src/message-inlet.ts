import type { Qos } from "@mqtt-trio/common"
import { DeferredAcknowledgements } from "./deferred-acknowledgements.js"
import type { IPublishPacket, MqttClient } from "./mqtt-library.js"
import { ordered, type Ordered } from "./wire.js"

/** A message as it came. */
export interface ReceivedMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly dup: boolean
  /** Packet Identifier; 0 at QoS 0. */
  readonly messageId: number
  readonly properties: Ordered<IPublishPacket>["properties"]
}

/**
 * The way of received messages out of MQTT.js. Each is handed over once: QoS 1 when it comes, QoS 2 when its PUBLISH comes (so that
 * PUBREC can wait until it is written out; its identifier is remembered until PUBREL). Acknowledgements wait for {@link written}.
 */
export class MessageInlet {
  private readonly client: MqttClient
  private readonly acknowledgements: DeferredAcknowledgements
  private readonly take: ((message: ReceivedMessage) => void) | undefined
  private readonly awaitingRelease = new Set<number>()
  private topic = ""
  private isOpen = false
  private isPaused = false
  private closed = false
  private waiting: (() => void) | undefined
  private keepAlive: NodeJS.Timeout | undefined

  constructor(client: MqttClient, take: ((message: ReceivedMessage) => void) | undefined) {
    this.client = client
    this.acknowledgements = new DeferredAcknowledgements(client)
    this.take = take
    client.on("message", (topic) => {
      this.topic = topic
    })
    client.handleMessage = (packet, done) => {
      if (packet.qos === 2) {
        this.awaitingRelease.delete(packet.messageId ?? 0)
        done()
      } else this.deliver(this.topic, packet, done)
    }
    // Set after construction, because MQTT.js drops it there for versions before 5.
    client.options.customHandleAcks = (topic, _payload, packet: IPublishPacket, done) => {
      const id = packet.messageId ?? 0
      if (packet.qos !== 2 || this.awaitingRelease.has(id)) return done(0, 0)
      this.awaitingRelease.add(id)
      return this.deliver(topic, packet, () => done(0, 0))
    }
  }

  written(count: number): void {
    this.acknowledgements.written(count)
  }

  /** Hands over what came and what comes; until then the first message waits, and with it all others. */
  open(): void {
    this.isOpen = true
    this.release()
  }

  /** Nothing is read from the broker. */
  get paused(): boolean {
    return this.isPaused
  }

  pause(): void {
    if (this.isPaused) return
    this.isPaused = true
    const seconds = this.client.keepalive ?? 0
    if (seconds > 0) this.keepAlive = setInterval(() => this.ping(), seconds * 500)
  }

  resume(): void {
    this.isPaused = false
    clearInterval(this.keepAlive)
    this.release()
  }

  /** A session that was not resumed knows no identifiers any more. */
  connected(resumed: boolean): void {
    if (!resumed) this.awaitingRelease.clear()
  }

  disconnected(): void {
    this.acknowledgements.forget()
    this.waiting = undefined
  }

  /** Nothing is handed over, and so nothing acknowledged, from now on. */
  close(): void {
    this.closed = true
    clearInterval(this.keepAlive)
  }

  private deliver(topic: string, packet: IPublishPacket, done: (error?: Error) => void): void {
    if (this.closed) {
      // The broker keeps what comes from here on: with an error MQTT.js goes on without acknowledging; at QoS 2 it has to stop there.
      if (packet.qos < 2) done(new Error("not taken"))
      return
    }
    if (!this.isOpen) {
      this.waiting = () => this.deliver(topic, packet, done)
      return
    }
    this.acknowledgements.delivered()
    this.take?.(received(topic, packet))
    if (this.isPaused) this.waiting = done
    else done()
  }

  private release(): void {
    const next = this.waiting
    this.waiting = undefined
    next?.()
  }

  /** While nothing is read no PINGRESP comes: tell the broker that we live, and MQTT.js not to wait for it. */
  private ping(): void {
    if (!this.client.connected) return
    this.client.sendPing()
    this.client.reschedulePing(true)
  }
}

function received(topic: string, packet: IPublishPacket): ReceivedMessage {
  const payload = typeof packet.payload === "string" ? Buffer.from(packet.payload) : packet.payload
  const { qos, retain, dup, messageId = 0, properties } = ordered(packet)
  return { topic, payload, qos, retain, dup, messageId, properties }
}
