import type { Frames } from "../wire/frames.js"
import type { Log } from "./log.js"
import type { PersistentSession } from "./persistent-session.js"

/** One Session's hold on a log, and its place in it. */
export class Reader {
  chunk: Frames | null = null
  /** the next message within `chunk` */
  i = 0
  /** may have something to read */
  active = false
  /** position from which it does not hold any more: what was sent or queued before is still completed */
  until = Infinity
  private at: number
  /** chunks that were read from the store together, the next one last */
  private ahead: Frames[] = []

  /**
   * @param since first position that the Subscription covers
   * @param qos granted QoS, which caps what was published
   */
  constructor(
    readonly session: PersistentSession,
    readonly log: Log,
    readonly since: number,
    public qos: 0 | 1 | 2,
  ) {
    this.at = since
  }

  /** The lowest position that this Session may still ask for. */
  get need(): number {
    return Math.max(this.session.cursor, this.since)
  }

  /** Goes back to the first message that is not done. */
  rewind(): void {
    this.chunk = null
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

  private behind(chunk: Frames): Frames | null {
    this.at = chunk.last + 1
    if (!this.ahead.length) this.ahead = this.log.read(this.at).toReversed()
    return this.ahead.pop() ?? null
  }

  private bounded(position: number): number {
    return position < this.until ? position : -1
  }
}
