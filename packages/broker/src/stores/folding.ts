import { messageOf } from "@mqtt-trio/common"
import type { Chunk } from "./chunks.js"
import { NoSpace } from "./disk-guard.js"
import { type Commit, type Maybe, NOTHING, type StoredChunk } from "./store.js"
import { Unfolded } from "./unfolded.js"

/** Where commits are kept one by one until they are folded. */
export interface FoldedJournal {
  /** the sequence of the last commit that is in it */
  readonly last: number
  /** Keeps a commit; resolves when it is durable. Not called again before. One that was rejected is called again. */
  append(commit: Commit): Promise<void>
  /** What comes from now on is not folded with what is there. Returns the last sequence before it. */
  turn(): number
  /** What it has up to a sequence is folded. */
  release(through: number): void
}

/** Where what is needed later is kept, and found. */
export interface FoldedTables {
  /** Whether a log may have rows with messages at or above a position. */
  has(log: number, position: number): boolean
  /** See Store.read. Nothing when has() was wrong; then it is right the next time. */
  read(log: number, position: number, most: Most): Promise<Chunk[]>
  /**
   * Takes what is not folded yet; done twice, it does no harm. Resolves when it is durable.
   * @param through the last sequence that is in it
   * @param cut what a log has below is needed by nobody any more
   */
  fold(unfolded: Unfolded, through: number, cut: (log: number) => number): Promise<void>
}

type Most = { chunks: number; bytes: number }

/** When it is time to fold. */
export interface FoldRules {
  /** so many bytes that are not folded */
  bytes: number
  /** beyond so many a commit waits for the fold */
  mostBytes: number
  /** how long something may stay unfolded, in ms; undefined: until there is enough */
  ms?: number
  /** the journal has enough, or too much for another commit */
  journalFull?: () => boolean
  journalOverfull?: () => boolean
}

/** A number of the rules; the tests make it small or large, so that much or little is folded. */
export function rule(variable: string, otherwise: number): number {
  return Number(process.env[variable] ?? otherwise)
}

/** When a fold that failed is tried again, in ms. */
const RETRY_MS = 1000
/** How long something stays unfolded while there is little room, in ms. */
const CROWDED_MS = 250

/** A journal with tables behind it: commits go to the one and are folded into the others in the background, reads find both. */
export class Folding {
  /** what the journal has and the tables have not */
  private active = new Unfolded()
  private folding: Promise<void> | undefined = undefined
  private foldError: unknown = undefined
  private timer: NodeJS.Timeout | undefined = undefined
  private stopped = false
  private begun: number | undefined = undefined

  /**
   * @param parts `failing`: told why a fold failed; it is tried again
   * @param folded the last sequence that is in the tables
   * @param frozen what the journal had behind it, and the last sequence of that
   */
  constructor(
    private readonly parts: { journal: FoldedJournal; tables: FoldedTables; rules: FoldRules; failing?: (error: unknown) => void },
    private folded: number,
    private frozen?: { unfolded: Unfolded; through: number },
  ) {
    if (frozen) this.foldLater()
  }

  /** Why the last fold failed, in words; undefined: it did not. */
  get trouble(): string | undefined {
    return this.foldError === undefined ? undefined : messageOf(this.foldError)
  }

  /** When the fold that is under way began, by the monotonic clock in ms; undefined: there is none. */
  get since(): number | undefined {
    return this.begun
  }

  /** About what is not in the tables, in bytes. */
  get bytes(): number {
    return this.active.bytes + (this.frozen?.unfolded.bytes ?? 0)
  }

  /** Whether the tables have all that was committed. */
  get isDone(): boolean {
    return this.parts.journal.last <= this.folded
  }

  /** See FoldedJournal.append. */
  async commit(commit: Commit): Promise<void> {
    const { journal, rules } = this.parts
    // what brings no messages is what makes room
    const isFull = (): boolean => (this.active.bytes > rules.mostBytes && brings(commit)) || rules.journalOverfull?.() === true
    while (isFull()) await this.fold() // oxlint-disable-line no-await-in-loop -- until there is room
    await journal.append(commit)
    this.active.apply(commit)
    if (this.folding || this.foldError !== undefined) return
    if (this.active.bytes > rules.bytes || rules.journalFull?.() === true) this.foldLater()
    else this.foldSoon(rules.ms)
  }

  /** There is little room: folds what it can. */
  hasten(): void {
    if (!this.folding && !this.isDone && this.foldError === undefined) this.foldSoon(CROWDED_MS)
  }

  private foldSoon(ms: number | undefined): void {
    if (ms === undefined || this.stopped) return
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      if (!this.isDone && !this.folding) this.foldLater()
    }, ms).unref()
  }

  private foldLater(): void {
    this.fold().catch(() => {
      setTimeout(() => {
        if (this.frozen && !this.stopped) this.foldLater() // else a commit that waited has done it
      }, RETRY_MS).unref()
    })
  }

  /** Nothing is folded any more. */
  stop(): void {
    this.stopped = true
    clearTimeout(this.timer)
  }

  /** Brings what is unfolded into the tables, while commits go on. Rejects when that failed; then it is still in the journal. */
  private fold(): Promise<void> {
    this.folding ??= this.foldOnce().finally(() => {
      this.folding = undefined
    })
    return this.folding
  }

  private async foldOnce(): Promise<void> {
    const { journal, tables } = this.parts
    this.begun = performance.now()
    if (!this.frozen) {
      this.frozen = { unfolded: this.active, through: journal.turn() }
      this.active = new Unfolded()
    }
    const { unfolded, through } = this.frozen
    try {
      if (this.foldError instanceof NoSpace) await this.cutFirst(unfolded)
      await tables.fold(unfolded, through, (log) => this.active.cuts.get(log) ?? 0)
    } catch (error) {
      this.foldError = error
      this.parts.failing?.(error)
      throw error
    } finally {
      this.begun = undefined
    }
    this.frozen = undefined
    this.folded = through
    this.foldError = undefined
    journal.release(through)
    if (!this.isDone) this.foldSoon(this.parts.rules.ms)
  }

  /**
   * There was no space for what is to be folded: what nobody needs any more goes out of it, and out of the tables, which then
   * have room for the rest.
   */
  private async cutFirst(unfolded: Unfolded): Promise<void> {
    unfolded.apply(cutting(this.active))
    const cuts = new Unfolded()
    cuts.apply(cutting(unfolded))
    await this.parts.tables.fold(cuts, this.folded, () => 0)
  }

  /** Folds all that was committed. Not while commits go on. */
  async foldAll(): Promise<void> {
    await this.folding?.catch(() => {})
    while (!this.isDone) await this.fold() // oxlint-disable-line no-await-in-loop -- one behind the other
  }

  /** See Store.read. */
  read(log: number, position: number, most: Most): Maybe<StoredChunk[]> {
    const { active, frozen } = this
    // the tables may have what was cut since
    const from = Math.max(position, active.cuts.get(log) ?? 0, frozen?.unfolded.cuts.get(log) ?? 0)
    return this.parts.tables.has(log, from) ? this.readTables(log, from, most) : this.readMemory(log, from, most)
  }

  private async readTables(log: number, position: number, most: Most): Promise<StoredChunk[]> {
    while (this.parts.tables.has(log, position)) {
      // oxlint-disable-next-line no-await-in-loop -- asked again only when it changed meanwhile
      const found = await this.parts.tables.read(log, position, most)
      if (found.length) return found
    }
    return this.readMemory(log, position, most)
  }

  private readMemory(log: number, position: number, most: Most): StoredChunk[] {
    const found = this.frozen?.unfolded.read(log, position, most) ?? []
    const chunks = most.chunks - found.length
    const bytes = found.reduce((left, { value }) => left - value.length, most.bytes)
    return chunks > 0 && bytes > 0 ? [...found, ...this.active.read(log, position, { chunks, bytes })] : found
  }
}

/** Whether a commit has messages, or else much that is to be kept. */
function brings({ appends, incoming, retained, wills }: Commit): boolean {
  return appends.length > 0 || incoming.some(({ open }) => open) || retained.some(({ value }) => value) || wills.some(({ value }) => value)
}

/** A commit of nothing but what was cut. */
function cutting({ cuts }: Unfolded): Commit {
  return { ...NOTHING, cuts: Array.from(cuts, ([log, below]) => ({ log, below })) }
}
