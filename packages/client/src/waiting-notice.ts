import { counted, type Diagnostics } from "@mqtt-trio/common"
import type { MqttClient } from "./mqtt-library.js"

/** How long nobody says anything about an answer that does not come; after each time the next one is twice as long. */
const FIRST_MS = 5000
const LOOK_MS = 1000

interface Packet {
  readonly cmd: string
  readonly qos?: number
  readonly messageId?: number | undefined
  readonly reasonCode?: number | undefined
}

/**
 * Says on stderr that the broker does not answer: to the connection, to SUBSCRIBE or UNSUBSCRIBE, to messages. What counts is the time
 * since the last answer; it goes on only while something is waited for.
 */
export class WaitingNotice {
  private connecting = true
  /** Packet Identifiers. */
  private readonly requests = new Set<number>()
  private readonly messages = new Set<number>()
  private since = performance.now()
  private nextMs = FIRST_MS

  /** `reading` says whether answers are read at all: not while our own output takes nothing. */
  constructor(
    private readonly target: string,
    private readonly diagnostics: Diagnostics,
    private readonly reading: () => boolean,
  ) {}

  /** Begins before the first attempt to connect. */
  watch(client: MqttClient): void {
    client.on("packetsend", (packet) => this.sent(packet))
    client.on("packetreceive", (packet) => this.received(packet))
    client.on("reconnect", () => this.begin(true))
    client.on("close", () => this.begin(false))
    const timer = setInterval(() => this.look(), LOOK_MS)
    timer.unref()
    client.on("end", () => clearInterval(timer))
  }

  private look(): void {
    if (!this.reading()) this.progress()
    const waited = performance.now() - this.since
    const what = this.what()
    if (what === undefined || waited < this.nextMs) return
    this.nextMs *= 2
    this.diagnostics.warn(`${this.target} has not answered for ${Math.floor(waited / 1000)} s: ${what}`)
  }

  private what(): string | undefined {
    if (this.connecting) return "the connection is not accepted yet"
    if (this.requests.size > 0) return "the subscription is not acknowledged yet"
    const { size } = this.messages
    return size === 0 ? undefined : `${counted(size, "message")} ${size === 1 ? "is" : "are"} not acknowledged yet`
  }

  private begin(connecting: boolean): void {
    this.connecting = connecting
    this.requests.clear()
    this.messages.clear()
    this.progress()
  }

  private progress(): void {
    this.since = performance.now()
    this.nextMs = FIRST_MS
  }

  private sent({ cmd, qos = 0, messageId = 0 }: Packet): void {
    if (this.requests.size + this.messages.size === 0) this.progress()
    if (cmd === "subscribe" || cmd === "unsubscribe") this.requests.add(messageId)
    else if (cmd === "pubrel" || (cmd === "publish" && qos > 0)) this.messages.add(messageId)
  }

  private received({ cmd, reasonCode = 0, messageId = 0 }: Packet): void {
    if (cmd === "connack") this.connecting = false
    else if (cmd === "suback" || cmd === "unsuback") this.requests.delete(messageId)
    else if (cmd === "puback" || cmd === "pubcomp" || (cmd === "pubrec" && reasonCode >= 0x80)) this.messages.delete(messageId)
    else if (cmd !== "pubrec") return
    this.progress()
  }
}
