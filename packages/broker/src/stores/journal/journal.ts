import { unlinkSync } from "node:fs"
import { join } from "node:path"
import type { Commit } from "../store.js"
import { RecordWriter } from "./record.js"
import { HEADER_BYTES, Segment, writeHeader } from "./segment.js"

/** A file of the journal as it was found. */
export interface FoundFile {
  /** N of `journal.N` */
  name: number
  length: number
}

/** One with records that are not folded. */
export interface UnfoldedFile extends FoundFile {
  /** the sequence of its last record */
  last: number
  /** where that begins, 0 when it is the first one, and ends, in bytes */
  lastAt: number
  end: number
}

/** Keeps what the journal has. */
export interface JournalHold {
  /** its files, and how much of each is on the disk: every commit since the hold began, and those that were not folded then */
  written(): { path: string; bytes: number }[]
  release(): void
}

/** Where a journal goes on. */
export interface JournalEnd {
  /** the last sequence, and the greatest number of a segment, that were given out */
  sequence: number
  segment: number
  /** see Header */
  secret: number
  /** everything that they say is folded */
  files: FoundFile[]
  /** what they say is not, in the order in which they were written */
  unfolded: UnfoldedFile[]
}

/** A file that has so many times the size of a segment is not used again. */
const MOST_SIZE = 2

/** The name of a journal's file. */
export const JOURNAL_NAME = /^journal\.(\d+)$/

/**
 * The commits that are not folded yet, one record each, in segments: files that are filled in turn and used again once they
 * are folded. What append() resolved for is on the disk.
 */
export class Journal {
  private readonly records: RecordWriter
  private readonly secret: number
  private sequence: number
  private segment: number
  private current: Segment | undefined = undefined
  /** those that were written before it, ascending, and not folded yet */
  private readonly full: Segment[] = []
  private readonly free: Segment[] = []
  /** given up after a failure; their bytes count, up to the next segment's */
  private readonly bad = new Set<Segment>()
  private nextName: number
  /** folded, and not free yet because somebody copies them */
  private readonly held: Segment[] = []
  private holds = 0

  constructor(
    private readonly folder: string,
    private readonly segmentBytes: number,
    end: JournalEnd,
  ) {
    this.secret = end.secret
    this.records = new RecordWriter(end.secret)
    this.sequence = end.sequence
    this.segment = end.segment
    this.nextName = Math.max(-1, ...[...end.files, ...end.unfolded].map(({ name }) => name)) + 1
    for (const { name, length } of end.files) this.free.push(this.open(name, length))
    for (const { name, length, last, end: at } of end.unfolded) this.full.push(Object.assign(this.open(name, length), { last, at }))
  }

  private open(name: number, length: number): Segment {
    return new Segment(join(this.folder, `journal.${name}`), length, this.segmentBytes)
  }

  /** The sequence of the last record that is on the disk. */
  get last(): number {
    return this.sequence
  }

  /** How much is in the segment at hand. */
  get bytes(): number {
    return this.current?.at ?? 0
  }

  /** What all its files take, in bytes. */
  get size(): number {
    return [...this.segments()].reduce((sum, { size }) => sum + size, 0)
  }

  private *segments(): Generator<Segment> {
    yield* this.held
    yield* this.full
    yield* this.free
    if (this.current) yield this.current
  }

  /** Files with nothing that is needed go, instead of being used again. */
  giveBack(): void {
    for (const segment of this.free.splice(0)) this.remove(segment)
  }

  /** Whether the segment at hand has its size. */
  get isFull(): boolean {
    return this.bytes >= this.segmentBytes
  }

  /** The file that is written, undefined before the first record of a segment. */
  get file(): { readonly path: string; readonly inode: number } | undefined {
    return this.current
  }

  /** Writes a commit; resolves when the disk has it. Not called again before. */
  async append(commit: Commit): Promise<void> {
    const sequence = this.sequence + 1
    try {
      await this.appendTo(this.current ?? this.begin(), commit, sequence)
    } catch {
      // what the disk made of these bytes nobody knows, and what it says of them next time need not be true: not here again
      this.giveUp()
      await this.appendAnew(commit, sequence)
    }
    this.sequence = sequence
    this.records.shrink()
  }

  private async appendAnew(commit: Commit, sequence: number): Promise<void> {
    try {
      await this.appendTo(this.begin(), commit, sequence)
    } catch (error) {
      this.giveUp()
      throw error
    }
  }

  private async appendTo(segment: Segment, commit: Commit, sequence: number): Promise<void> {
    const header = segment.at ? 0 : HEADER_BYTES
    const bytes = this.records.write(commit, sequence, header)
    if (header) writeHeader(bytes, { number: ++this.segment, first: sequence, clean: false, secret: this.secret })
    await segment.append(bytes, sequence)
  }

  private begin(): Segment {
    this.current = this.free.pop() ?? this.open(this.nextName++, 0)
    this.current.restart()
    return this.current
  }

  private giveUp(): void {
    const segment = this.current
    this.current = undefined
    if (!segment) return
    if (segment.last) {
      this.bad.add(segment)
      this.full.push(segment)
    } else this.remove(segment)
  }

  /** From now on another segment is written. Returns the last sequence before it. */
  turn(): number {
    if (this.current?.at) {
      this.full.push(this.current)
      this.current = undefined
    }
    return this.sequence
  }

  /** Records up to a sequence are folded: their segments are free. */
  release(through: number): void {
    for (let segment = this.full[0]; segment && segment.last <= through; segment = this.full[0]) {
      this.full.shift()
      this.held.push(segment)
    }
    this.freeHeld()
  }

  private freeHeld(): void {
    if (this.holds) return
    for (const segment of this.held.splice(0))
      if (this.bad.delete(segment) || this.free.length > 1 || segment.size > MOST_SIZE * this.segmentBytes) this.remove(segment)
      else this.free.push(segment)
  }

  /** From now on, until release(), no segment that is in use becomes free: the journal takes more and more space meanwhile. */
  hold(): JournalHold {
    this.holds++
    let isHeld = true
    return {
      written: () => {
        const segments = [...this.held, ...this.full, ...(this.current?.at ? [this.current] : [])]
        return segments.map(({ path, at }) => ({ path, bytes: at }))
      },
      release: () => {
        if (isHeld) this.holds--
        isHeld = false
        this.freeHeld()
      },
    }
  }

  private remove(segment: Segment): void {
    void segment.close().catch(() => {})
    try {
      unlinkSync(segment.path)
    } catch {
      // it is gone, or stays: what it says is folded, or was never acknowledged
    }
  }

  /** Everything is folded: says so in a segment, so that the next start need not look for more. */
  async end(): Promise<void> {
    this.turn()
    this.release(this.sequence)
    if (this.free.length) {
      const bytes = Buffer.alloc(HEADER_BYTES)
      writeHeader(bytes, { number: ++this.segment, first: this.sequence + 1, clean: true, secret: this.secret })
      await this.begin().append(bytes, this.sequence)
    }
    await this.close()
  }

  async close(): Promise<void> {
    for (const segment of this.segments()) await segment.close()
  }
}
