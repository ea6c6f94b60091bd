import { CliError, type ConnectionSettings, counted, describeTarget, messageOf, type Properties, quoted } from "@mqtt-trio/common"
import { DeadlyPacket } from "./deadly-packet.js"
import type { Connack, PublishOptions, Subscription } from "./packets.js"
import { forbiddenSubscribe, LARGEST_PACKET, tooLarge } from "./limits.js"
import type { MessageInlet, ReceivedMessage } from "./message-inlet.js"
import type { MqttClient, Packet } from "./mqtt-library.js"
import { isRefusalForGood, reasonText, refusalIn, refusedConnection } from "./refusals.js"
import { alertReason, withoutOpenSsl } from "./tls-words.js"
import { ordered, packetSize, wireProperties, type WireProperties } from "./wire.js"

/** What a connection tells its owner. */
export interface ConnectionHandlers {
  /** A message came. QoS 1 and 2 are acknowledged after `written` covers it. */
  readonly message?: (message: ReceivedMessage) => void
  /** Connected, for the first time or again; unacknowledged messages have been sent again and acknowledged. */
  readonly connected?: (resumed: boolean) => void
  /** The network connection is gone and will be tried again. */
  readonly lost?: (why: string) => void
  /** The connection is gone for good. */
  readonly failed?: (error: CliError) => void
}

/** How long a graceful end may take until the connection is dropped. */
const END_TIMEOUT_MS = 3000

/** A connection that does not last so long, several times in a row, is pushed out by somebody. */
const SHORT_LIFE_MS = 5000
const SHORT_LIVES = 3

/** What a PUBLISH without properties has besides topic and payload, and some more. */
const FRAME_BYTES = 16

const MALFORMED_WORDS = "the other side sent something that is not MQTT"

/** An open connection: reconnects by itself, resends what is unacknowledged, acknowledges what was written out. */
export class ClientConnection {
  /** The CONNACK of the latest connection (MQTT 5.0 section 3.2). */
  connack: Connack
  readonly settings: ConnectionSettings
  private readonly client: MqttClient
  private readonly handlers: ConnectionHandlers
  private readonly inlet: MessageInlet
  private readonly deadly = new DeadlyPacket()
  private attempts = 0
  private lostReason: string | undefined
  private connectedAt = performance.now()
  private shortLives = 0
  private ending = false

  /** Takes over a client that has just received `connack`; {@link openConnection} does that. */
  constructor(
    client: MqttClient,
    inlet: MessageInlet,
    more: { connack: Connack; settings: ConnectionSettings; handlers: ConnectionHandlers },
  ) {
    this.client = client
    this.inlet = inlet
    this.handlers = more.handlers
    this.connack = more.connack
    this.settings = more.settings
    client.options.reconnectPeriod = more.settings.reconnectPeriodMs
    client.options.reconnectOnConnackError = true
    if (more.settings.transientSession) client.options.clean = false
    // The session is found again by the id that the broker gave (MQTT 5.0 section 3.2.2.3.7).
    client.options.clientId = more.connack.properties?.assignedClientIdentifier ?? more.settings.clientId
    this.listen()
  }

  get connected(): boolean {
    return this.client.connected
  }

  /** Sends a PUBLISH; `done` is called once: when it is acknowledged (QoS 0: handed to the system), or refused. */
  publish(topic: string, payload: Buffer, options: PublishOptions, done: (error?: Error | null) => void): void {
    const { qos, retain } = options
    const properties = options.properties === undefined ? {} : { properties: wireProperties(options.properties) }
    if (options.properties !== undefined || payload.length + topic.length * 3 + FRAME_BYTES > this.limit) {
      const packet = { cmd: "publish", topic, payload, qos, retain, dup: false, messageId: 1, ...properties } as const
      const problem = this.problem(packet, `the message of ${payload.length} bytes on ${quoted(topic)}`)
      if (problem !== undefined) return done(problem)
    }
    this.client.publish(topic, payload, { qos, retain, ...properties }, done)
  }

  /**
   * Subscribes, with one SUBSCRIBE for each QoS among the filters; resolves with the code for each filter: the granted QoS, or a reason
   * code from 0x80 on. All other options are those of the first filter. Throws when the connection is lost meanwhile, and before
   * anything is sent when the broker's CONNACK forbids it.
   */
  async subscribe(subscriptions: readonly Subscription[], properties?: Properties): Promise<number[]> {
    const forbidden = forbiddenSubscribe(this.connack, subscriptions, properties)
    if (forbidden !== undefined) throw forbidden
    const codes = new Map<string, number>()
    for (const qos of [0, 1, 2] as const) {
      const same = subscriptions.filter((one) => one.qos === qos)
      if (same.length === 0) continue
      const granted = await this.subscribeOnce(same, properties)
      for (const [index, { filter }] of same.entries()) codes.set(filter, granted[index] ?? 0x80)
    }
    return subscriptions.map(({ filter }) => codes.get(filter) ?? 0x80)
  }

  /** Sends one UNSUBSCRIBE and resolves when it is acknowledged. */
  async unsubscribe(filters: readonly string[], properties?: Properties): Promise<void> {
    const options = properties === undefined ? {} : { properties: wireProperties(properties) }
    const problem = this.problem({ cmd: "unsubscribe", messageId: 1, unsubscriptions: [...filters], ...options }, "the UNSUBSCRIBE")
    if (problem !== undefined) throw problem
    await this.client.unsubscribeAsync([...filters], options)
  }

  /**
   * Asks with PINGREQ whether what was sent at QoS 0 has arrived: false when the connection is lost instead. Says true, too, when the
   * broker says nothing for 3 s, and when the signal is aborted.
   */
  async arrived(signal: AbortSignal): Promise<boolean> {
    if (!this.client.connected) return false
    const asking = new AbortController()
    const limit = AbortSignal.any([signal, AbortSignal.timeout(END_TIMEOUT_MS), asking.signal])
    const answered = ({ cmd }: Packet): void => {
      if (cmd === "pingresp") asking.abort()
    }
    return new Promise((resolve) => {
      const lost = (): void => {
        resolve(false)
        asking.abort()
      }
      limit.addEventListener("abort", () => {
        this.client.off("packetreceive", answered)
        this.client.off("close", lost)
        resolve(true)
      })
      this.client.on("packetreceive", answered)
      this.client.on("close", lost)
      this.client.sendPing()
    })
  }

  /** Hands over messages from now on; those that come earlier wait. */
  receive(): void {
    this.inlet.open()
  }

  /** The first `count` messages of this process are written out: acknowledge them. */
  written(count: number): void {
    this.inlet.written(count)
  }

  /** Takes no further messages for good; acknowledges what was taken when it is written out. */
  stopTaking(): void {
    this.inlet.close()
  }

  /** Takes no further messages until {@link resume}; the connection is kept alive meanwhile. */
  pause(): void {
    this.inlet.pause()
  }

  resume(): void {
    this.inlet.resume()
  }

  /** Sends DISCONNECT (MQTT 5.0 section 3.14) after everything that was sent before; resolves when the connection is closed, at most 3 s later. */
  async end(properties = this.settings.disconnectProperties): Promise<void> {
    this.stop()
    const all = this.settings.transientSession ? { ...properties, sessionExpiryInterval: 0 } : properties
    const options = all === undefined ? {} : this.fitting({ properties: wireProperties(all) })
    const graceful = this.client.connected
    // Whoever ends does not wait for acknowledgements any more; MQTT.js would.
    this.client.outgoing = {}
    await new Promise<void>((resolve) => {
      const limit = setTimeout(() => {
        this.client.stream.destroy()
        resolve()
      }, END_TIMEOUT_MS)
      this.client.end(!graceful, options, () => {
        clearTimeout(limit)
        resolve()
      })
    })
  }

  /** A DISCONNECT without what makes it larger than the broker takes [MQTT-3.14.2-3, MQTT-3.14.2-4]. */
  private fitting(options: { properties: WireProperties }): { properties: WireProperties } {
    if (this.problem({ cmd: "disconnect", ...options }, "") === undefined) return options
    const { sessionExpiryInterval } = options.properties
    return { properties: sessionExpiryInterval === undefined ? {} : { sessionExpiryInterval } }
  }

  /** Drops the network connection without DISCONNECT; a Will is published by the broker. */
  async abort(): Promise<void> {
    this.stop()
    await new Promise<void>((resolve) => {
      this.client.end(true, {}, () => resolve())
    })
  }

  /** An array, not an object by filter: there `resubscribe` and `__proto__` would be no filters, and numbers would come first. */
  private subscribeOnce(subscriptions: readonly Subscription[], properties: Properties | undefined): Promise<number[]> {
    const [first] = subscriptions
    const filters = subscriptions.map(({ filter }) => filter)
    const shared = { nl: first?.noLocal ?? false, rap: first?.retainAsPublished ?? false, rh: first?.retainHandling ?? 0 }
    const options = { qos: first?.qos ?? 0, ...shared, ...(properties === undefined ? {} : { properties: wireProperties(properties) }) }
    const packet = { cmd: "subscribe", messageId: 1, subscriptions: filters.map((topic) => ({ topic, ...options })), ...options } as const
    const problem = this.problem(packet, `the SUBSCRIBE with ${filters.length} ${filters.length === 1 ? "filter" : "filters"}`)
    if (problem !== undefined) return Promise.reject(problem)
    return new Promise((resolve, reject) => {
      this.client.subscribe(filters, options, (error, _granted, packet) => {
        if (packet === undefined) reject(error ?? new Error("the subscription was not answered"))
        else resolve(packet.granted.map(Number))
      })
    })
  }

  private get limit(): number {
    return this.connack.properties?.maximumPacketSize ?? LARGEST_PACKET
  }

  /** The error for a packet that is larger than the broker takes [MQTT-3.2.2-15]. */
  private problem(packet: Packet, what: string): CliError | undefined {
    const size = packetSize(packet, this.settings.version)
    return size > this.limit ? tooLarge(what, size, this.limit) : undefined
  }

  private stop(): void {
    this.ending = true
    this.inlet.close()
    // A stream that closes late would make MQTT.js connect again after its end.
    this.client.options.reconnectPeriod = 0
  }

  private listen(): void {
    const client = this.client
    client.on("packetsend", (packet) => this.deadly.sent(packet))
    client.on("packetreceive", (packet) => {
      this.deadly.received(packet)
      if (packet.cmd === "connack" && (packet.reasonCode ?? packet.returnCode ?? 0) === 0) this.connack = ordered(packet)
    })
    client.on("connect", () => {
      this.attempts = 0
      this.lostReason = undefined
      this.connectedAt = performance.now()
      this.inlet.connected(this.connack.sessionPresent)
      this.handlers.connected?.(this.connack.sessionPresent)
    })
    client.on("disconnect", (packet) => this.disconnectedBy(packet.reasonCode ?? 0))
    client.on("close", () => this.closed())
    client.on("reconnect", () => {
      this.attempts += 1
      if (this.attempts <= this.settings.maxReconnects) return
      // MQTT.js connects right after this event; only then can that be ended.
      setImmediate(() => this.fail(`no connection after ${counted(this.settings.maxReconnects, "attempt")}`))
    })
    client.on("error", (error) => this.failedOnce(error))
  }

  private disconnectedBy(reason: number): void {
    this.lostReason = `the broker closed it: ${reasonText(reason)}`
    if (reason === 0x8e) {
      const hint = "two clients with one id push each other out: give each its own --client"
      this.fail(`another client connected with the id ${quoted(this.settings.clientId)}`, hint)
    } else if (isRefusalForGood(reason)) this.fail(this.lostReason)
  }

  private closed(): void {
    this.inlet.disconnected()
    const deadly = this.deadly.closed()
    if (this.ending) return
    const why = this.lostReason ?? "connection closed"
    if (deadly !== undefined) this.fail(`${why}, each time when the broker gets this: ${deadly}`, this.deadlyHint())
    else if (this.settings.reconnectPeriodMs === 0) this.fail(why)
    else if (this.attempts === 0) this.handlers.lost?.(why + this.suspicion())
  }

  /** Before version 5 nobody says why a connection is closed; two clients with one id show by doing it to each other again and again. */
  private suspicion(): string {
    const short = performance.now() - this.connectedAt < SHORT_LIFE_MS
    this.shortLives = short ? this.shortLives + 1 : 0
    const id = quoted(this.settings.clientId)
    return this.shortLives < SHORT_LIVES ? "" : `; again and again: does another client use the id ${id}? Give each its own --client`
  }

  private deadlyHint(): string {
    const cause = "is it larger than the broker takes, or not allowed there?"
    return this.settings.version === 5 ? cause : `${cause} With MQTT 5 (-V 5) a broker says why`
  }

  private failedOnce(error: Error): void {
    const reason = refusalIn(error)
    if (reason !== undefined) {
      this.lostReason = reasonText(reason)
      if (isRefusalForGood(reason)) this.fail(refusedConnection(reason, this.settings))
      return
    }
    const code: unknown = "code" in error ? error.code : undefined
    // MQTT.js gives these a number, as the broker's refusals, when the broker breaks the protocol.
    if (typeof code === "number") return this.fail(`this client closed it: ${error.message}`)
    if (typeof code === "string") {
      this.lostReason ??= alertReason(error.message)?.[0] ?? withoutOpenSsl(messageOf(error))
      return
    }
    this.lostReason = /Keepalive timeout|connack timeout/.test(error.message)
      ? "no answer from the broker"
      : `${MALFORMED_WORDS} (${error.message})`
    this.client.stream.destroy()
  }

  private fail(why: string | CliError, hint?: string): void {
    if (this.ending) return
    this.stop()
    const message = typeof why === "string" ? `connection to ${describeTarget(this.settings.target)} lost: ${why}` : why.message
    const error = typeof why === "string" ? new CliError("connection-lost", message, { hint }) : why
    this.handlers.failed?.(error)
    this.client.end(true)
  }
}
