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

/** What is done beside the way of messages: cursors and cuts, which ride on commits, and Sessions that were woken. */
export class Housekeeping {
  /** logs to look at: a Session that holds them moved, or left */
  private readonly cuts = new Set<Cuttable>()
  /** Sessions whose cursor moved since it was last written */
  private readonly moved = new Set<Moving>()
  /** connected Sessions that have something to read */
  private readonly woken = new Set<Woken>()

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
    for (const session of this.woken) session.pump()
    this.woken.clear()
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
