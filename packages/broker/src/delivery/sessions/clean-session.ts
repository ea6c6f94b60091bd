import { Frames, Trait } from "../../wire/frames.js"
import { Reason } from "../../wire/reason-codes.js"
import { Pause, type Outlet } from "../outlet.js"
import { CHUNK_BYTES } from "../logs/chunk-cache.js"
import { Session, type Surroundings, UNSENT_BYTES } from "./session.js"
import type { Count } from "./waiting.js"

/** What may wait for a Clean Session, in bytes: beyond it the connection is closed, since QoS 1 and 2 must not be dropped. */
const MOST_QUEUED_BYTES = 64 << 20
/** From here on its publishers wait for it, for at most WAIT_MS at a time. */
const SLOW_BYTES = 1 << 20
const WAIT_MS = 50

/** A Session that ends with its network connection: all of it is in memory. */
export class CleanSession extends Session {
  readonly persistent = false
  readonly endsWithConnection = true
  private readonly queue: Frames[] = []
  private sent = 0 // messages of queue[0]
  private queued = 0 // bytes
  private readonly publishers = new Set<Outlet>()
  private timer: NodeJS.Timeout | undefined
  private stalled = false

  constructor(clientId: string, user: string | undefined, surroundings: Surroundings) {
    super(clientId, 0, user, surroundings)
  }

  get behind(): boolean {
    return this.queued > SLOW_BYTES
  }

  /** Takes messages `i` up to `n` of a run at QoS 1 or 2: sends what the window has room for, queues the rest. */
  offer(run: Frames, publisher: Outlet | undefined): void {
    const outlet = this.outlet
    let k = 0
    if (outlet && !this.queue.length && outlet.unsent < UNSENT_BYTES) {
      k = Math.min(run.n, Math.max(0, this.window.room))
      if (k) this.sendRun(run, 0, k, PLAIN_SENDING)
    }
    if (k < run.n) this.keep(run, k)
    if (this.queued > SLOW_BYTES && publisher && publisher !== outlet) this.slow(publisher)
  }

  private keep(run: Frames, k: number): void {
    const size = run.endOf(run.n - 1) - run.startOf(k)
    this.queued += size
    if (this.queued > MOST_QUEUED_BYTES) {
      this.outlet?.refuse(Reason.QUOTA_EXCEEDED, `more than ${MOST_QUEUED_BYTES >> 20} MB wait for a Clean Session`)
      return
    }
    const { time } = this.surroundings
    let chunk = this.queue.at(-1)
    // the age of a chunk counts for all of its messages that expire
    const aged = chunk && run.traits & Trait.EXPIRY && time.now - chunk.createdAt > 1000
    if (!chunk || aged || chunk.bytes + size > CHUNK_BYTES) {
      chunk = new Frames(Buffer.allocUnsafe(Math.max(size, chunk ? CHUNK_BYTES : 4096)), 8)
      chunk.createdAt = time.now
      this.queue.push(chunk)
    }
    chunk.append(run, k, run.n, 0)
  }

  countWaiting(): Count {
    const queued = this.queue.reduce((sum, chunk) => sum + chunk.n, 0) - this.sent
    return { messages: queued + this.window.needing(0), exact: true }
  }

  pump(): void {
    for (let chunk = this.queue[0]; chunk && this.outlet && this.outlet.unsent < UNSENT_BYTES; chunk = this.queue[0]) {
      const k = Math.min(this.window.room, chunk.n - this.sent)
      if (k <= 0) return
      this.sendRun(chunk, this.sent, this.sent + k, PLAIN_SENDING)
      this.sent += k
      if (this.sent < chunk.n) continue
      this.queue.shift()
      this.sent = 0
      this.queued -= chunk.bytes
      if (this.queued < SLOW_BYTES / 2) this.caughtUp()
    }
  }

  protected finish(entry: number): void {
    this.window.finish(entry)
  }

  protected sendStored(bytes: Buffer): void {
    this.outlet?.push(bytes)
  }

  override detach(): void {
    super.detach()
    this.queue.length = 0
    this.queued = 0
    this.releasePublishers()
  }

  /**
   * A publisher that is faster than a reading receiver waits until half of it is read, or 50 ms: a frozen receiver,
   * or two that wait for each other, stop nobody for good.
   */
  private slow(publisher: Outlet): void {
    if (this.stalled) return
    publisher.pauseReading(Pause.RECEIVER)
    this.publishers.add(publisher)
    this.timer ??= setTimeout(() => {
      this.stalled = true
      this.releasePublishers()
    }, WAIT_MS)
  }

  private caughtUp(): void {
    this.stalled = false
    if (this.publishers.size) this.releasePublishers()
  }

  private releasePublishers(): void {
    if (this.timer) clearTimeout(this.timer)
    this.timer = undefined
    for (const publisher of this.publishers) publisher.resumeReading(Pause.RECEIVER)
    this.publishers.clear()
  }
}

/** what is queued has the granted QoS already */
const PLAIN_SENDING = { cap: 2, dupBelow: 0 } as const
