import { Frames } from "../../wire/frames.js"

/** Memory for chunks that were just committed, all logs together, in bytes. */
const CACHE_BYTES = 16 << 20
/** The same while memory is tight: what waits is read from the store. */
const TIGHT_BYTES = 1 << 20
/** What a chunk costs beside its bytes; with one message per chunk this is ten times the message. */
const OVERHEAD_BYTES = 1000
/** Soft limit of one chunk in bytes. */
export const CHUNK_BYTES = 65_536
const SPARE_BUFFERS = 16

/** Who has a chunk in the cache. */
export interface Cached {
  /** The cache lets go of its oldest chunk. */
  forget(): void
}

export interface CacheEntry {
  readonly owner: Cached
  readonly chunk: Frames
}

/** The newest chunks of all logs in memory, under one bound, and spare buffers for new ones. */
export class ChunkCache {
  private readonly spare: Buffer[] = []
  /** in the order in which they came */
  private readonly entries = new Set<CacheEntry>()
  /** goes on from the oldest: a new iterator would first pass the places of all that went */
  private oldest = this.entries.values()
  private bytes = 0

  constructor(private readonly memory: { readonly isTight: boolean }) {}

  /** An empty chunk with room for `size` bytes at least. */
  chunk(size: number): Frames {
    const buf = size > 4096 && size <= CHUNK_BYTES ? this.spare.pop() : undefined
    return new Frames(buf ?? Buffer.allocUnsafe(size), 8)
  }

  giveBack(buf: Buffer): void {
    if (buf.length === CHUNK_BYTES && this.spare.length < SPARE_BUFFERS) this.spare.push(buf)
  }

  add(owner: Cached, chunk: Frames): CacheEntry {
    const entry = { owner, chunk }
    this.entries.add(entry)
    this.bytes += chunk.buf.length + OVERHEAD_BYTES
    return entry
  }

  drop(entry: CacheEntry): void {
    if (this.entries.delete(entry)) this.bytes -= entry.chunk.buf.length + OVERHEAD_BYTES
  }

  /** First in, first out, until the bound is kept. */
  evict(): void {
    const most = this.memory.isTight ? TIGHT_BYTES : CACHE_BYTES
    while (this.bytes > most) {
      const { done, value: entry } = this.oldest.next()
      if (done === true) {
        this.oldest = this.entries.values()
        continue
      }
      this.drop(entry)
      entry.owner.forget()
    }
  }
}
