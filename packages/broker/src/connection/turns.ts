/** Receivers and logs that are served in one turn of the event loop, over all connections, before the others have theirs. */
const MOST_WORK = 8000

/**
 * Publishing to a topic that thousands receive takes long: who does it goes on in a later turn of the event loop, one after
 * the other, and who publishes to a few is served between.
 */
export class Turns {
  private spent = 0
  private scheduled = false
  private readonly line: (() => void)[] = []

  /** So many receivers and logs were served. */
  spend(work: number): void {
    this.spent += work
    this.schedule()
  }

  /** Whether this turn had enough. */
  get isOver(): boolean {
    return this.spent > MOST_WORK
  }

  /** Calls back in a turn that has room. */
  wait(goOn: () => void): void {
    this.line.push(goOn)
    this.schedule()
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => this.next())
  }

  private next(): void {
    this.scheduled = false
    this.spent = 0
    let served = 0
    while (served < this.line.length && !this.isOver) this.line[served++]?.()
    this.line.splice(0, served)
    if (this.line.length) this.schedule()
  }
}
