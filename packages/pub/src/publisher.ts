import { CliError, quoted } from "@mqtt-trio/common"
import { refusedRequest, type ClientConnection, type PublishOptions } from "@mqtt-trio/client"

/** Called when a message is acknowledged (QoS 0: handed to the system); `refused` is set when the broker said no. */
export type Acknowledged = (refused: CliError | undefined) => void

/**
 * Sends messages in order, never more than a window of them unacknowledged, and nothing while the connection is away.
 * What was sent and not acknowledged is sent again by the connection before anything new.
 */
export class Publisher {
  sent = 0
  acknowledged = 0
  refused = 0
  /** The first refusal. */
  refusal: CliError | undefined
  /** A message was refused before it was sent: what is like it will be, too. */
  unsendable = false
  /** Set when the connection is gone for good. */
  failure: CliError | undefined
  private readonly window: number
  private attached: ClientConnection | undefined
  private online = false
  private sentCount = 0
  private unconfirmed = 0
  private generation = 0
  private waiting: (() => void)[] = []

  constructor(window: number) {
    this.window = window
  }

  /** Starts sending; the window is the smaller one of ours and the broker's Receive Maximum (MQTT 5.0 section 3.2.2.3.3). */
  attach(connection: ClientConnection): void {
    this.attached = connection
    this.online = true
    this.wake()
  }

  get connection(): ClientConnection | undefined {
    return this.attached
  }

  get inFlight(): number {
    return this.sentCount
  }

  /** True when a message can be sent at once. */
  get ready(): boolean {
    return this.failure === undefined && this.online && this.inFlight < this.limit
  }

  /** Resolves when a message can be sent, when the connection is gone for good, or when the signal is aborted. */
  async whenReady(signal: AbortSignal): Promise<void> {
    while (!this.ready && this.failure === undefined && !signal.aborted) await this.change(signal)
  }

  /** Resolves when nothing is in flight, when the connection is gone for good, or when the signal is aborted. */
  async whenDrained(signal: AbortSignal): Promise<void> {
    while (this.inFlight > 0 && this.failure === undefined && !signal.aborted) await this.change(signal)
  }

  /** Sends one message; call it when {@link ready}. */
  send(topic: string, payload: Buffer, options: PublishOptions, acknowledged?: Acknowledged): void {
    const generation = this.generation
    this.sent += 1
    this.sentCount += 1
    if (options.qos === 0) this.unconfirmed += 1
    this.connection?.publish(topic, payload, options, (error) => {
      // QoS 0 that was written to a connection which died then is lost, and was given up when that happened.
      if (options.qos === 0 && generation !== this.generation) return
      // The connection gave up: what it could not deliver stays unacknowledged.
      if (this.failure !== undefined) return
      if (options.qos === 0) this.unconfirmed -= 1
      this.sentCount -= 1
      const refused = refusalOf(error, topic)
      if (error instanceof CliError) this.unsendable = true
      if (refused === undefined) this.acknowledged += 1
      else this.refuse(refused)
      acknowledged?.(refused)
      this.wake()
    })
  }

  /** Counts a message that cannot be sent. */
  leaveOut(error: CliError): void {
    this.sent += 1
    this.refuse(error)
  }

  connected(): void {
    this.online = true
    this.wake()
  }

  /** The connection is away: what was sent at QoS 0 and not taken by the system is lost, as QoS 0 may be. */
  lost(): void {
    this.online = false
    this.generation += 1
    this.sentCount -= this.unconfirmed
    this.unconfirmed = 0
  }

  failed(error: CliError): void {
    this.failure = error
    this.wake()
  }

  private get limit(): number {
    return Math.min(this.window, this.connection?.connack.properties?.receiveMaximum ?? this.window)
  }

  private refuse(error: CliError): void {
    this.refused += 1
    this.refusal ??= error
  }

  private change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener("abort", done)
        resolve()
      }
      signal.addEventListener("abort", done)
      this.waiting.push(done)
    })
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve()
  }
}

/** Packet Identifier not found: after PUBREC it means that a new session knows nothing of the PUBREL; the message was taken before. */
const IDENTIFIER_NOT_FOUND = 0x92

function refusalOf(error: Error | null | undefined, topic: string): CliError | undefined {
  if (error === undefined || error === null) return undefined
  if (error instanceof CliError) return error
  const code: unknown = "code" in error ? error.code : undefined
  if (code === IDENTIFIER_NOT_FOUND) return undefined
  return refusedRequest(`the message on ${quoted(topic)}`, typeof code === "number" ? code : 0x80)
}
