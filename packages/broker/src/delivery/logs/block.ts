import { type Amount, type Frames, Trait } from "../../wire/frames.js"
import { CHUNK_BYTES, type ChunkCache } from "./chunk-cache.js"

/** The age of a block counts for all of its messages that expire: it does not get one after so many ms. */
const MOST_AGE_MS = 1000

/**
 * Messages that gather for a commit. It is part of one log, or of several that got the same messages: what many filters match
 * is kept and stored once. A log that gets others than they do goes on in a block of its own.
 */
export class Block {
  /** the logs that it is part of */
  sharers = 0
  /** how many of them get the run at `announcedAt` */
  private announced = 0
  private announcedAt = -1
  private following: Block | undefined = undefined
  private isSealed = false

  private constructor(
    readonly frames: Frames,
    private readonly cache: ChunkCache,
  ) {}

  /** Begins one with a run. `room`: for so many bytes at least. */
  static of(run: Frames, position: number, { cache, room }: { cache: ChunkCache; room: number }): Block {
    const frames = cache.chunk(Math.max(run.bytes, room))
    frames.first = position
    frames.createdAt = Date.now()
    frames.append(run, 0, run.n, position)
    return new Block(frames, cache)
  }

  /** One of its logs will get the run at this position. */
  announce(position: number): void {
    if (this.announcedAt !== position) this.announced = 0
    this.announcedAt = position
    this.announced++
  }

  /** Whether all of its logs get the run. */
  private isCommon(position: number): boolean {
    return this.sharers === 1 || (this.announcedAt === position && this.announced === this.sharers)
  }

  /** The block that a run goes to after what is in this one; undefined: not all of its logs get it. What all get is put there once. */
  next(run: Frames, position: number): Block | undefined {
    if (!this.isCommon(position)) return undefined
    const { frames } = this
    if (frames.last >= position) return this
    const aged = run.traits & Trait.EXPIRY && Date.now() - frames.createdAt > MOST_AGE_MS
    if (this.following || aged || frames.bytes + run.bytes > CHUNK_BYTES)
      return (this.following ??= Block.of(run, position, { cache: this.cache, room: CHUNK_BYTES }))
    frames.append(run, 0, run.n, position)
    return this
  }

  /** What one of its logs keeps of it, and its store; nothing can be added any more. */
  sealed(before: Amount): Frames {
    const { frames } = this
    if (!this.isSealed) {
      const gathered = frames.buf
      frames.seal()
      this.cache.giveBack(gathered)
      this.isSealed = true
    }
    if (this.sharers > 1) return frames.sharedAfter(before)
    frames.before = before
    return frames
  }
}
