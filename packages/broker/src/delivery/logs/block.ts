import { type Amount, type Frames, Trait } from "../../wire/frames.js"
import { CHUNK_BYTES, type ChunkCache } from "./chunk-cache.js"
import type { GroupCommit } from "./group-commit.js"

/** The age of a block counts for all of its messages that expire: it does not get one after so many ms. */
const MOST_AGE_MS = 1000

/** How one run comes into several logs. */
export interface Spread {
  /** whether those that have a block get one together all the same */
  readonly together: boolean
  /** where those go on that have none, or go together */
  begun: Block | undefined
  /** all that got the run */
  readonly blocks: Block[]
}

interface Parts {
  readonly commits: GroupCommit
  readonly cache: ChunkCache
}

/**
 * Messages that gather for a commit. It is part of one log, or of several that got the same messages: what many filters match
 * is kept and stored once. Logs that get others than the rest go on in a block of their own.
 */
export class Block {
  /** the logs that it is part of */
  sharers = 0
  /** how many of its messages may expire */
  expiring = 0
  /** one of its logs goes on in another one */
  private isLeft = false
  /** how many of them get the run at `announcedAt` */
  private announced = 0
  private announcedAt = -1
  /** where those go on that leave it with the run at `followingAt` */
  private following: Block | undefined = undefined
  private followingAt = -1
  private isSealed = false

  private constructor(
    readonly frames: Frames,
    private readonly parts: Parts,
  ) {}

  /** Begins one with a run. `room`: for so many bytes at least. */
  static of(run: Frames, position: number, parts: Parts, room: number): Block {
    const block = new Block(parts.cache.chunk(Math.max(run.bytes, room)), parts)
    block.frames.first = position
    block.frames.createdAt = parts.commits.time.now
    block.append(run, position)
    return block
  }

  /** One of its logs will get the run at this position. True: it is the first one. */
  announce(position: number): boolean {
    if (this.announcedAt !== position) this.announced = 0
    this.announcedAt = position
    return this.announced++ === 0
  }

  /** Whether all of its logs get the run. */
  private isCommon(position: number): boolean {
    return this.sharers === 1 || (this.announcedAt === position && this.announced === this.sharers)
  }

  /** The block to which a run goes in a log that ended with this one; the run is put there once. */
  next(run: Frames, position: number, spread?: Spread): Block {
    if (this.frames.last >= position) return this
    const isCommon = this.isCommon(position)
    if (isCommon && this.hasRoom(run)) {
      this.append(run, position)
      spread?.blocks.push(this)
      return this
    }
    if (!this.following || this.followingAt !== position) {
      this.following = Block.of(run, position, this.parts, isCommon ? CHUNK_BYTES : 0)
      spread?.blocks.push(this.following)
    }
    this.followingAt = position
    return this.following
  }

  /** A log that ended with it goes on in another one: it gets nothing more. */
  leave(): void {
    this.isLeft = true
  }

  /** Whether all logs that got its last run can get another one in it: they still end with it, and it has room. */
  takes(run: Frames): boolean {
    return !this.isLeft && !this.isSealed && this.hasRoom(run)
  }

  private hasRoom(run: Frames): boolean {
    const { frames } = this
    if (run.traits & Trait.EXPIRY && this.parts.commits.time.now - frames.createdAt > MOST_AGE_MS) return false
    return frames.bytes + run.bytes <= CHUNK_BYTES
  }

  /** Adds a run for all of its logs. */
  append(run: Frames, position: number): void {
    this.frames.append(run, 0, run.n, position)
    if (run.traits & Trait.EXPIRY) this.expiring += run.n
    this.parts.commits.gathering.bytes += run.bytes
  }

  /** What one of its logs keeps of it, and its store; nothing can be added any more. */
  sealed(before: Amount): Frames {
    const { frames } = this
    if (!this.isSealed) {
      const gathered = frames.buf
      frames.seal()
      this.parts.cache.giveBack(gathered)
      this.isSealed = true
    }
    if (this.sharers > 1) return frames.sharedAfter(before)
    frames.before = before
    return frames
  }
}
