import { type Commit, type Maybe, type Store, type StoredChunk, type StoredLog, whenThere } from "../../stores/store.js"
import { type Amount, type Frames, NO_AMOUNT } from "../../wire/frames.js"
import { Block, type Spread } from "./block.js"
import { type CacheEntry, type Cached, CHUNK_BYTES, type ChunkCache } from "./chunk-cache.js"
import type { Appendable, GroupCommit } from "./group-commit.js"
import type { Holder } from "./holder.js"
import type { Cuttable, Housekeeping } from "./housekeeping.js"
import type { StoreReads } from "./store-reads.js"
import { unsealed } from "./unsealed.js"

/** A block that one message opens, when its log is not busy, in bytes. */
const SMALL_BLOCK_BYTES = 128

/** What a log's part of a commit takes in memory beside the messages: a message may go to thousands of logs. */
const PART_COST_BYTES = 400

/** What a Session that is behind takes from the store in one step. */
const READ_CHUNKS = 64
const READ_BYTES = 65_536

/** A block of a log that gathers, and what went into the log before it. */
interface Part {
  readonly block: Block
  readonly before: Amount
}

interface Parts {
  commits: GroupCommit
  store: Store
  cache: ChunkCache
  housekeeping: Housekeeping
  reads: StoreReads
  /** the last holder left: nothing must be appended any more */
  orphaned: (log: Log) => void
}

/**
 * The messages of one Topic Filter that persistent Sessions hold, in the order of their positions: packed chunks in
 * the store, the newest of them in memory too. Each Session that holds it reads it at its own place.
 */
export class Log implements Appendable, Cached, Cuttable {
  /** connected or not: below the slowest nothing is needed */
  private readonly holders = new Set<Holder>()
  /** those that are told of what is new */
  private readonly online = new Set<Holder>()
  /** what went into it up to the last block that was sealed, and the position of the last message in that */
  private sealed: Amount
  private sealedLast: number
  private open: Part[] = []
  private flying: Frames[] = []
  /** durable chunks in memory, ascending, without a hole from memoryFrom on */
  private memory: CacheEntry[] = []
  private memoryFrom: number
  /** what the store is being asked for, since when, and by how many */
  private asked: { position: number; chunks: number; durable: number; found: Promise<Frames[]>; readers: number } | undefined = undefined
  private slowest: Holder | undefined = undefined
  private cutBelow = -1
  private busy = false

  /** @param stored what the store has of this log from an earlier run */
  constructor(
    readonly id: number,
    private readonly parts: Parts,
    stored: StoredLog | undefined,
  ) {
    const { next } = parts.commits
    this.memoryFrom = next
    this.sealed = stored ?? NO_AMOUNT
    this.sealedLast = stored?.last ?? next - 1
  }

  /** position of the last message, appended or not yet durable */
  get last(): number {
    return this.open.at(-1)?.block.frames.last ?? this.sealedLast
  }

  /** Messages ever appended. */
  get total(): number {
    const part = this.open.at(-1)
    return part ? part.before.messages + part.block.frames.n : this.sealed.messages
  }

  /** Bytes ever appended. */
  get totalBytes(): number {
    const part = this.open.at(-1)
    return part ? part.before.bytes + part.block.frames.bytes : this.sealed.bytes
  }

  /** How many of the messages may expire; more after a start of the broker, when the last chunk counts whole. */
  get totalExpiring(): number {
    const part = this.open.at(-1)
    return part ? part.before.expiring + part.block.expiring : this.sealed.expiring
  }

  /** Other logs get the run at this position too, by append(). To be said of all of them first. True: into a block that none of those has. */
  announce(position: number): boolean {
    return this.open.at(-1)?.block.announce(position) ?? false
  }

  /**
   * Appends a run at consecutive positions from `position` on. Durable after the gathering commit.
   * @param spread how other logs get it
   */
  append(run: Frames, position: number, spread?: Spread): void {
    const newest = this.open.at(-1)?.block
    if (!newest) this.parts.commits.append(this)
    const block = newest && spread?.together !== true ? newest.next(run, position, spread) : this.begun(run, position, spread)
    if (block === newest) return
    newest?.leave()
    this.add(block)
  }

  private begun(run: Frames, position: number, spread: Spread | undefined): Block {
    const block = spread?.begun ?? Block.of(run, position, this.parts, this.busy ? CHUNK_BYTES : SMALL_BLOCK_BYTES)
    if (!spread || spread.begun) return block
    spread.begun = block
    spread.blocks.push(block)
    return block
  }

  private add(block: Block): void {
    block.sharers++
    this.open.push({ block, before: this.amount })
    this.parts.commits.gathering.bytes += PART_COST_BYTES
  }

  /** What went into it since it began. */
  private get amount(): Amount {
    return { messages: this.total, bytes: this.totalBytes, expiring: this.totalExpiring }
  }

  seal(into: Commit["appends"]): void {
    this.sealedLast = this.last
    this.sealed = this.amount
    this.flying = this.open.map(({ block, before }) => block.sealed(before))
    this.open = []
    for (const { first, last, before, buf } of this.flying) into.push({ log: this.id, first, last, before, value: buf })
    this.busy = (this.flying[0]?.bytes ?? 0) > 8192
  }

  committed(): void {
    for (const chunk of this.flying) this.memory.push(this.parts.cache.add(this, chunk))
    this.flying = []
    if (!this.holders.size) this.parts.housekeeping.noteLog(this)
    this.parts.cache.evict()
  }

  wake(): void {
    for (const holder of this.online) holder.wake()
  }

  hold(holder: Holder): void {
    this.holders.add(holder)
  }

  /** From now on the holder is told when there is more. */
  watch(holder: Holder): void {
    this.online.add(holder)
  }

  unwatch(holder: Holder): void {
    this.online.delete(holder)
  }

  /** It does not need this log any more. */
  release(holder: Holder): void {
    this.holders.delete(holder)
    this.online.delete(holder)
    this.ending()
    this.parts.housekeeping.noteLog(this)
  }

  /** A hold ended, or lasts only for what is there: when none goes on, nothing more must be appended. */
  ending(): void {
    for (const { until } of this.holders) if (until === Infinity) return
    this.parts.orphaned(this)
  }

  forget(): void {
    const entry = this.memory.shift()
    if (entry) this.memoryFrom = entry.chunk.last + 1
  }

  /** The chunk with the first durable message at or after `position`, undefined when there is none. The place may lie within it. */
  find(position: number): Maybe<Frames | undefined> {
    return whenThere(this.read(position, 1), ([chunk]) => chunk)
  }

  /** The next durable chunks from the one on that find() gives; those that are not in memory in one step, at most `chunks`. */
  read(position: number, chunks = READ_CHUNKS): Maybe<Frames[]> {
    if (position >= this.memoryFrom) {
      const chunk = this.fromMemory(position)
      return chunk ? [chunk] : []
    }
    return this.fromStore(position, chunks)
  }

  /** Who asks for the same before another commit shares what comes. */
  private fromStore(position: number, chunks: number): Maybe<Frames[]> {
    const { commits, reads, store } = this.parts
    const { durable } = commits
    if (this.asked?.position === position && this.asked.chunks === chunks && this.asked.durable === durable) {
      this.asked.readers++
      return this.asked.found
    }
    const found = whenThere(
      reads.run(() => store.read(this.id, position, { chunks, bytes: READ_BYTES })),
      (stored) => this.unsealed(stored),
    )
    if (!(found instanceof Promise)) return found
    const asked = { position, chunks, durable, found, readers: 1 }
    asked.found = found.then((frames) => {
      if (this.asked === asked) this.asked = undefined
      for (const one of frames) one.receivers = asked.readers
      return frames
    })
    this.asked = asked
    return asked.found
  }

  private unsealed(found: readonly StoredChunk[]): Frames[] {
    // a store may show a commit before its promise resolves: who merges two logs could pass a position it has not seen
    const durable = found.filter(({ first }) => first <= this.parts.commits.durable)
    return durable.map(unsealed)
  }

  private fromMemory(position: number): Frames | undefined {
    let lo = 0
    let hi = this.memory.length
    while (lo < hi) {
      const mid = (lo + hi) >> 1
      if ((this.memory[mid]?.chunk.last ?? Infinity) < position) lo = mid + 1
      else hi = mid
    }
    const chunk = this.memory[lo]?.chunk
    if (chunk) chunk.receivers = this.online.size
    return chunk
  }

  /** What went into this log below `position`, counted since it began. */
  countBelow(position: number): Maybe<Amount> {
    return whenThere(position > this.last ? undefined : this.find(position), (found) => {
      const chunk = found ?? this.flying.find(({ last }) => last >= position)
      if (chunk) return countIn(chunk, chunk.before, position)
      const part = this.open.find(({ block }) => block.frames.last >= position)
      return part ? countIn(part.block.frames, part.before, position) : this.amount
    })
  }

  /** Gives up what no holder needs. */
  cut(commit: Commit): void {
    if (this.slowest && this.holders.has(this.slowest) && this.slowest.need <= this.cutBelow) return
    let below = this.last + 1
    this.slowest = undefined
    for (const holder of this.holders)
      if (holder.need < below) {
        below = holder.need
        this.slowest = holder
      }
    if (below > this.cutBelow) commit.cuts.push({ log: this.id, below })
    this.cutBelow = below
    let n = 0
    for (const entry of this.memory) {
      if (entry.chunk.last >= below) break
      this.parts.cache.drop(entry)
      this.memoryFrom = entry.chunk.last + 1
      n++
    }
    if (n) this.memory.splice(0, n)
  }
}

function countIn(chunk: Frames, before: Amount, position: number): Amount {
  const k = chunk.find(position)
  return { messages: before.messages + k, bytes: before.bytes + chunk.startOf(k), expiring: before.expiring }
}
