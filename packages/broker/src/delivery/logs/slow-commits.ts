/** From when on a commit is slow, in ms. */
const SLOW_MS = 2000
const LOOK_MS = 500

export interface SlowEvents {
  /** A commit is under way for so many ms. Told again each time it has taken twice as long. */
  slow?(ms: number): void
  /** It is done, or has failed, after so many ms. */
  slowEnded?(ms: number): void
}

/** Sees commits that take long, while they do. */
export class SlowCommits {
  /** how many there were */
  count = 0
  private since = 0
  private nextTold = SLOW_MS
  private timer: NodeJS.Timeout | undefined = undefined

  constructor(private readonly events: SlowEvents) {}

  /** The age of the commit that is under way, in ms; 0: there is none. */
  get age(): number {
    return this.since && performance.now() - this.since
  }

  /** Whether it is slow. */
  get isSlow(): boolean {
    return this.age > SLOW_MS
  }

  begin(): void {
    this.since = performance.now()
    this.timer ??= setInterval(() => this.look(), LOOK_MS).unref()
  }

  end(): void {
    this.look()
    if (this.nextTold > SLOW_MS) this.events.slowEnded?.(this.age)
    this.nextTold = SLOW_MS
    this.since = 0
  }

  private look(): void {
    const { age } = this
    if (age <= this.nextTold) return
    if (this.nextTold === SLOW_MS) this.count++
    while (age > this.nextTold) this.nextTold *= 2
    this.events.slow?.(age)
  }

  stop(): void {
    clearInterval(this.timer)
  }
}
