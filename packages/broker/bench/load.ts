import type { Link } from "./link.js"
import type { FrameRing } from "./packets.js"

/** Bytes handed to a socket at once at QoS 0, and how many may wait in it. */
const SLICE_BYTES = 65_536
const UNSENT_BYTES = 262_144

/** What a publisher needs beside its connection. */
export interface PublisherOptions {
  link: Link
  ring: FrameRing
  /** Unacknowledged messages at QoS 1; 0 means QoS 0: no window, `mayRun` alone decides. */
  window: number
  /** Messages to publish; endless by default. */
  total?: number
  /** At QoS 0: false while the receivers are too far behind. */
  mayRun?: () => boolean
}

/** Writes slices of a ring of prepared PUBLISH packets as fast as the window, the socket and the receivers allow. */
export class LoadPublisher {
  /** Messages handed to the socket. */
  sent = 0
  private running = false
  private readonly options: Required<PublisherOptions>

  constructor(options: PublisherOptions) {
    this.options = { total: Number.POSITIVE_INFINITY, mayRun: () => true, ...options }
    options.link.onAcknowledged = () => this.pump()
    options.link.onDrain = () => this.pump()
  }

  /** Messages acknowledged (QoS 1). */
  get acknowledged(): number {
    return this.options.link.acknowledged
  }

  start(): void {
    this.running = true
    this.pump()
  }

  /** Publishes nothing more; what is in flight completes. */
  stop(): void {
    this.running = false
  }

  /** Writes what may be written now. */
  pump(): void {
    const { link, ring, window, total, mayRun } = this.options
    const atOnce = Math.max(1, Math.floor(SLICE_BYTES / ring.frameLength))
    while (this.running && this.sent < total && link.unsent < UNSENT_BYTES) {
      const room = window > 0 ? window - (this.sent - link.acknowledged) : mayRun() ? atOnce : 0
      if (room <= 0) return
      this.write(Math.min(room, atOnce, total - this.sent))
    }
  }

  private write(messages: number): void {
    const { link, ring } = this.options
    const at = this.sent % ring.count
    const count = Math.min(messages, ring.count - at)
    this.sent += count
    link.write(ring.bytes.subarray(at * ring.frameLength, (at + count) * ring.frameLength))
  }
}
