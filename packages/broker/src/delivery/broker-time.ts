import type { StoredState, StoredTime } from "../stores/store.js"

/** A wall clock that says less was never set: all that this program can have stored is younger. */
const FIRST_PLAUSIBLE_MS = Date.UTC(2025, 0, 1)
/** The wall clock was set when it is so much nearer to the broker's time, or so much farther from it, than it was; in ms. */
const JUMP_MS = 1000
/** A commit says again what time it is when the last one that did is so old, in ms. */
const MARK_MS = 60_000

/**
 * The broker's time, in ms: what Sessions and messages are stamped with, and what their ends are told by. It goes on with the
 * monotonic clock while the broker runs, whatever the wall clock does, and from one run to the next by as much as the wall
 * clock went on in between, where that was set. It is the wall clock's time as long as nobody sets that.
 */
export class BrokerTime {
  /** the time when the monotonic clock was 0 */
  private readonly base: number
  /** how far the wall clock was ahead when it was looked at for the store, or at the start */
  private ahead: number
  /** the time that was last given to the store; 0: none in this run */
  private marked = 0

  /** @param start what time it is now */
  constructor(start = Date.now()) {
    this.base = start - performance.now()
    this.ahead = Date.now() - start
  }

  /** Goes on where a store was left. */
  static after(state: Pick<StoredState, "time" | "sessions">): BrokerTime {
    const wall = Date.now()
    const { time } = state
    if (!time) return new BrokerTime(isPlausible(wall) ? wall : Math.max(wall, newestOf(state)))
    const passed = isPlausible(wall) && isPlausible(time.wall) ? Math.max(0, wall - time.wall) : 0
    return new BrokerTime(time.broker + passed)
  }

  /** What time it is, in whole ms. */
  get now(): number {
    return Math.floor(this.base + performance.now())
  }

  /** How many whole seconds ago something was stamped; what was stamped later, by a store that lost some time, is new. */
  secondsSince(stamp: number): number {
    return Math.max(0, Math.floor((this.now - stamp) / 1000))
  }

  /** When the wall clock, as it is set now, showed a time: for people. */
  toWall(time: number): Date {
    return new Date(time + Date.now() - this.now)
  }

  /** Whether the wall clock was set since mark(). */
  get hasJumped(): boolean {
    return Math.abs(Date.now() - this.now - this.ahead) > JUMP_MS
  }

  /** What a commit is to say of it; undefined: what the store has serves as well, unless `always`. */
  mark(always: boolean): StoredTime | undefined {
    const broker = this.now
    if (!always && this.marked && broker - this.marked < MARK_MS && !this.hasJumped) return undefined
    const wall = Date.now()
    this.marked = broker
    this.ahead = wall - broker
    return { broker, wall }
  }
}

function isPlausible(wall: number): boolean {
  return wall >= FIRST_PLAUSIBLE_MS
}

/** Of a store that an older version wrote, on a machine whose clock is not set yet: it is not earlier than this. */
function newestOf({ sessions }: Pick<StoredState, "sessions">): number {
  let newest = 0
  for (const { row } of sessions) newest = Math.max(newest, row.disconnectedAt ?? 0)
  return newest
}
