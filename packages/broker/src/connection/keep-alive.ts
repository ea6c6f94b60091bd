/** What the clock looks after. */
export interface Timed {
  /** Asked every half second; `now` in ms of a monotonic clock. */
  tick(now: number): void
}

/** How old `now` may be, in ms: what is measured with it may seem this much longer than it was. */
export const TICK_MS = 500

/**
 * One timer for all connections: Keep Alive and the time to send CONNECT. It costs a comparison per connection and
 * tick, and an assignment per read.
 */
export class Clock {
  /** ms, as of the last tick: exact enough for Keep Alive */
  now = performance.now()
  private readonly timed = new Set<Timed>()
  private readonly timer: NodeJS.Timeout

  constructor() {
    this.timer = setInterval(() => {
      this.now = performance.now()
      for (const one of this.timed) one.tick(this.now)
    }, TICK_MS)
  }

  add(one: Timed): void {
    this.timed.add(one)
  }
  remove(one: Timed): void {
    this.timed.delete(one)
  }
  stop(): void {
    clearInterval(this.timer)
  }
}
