import type { Frames } from "../../wire/frames.js"
import type { Holder } from "./holder.js"
import type { Amount, Log } from "./log.js"

/** Who reads. */
export interface ReadingSession {
  /** below this position it needs nothing any more */
  readonly cursor: number
  /** The reader's log has more. */
  wake(reader: Reader): void
}

const NO_AMOUNT: Amount = { messages: 0, bytes: 0, expiring: 0 }

/** What a hold covers. */
export interface Hold {
  /** first position */
  since: number
  qos: 0 | 1 | 2
  filter: string
}

/** One Session's hold on a log, and its place in it. */
export class Reader implements Holder {
  chunk: Frames | undefined = undefined
  /** the next message within `chunk` */
  i = 0
  /** may have something to read */
  active = false
  /** position from which it does not hold any more: what was sent or queued before is still completed */
  until = Infinity
  /** the slot in the store of a hold that outlives its Subscription, 0: the Subscription's own row keeps it */
  slot = 0
  readonly since: number
  /** granted QoS, which caps what was published */
  qos: 0 | 1 | 2
  /** the Topic Filter that it was made for, "" when it is none: no other log has its messages */
  readonly filter: string
  private at: number
  /** what the log held below a position when it was counted last */
  private counted = { position: -1, below: NO_AMOUNT }
  /** chunks that were read from the store together, the next one last */
  private ahead: Frames[] = []
  private split: string[] | undefined = undefined

  constructor(
    private readonly session: ReadingSession,
    readonly log: Log,
    hold: Hold,
  ) {
    this.at = this.since = hold.since
    this.qos = hold.qos
    this.filter = hold.filter
  }

  /** The levels of the Topic Filter. */
  get levels(): readonly string[] {
    return (this.split ??= this.filter.split("/"))
  }

  /** Whether the Topic Filter has a wildcard. */
  get wild(): boolean {
    return this.filter.includes("+") || this.filter.includes("#")
  }

  /** The lowest position that this Session may still ask for. */
  get need(): number {
    return Math.max(this.session.cursor, this.since)
  }

  /** What waits for the Session in this log at or above `position`, what is in flight included. */
  waiting(position: number): Amount {
    const { log } = this
    const from = Math.max(position, this.need)
    if (this.counted.position !== from) this.counted = { position: from, below: log.countBelow(from) }
    const { below } = this.counted
    const end = this.until === Infinity ? { messages: log.total, bytes: log.totalBytes } : log.countBelow(this.until)
    return {
      messages: Math.max(0, end.messages - below.messages),
      bytes: Math.max(0, end.bytes - below.bytes),
      expiring: Math.max(0, log.totalExpiring - below.expiring),
    }
  }

  /** Passes what is below `position`. */
  forward(position: number): void {
    if (position <= this.at && !this.chunk) return
    this.chunk = undefined
    this.ahead = []
    this.at = Math.max(position, this.since)
  }

  /** Goes back to the first message that is not done. */
  rewind(): void {
    this.chunk = undefined
    this.ahead = []
    this.at = this.need
  }

  wake(): void {
    this.session.wake(this)
  }

  /** Position of the next durable message, -1 when there is none now. */
  peek(): number {
    const chunk = this.chunk
    if (chunk && this.i < chunk.n) return this.bounded(chunk.positionOf(this.i))
    const next = chunk ? this.behind(chunk) : this.log.find(this.at)
    this.chunk = next
    if (!next) return -1
    this.i = next.find(this.at)
    return this.bounded(next.positionOf(this.i))
  }

  /**
   * The message of `chunk` behind the last one that can be sent together with the next: below `limit`, within the hold, at
   * most `room` of them.
   */
  stretch(limit: number, room: number): number {
    const { chunk } = this
    if (!chunk) return this.i
    const stop = Math.min(chunk.n, this.i + room)
    const below = Math.min(limit, this.until)
    return chunk.positionOf(stop - 1) < below ? stop : Math.max(this.i + 1, Math.min(stop, chunk.find(below)))
  }

  private behind(chunk: Frames): Frames | undefined {
    this.at = chunk.last + 1
    if (!this.ahead.length) this.ahead = this.log.read(this.at).toReversed()
    return this.ahead.pop()
  }

  private bounded(position: number): number {
    return position < this.until ? position : -1
  }
}
