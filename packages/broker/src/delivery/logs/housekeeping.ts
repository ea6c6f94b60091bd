import type { Commit, Cursor } from "../../stores/store.js"

/** A log that may have chunks that nobody needs any more. */
export interface Cuttable {
  /** Gives them up. */
  cut(commit: Commit): void
}

/** A Session whose cursor moves. */
export interface Moving {
  readonly id: number
  readonly gone: boolean
  storedCursor(): Cursor
  /** those that it reads */
  readonly logs: Iterable<Cuttable>
}

/** A Session that has something to read. */
export interface Woken {
  pump(): void
}

/** How long Sessions are pumped in one turn of the event loop, in ms. */
const PUMP_MS = 5

/** What is done beside the way of messages: cursors and cuts, which ride on commits, and Sessions that were woken. */
export class Housekeeping {
  /** logs to look at: a Session that holds them moved, or left */
  private readonly cuts = new Set<Cuttable>()
  /** Sessions whose cursor moved since it was last written */
  private readonly moved = new Set<Moving>()
  /** connected Sessions that have something to read */
  private readonly woken = new Set<Woken>()
  /** those that are left are pumped in the next turn of the event loop */
  private pumping = false

  /** @param later makes a commit come soon */
  constructor(private readonly later: () => void) {}

  /** The Session's cursor moved: write it, and look whether its logs can be cut. */
  noteCursor(session: Moving): void {
    if (!this.moved.size && !this.cuts.size) this.later()
    this.moved.add(session)
  }

  /** The log lost a holder. */
  noteLog(log: Cuttable): void {
    if (!this.moved.size && !this.cuts.size) this.later()
    this.cuts.add(log)
  }

  /** The Session has something to read; it is pumped once all readers were told. */
  noteWoken(session: Woken): void {
    this.woken.add(session)
  }

  /** All readers were told: Sessions send. Not before, or one that merges two logs would pass what it was not told of yet. */
  pump(): void {
    const until = performance.now() + PUMP_MS
    for (const session of this.woken) {
      this.woken.delete(session)
      session.pump()
      if (performance.now() > until) break
    }
    if (this.woken.size) this.schedule()
  }

  /** The Session goes on in a later turn of the event loop: others have theirs. */
  pumpLater(session: Woken): void {
    this.woken.add(session)
    this.schedule()
  }

  private schedule(): void {
    if (this.pumping) return
    this.pumping = true
    setImmediate(() => {
      this.pumping = false
      this.pump()
    })
  }

  /** Adds what is due to a commit. */
  collect(commit: Commit): void {
    for (const session of this.moved) {
      if (session.gone) continue
      commit.cursors.push({ session: session.id, cursor: session.storedCursor() })
      for (const log of session.logs) this.cuts.add(log)
    }
    this.moved.clear()
    for (const log of this.cuts) log.cut(commit)
    this.cuts.clear()
  }
}
