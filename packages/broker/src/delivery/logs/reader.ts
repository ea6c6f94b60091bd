import { type Maybe, whenThere } from "../../stores/store.js"
import { type Amount, type Frames, NO_AMOUNT } from "../../wire/frames.js"
import type { Holder } from "./holder.js"
import type { Log } from "./log.js"

/** Who reads. */
export interface ReadingSession {
  /** below this position it needs nothing any more */
  readonly cursor: number
  /** The reader's log has more. */
  wake(reader: Reader): void
  /** What a reader waited for is there. */
  pump(): void
  /** It reads so many logs that each reader may keep only a little. */
  readonly readsMany: boolean
}

/** What a reader keeps where a Session reads many logs, in bytes; one message at least. */
const LITTLE_BYTES = 4096

/** What peek() says when there is no next message now, and when the store is being asked. */
export const NONE = -1
export const WAITING = -2

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
  /** whether the Topic Filter has a wildcard */
  readonly wild: boolean
  private at: number
  /** what the log held below a position when it was counted last */
  private counted = { position: -1, below: NO_AMOUNT }
  /** chunks that were read from the store together, the next one last */
  private ahead: Frames[] = []
  /** what the store is being asked for */
  private asked: Promise<Frames[]> | undefined = undefined

  constructor(
    private readonly session: ReadingSession,
    readonly log: Log,
    hold: Hold,
  ) {
    this.at = this.since = hold.since
    this.qos = hold.qos
    this.filter = hold.filter
    this.wild = /[+#]/.test(hold.filter)
  }

  /** The lowest position that this Session may still ask for. */
  get need(): number {
    return Math.max(this.session.cursor, this.since)
  }

  /** What waits for the Session in this log at or above `position`, what is in flight included. */
  waiting(position: number): Maybe<Amount> {
    const { log } = this
    const from = Math.max(position, this.need)
    const below = this.counted.position === from ? this.counted.below : log.countBelow(from)
    return whenThere(below, (begin) => {
      this.counted = { position: from, below: begin }
      const end = this.until === Infinity ? { messages: log.total, bytes: log.totalBytes } : log.countBelow(this.until)
      return whenThere(end, ({ messages, bytes }) => ({
        messages: Math.max(0, messages - begin.messages),
        bytes: Math.max(0, bytes - begin.bytes),
        expiring: Math.max(0, log.totalExpiring - begin.expiring),
      }))
    })
  }

  /** Passes what is below `position`. */
  forward(position: number): void {
    if (position <= this.at && !this.chunk) return
    this.leave()
    this.at = Math.max(position, this.since)
  }

  /** Goes back to the first message that is not done. */
  rewind(): void {
    this.leave()
    this.at = this.need
  }

  private leave(): void {
    this.chunk = undefined
    this.ahead = []
    this.asked = undefined
  }

  wake(): void {
    this.session.wake(this)
  }

  /** The store is being asked. */
  get waits(): boolean {
    return this.asked !== undefined
  }

  /** Position of the next durable message, NONE, or WAITING: the Session is pumped when it is there. */
  peek(): number {
    const chunk = this.chunk
    if (chunk && this.i < chunk.n) return this.bounded(chunk.positionOf(this.i))
    if (this.asked) return WAITING
    if (chunk) this.at = chunk.last + 1
    this.chunk = undefined
    const next = this.ahead.pop() ?? this.ask(chunk !== undefined)
    if (next === WAITING) return WAITING
    if (!next) return NONE
    this.chunk = next
    this.i = next.find(this.at)
    return this.bounded(next.positionOf(this.i))
  }

  /** The next chunk from the log. `on`: it goes on from one to the next, so that several at once are worth it. */
  private ask(on: boolean): Frames | undefined | typeof WAITING {
    const found = this.log.read(this.at, on && !this.session.readsMany ? undefined : 1)
    if (!(found instanceof Promise)) {
      this.ahead = found.toReversed()
      return this.ahead.pop()
    }
    this.asked = found
    void found.then((frames) => {
      if (this.asked !== found) return // it is at another place meanwhile
      this.asked = undefined
      this.ahead = this.session.readsMany ? this.little(frames) : frames.toReversed()
      this.session.pump()
    })
    return WAITING
  }

  /** The next messages, as many as may be kept. */
  private little(frames: Frames[]): Frames[] {
    const [chunk] = frames
    const i = chunk?.find(this.at) ?? 0
    if (!chunk || chunk.isShared || i >= chunk.n) return frames.toReversed()
    let j = i + 1
    while (j < chunk.n && chunk.endOf(j) - chunk.startOf(i) <= LITTLE_BYTES) j++
    // what is most of it is not worth a copy
    return [(chunk.endOf(j - 1) - chunk.startOf(i)) * 2 > chunk.bytes ? chunk : chunk.part(i, j)]
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

  private bounded(position: number): number {
    return position < this.until ? position : NONE
  }
}
