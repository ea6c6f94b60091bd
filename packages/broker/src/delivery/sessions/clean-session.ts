import { Frames, Trait } from "../../wire/frames.js"
import type { Place } from "../../accounting/tally.js"
import { Reason } from "../../wire/reason-codes.js"
import { Pause, type Outlet } from "../outlet.js"
import { CHUNK_BYTES } from "../logs/chunk-cache.js"
import { type Keeper, Session, type Surroundings, UNSENT_BYTES } from "./session.js"
import type { Count } from "./waiting.js"

/** What may wait for a Clean Session, in bytes: beyond it the connection is closed, since QoS 1 and 2 must not be dropped. */
const MOST_QUEUED_BYTES = 64 << 20
/** From here on its publishers wait for it, for at most WAIT_MS at a time. */
const SLOW_BYTES = 1 << 20
const WAIT_MS = 50

/** From this size on messages are kept where they lie, once for all receivers; below it sharing them takes as much as a copy. */
const SHARED_FROM_BYTES = 1024
/** The first block of a queue, in bytes; most never have another. */
const SMALL_BLOCK_BYTES = 4096
/** What a part of a queue takes in memory beside its bytes. */
const PIECE_COST_BYTES = 300

/** A part of the queue. */
interface Piece {
  readonly frames: Frames
  /** its first message that was not sent */
  next: number
  /** others have it too: nothing can be added */
  readonly isShared: boolean
  /** bytes of memory that are counted for it */
  readonly cost: number
}

/** A Session that ends with its network connection: all of it is in memory. */
export class CleanSession extends Session {
  readonly persistent = false
  readonly endsWithConnection = true
  private readonly queue: Piece[] = []
  private queued = 0 // bytes
  private readonly publishers = new Set<Outlet>()
  private timer: NodeJS.Timeout | undefined
  private stalled = false

  constructor(clientId: string, user: string | undefined, surroundings: Surroundings, place: Place) {
    super({ id: 0, clientId, user }, surroundings, place.tally(false))
  }

  get behind(): boolean {
    return this.queued > SLOW_BYTES
  }

  /** Takes a run at QoS 1 or 2: sends what the window has room for, queues the rest. */
  offer(run: Frames, publisher: Outlet | undefined, variants: Keeper): void {
    const outlet = this.outlet
    let k = 0
    if (outlet && !this.queue.length && outlet.unsent < UNSENT_BYTES) {
      k = Math.min(run.n, Math.max(0, this.window.room))
      if (k) this.sendRun(run, 0, k, PLAIN_SENDING)
    }
    if (k < run.n) this.keep(run, k, variants)
    if (this.queued > SLOW_BYTES && publisher && publisher !== outlet) this.slow(publisher)
  }

  private keep(run: Frames, k: number, variants: Keeper): void {
    const size = run.endOf(run.n - 1) - run.startOf(k)
    this.queued += size
    if (this.queued > MOST_QUEUED_BYTES) {
      this.outlet?.refuse(Reason.QUOTA_EXCEEDED, `more than ${MOST_QUEUED_BYTES >> 20} MB wait for a Clean Session`)
      return
    }
    if (size >= SHARED_FROM_BYTES) {
      const frames = variants.keep(run, this.surroundings.time.now)
      this.push({ frames, next: k, isShared: true, cost: Math.ceil(size / run.receivers) + PIECE_COST_BYTES })
    } else this.roomFor(run, size).append(run, k, run.n, 0)
  }

  private push(piece: Piece): void {
    this.queue.push(piece)
    this.tally.add("queues", piece.cost)
  }

  /** The block of its own that a few small messages go to. */
  private roomFor(run: Frames, size: number): Frames {
    const { time } = this.surroundings
    const last = this.queue.at(-1)
    // the age of a block counts for all of its messages that expire
    const isAged = last && run.traits & Trait.EXPIRY && time.now - last.frames.createdAt > 1000
    if (last && !last.isShared && !isAged && last.frames.bytes + size <= last.frames.buf.length) return last.frames
    const frames = new Frames(Buffer.allocUnsafe(last ? CHUNK_BYTES : SMALL_BLOCK_BYTES), 8)
    frames.createdAt = time.now
    // with one message of a few bytes after the other the index is as long as they are
    this.push({ frames, next: 0, isShared: false, cost: frames.buf.length * (last ? 2 : 1) + PIECE_COST_BYTES })
    return frames
  }

  countWaiting(): Count {
    const queued = this.queue.reduce((sum, { frames, next }) => sum + frames.n - next, 0)
    return { messages: queued + this.window.needing(0), exact: true }
  }

  pump(): void {
    for (let piece = this.queue[0]; piece && this.outlet && this.outlet.unsent < UNSENT_BYTES; piece = this.queue[0]) {
      const { frames, next } = piece
      const k = Math.min(this.window.room, frames.n - next)
      if (k <= 0) return
      this.sendRun(frames, next, next + k, PLAIN_SENDING)
      piece.next += k
      this.queued -= frames.endOf(next + k - 1) - frames.startOf(next)
      if (piece.next < frames.n) continue
      this.queue.shift()
      this.tally.add("queues", -piece.cost)
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
    for (const { cost } of this.queue.splice(0)) this.tally.add("queues", -cost)
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
