import type { Commit } from "../stores/store.js"
import { Frames } from "../wire/frames.js"
import type { Housekeeping } from "./group-commit.js"
import type { Log } from "./log.js"
import type { PersistentSession } from "./persistent-session.js"

export interface TailEntry {
  readonly log: Log
  readonly chunk: Frames
}

/** Memory for chunks that were just committed, all logs together, in bytes. */
const TAIL = 16 << 20
/** What a chunk costs beside its bytes; with one message per chunk this is ten times the message. */
const OVERHEAD = 1000
const CHUNK = 65_536
const SPARE = 16
/** Chunks removed per commit, all logs together: more made commits of a quarter of a second. */
const CUTS_PER_COMMIT = 500
const CUTS_PER_LOG = 64

/** What all logs share: the newest chunks in memory under one bound, spare buffers, and what is due for cutting. */
export class Tail implements Housekeeping {
  /** logs to look at: a Session that holds them moved, or left */
  readonly cuts = new Set<Log>()
  /** Sessions whose cursor moved since it was last written */
  readonly moved = new Set<PersistentSession>()

  /** connected Sessions that have something to read */
  readonly woken = new Set<PersistentSession>()

  private readonly spare: Buffer[] = []
  /** in the order in which they came */
  private readonly entries = new Set<TailEntry>()
  private bytes = 0

  constructor(private readonly later: () => void) {}

  /** An empty chunk with room for `size` bytes at least. */
  chunk(size: number): Frames {
    const buf = size > 4096 && size <= CHUNK ? this.spare.pop() : undefined
    return new Frames(buf ?? Buffer.allocUnsafe(size), 8)
  }

  giveBack(buf: Buffer): void {
    if (buf.length === CHUNK && this.spare.length < SPARE) this.spare.push(buf)
  }

  add(log: Log, chunk: Frames): TailEntry {
    const entry = { log, chunk }
    this.entries.add(entry)
    this.bytes += chunk.buf.length + OVERHEAD
    return entry
  }

  drop(entry: TailEntry): void {
    if (this.entries.delete(entry)) this.bytes -= entry.chunk.buf.length + OVERHEAD
  }

  /** First in, first out, until the bound is kept. */
  evict(): void {
    if (this.bytes <= TAIL) return
    for (const entry of this.entries) {
      this.drop(entry)
      entry.log.forget()
      if (this.bytes <= TAIL) return
    }
  }

  /** The Session's cursor moved: write it, and look whether its logs can be cut. */
  note(session: PersistentSession): void {
    if (!this.moved.size && !this.cuts.size) this.later()
    this.moved.add(session)
  }

  /** The log lost a holder. */
  noteLog(log: Log): void {
    if (!this.moved.size && !this.cuts.size) this.later()
    this.cuts.add(log)
  }

  pump(): void {
    for (const session of this.woken) session.pump()
    this.woken.clear()
  }

  collect(commit: Commit): void {
    for (const session of this.moved) {
      if (session.gone) continue
      commit.cursors.push({ session: session.number, cursor: session.storedCursor() })
      for (const reader of session.readers) this.cuts.add(reader.log)
    }
    this.moved.clear()
    let left = CUTS_PER_COMMIT
    for (const log of this.cuts) {
      if (left <= 0) break
      const limit = Math.min(CUTS_PER_LOG, left)
      const removed = log.cut(commit, limit)
      left -= removed
      if (removed < limit) this.cuts.delete(log)
    }
    if (this.cuts.size) this.later()
  }
}
