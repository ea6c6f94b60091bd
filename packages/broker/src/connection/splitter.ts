/** From this size on a packet gets pages of its own where that matters. */
const LARGE_BYTES = 131_072

/**
 * Puts packets together that arrive in pieces, each of which is copied once: what comes byte by byte takes no Buffer for each,
 * and what was read together with a packet is not held by it.
 */
export class Splitter {
  private place: Buffer = NO_BYTES
  private bytes = 0
  private need = 0

  /** @param isCrowded whether many keep a lot: then what was kept must leave no holes in memory */
  constructor(private readonly isCrowded: () => boolean) {}

  /** Bytes to parse, or undefined while the packet at hand is not complete. */
  add(chunk: Buffer): Buffer | undefined {
    if (!this.bytes) return chunk
    const size = this.bytes + chunk.length
    if (size > this.place.length) this.grow(size)
    chunk.copy(this.place, this.bytes)
    this.bytes = size
    return size < this.need ? undefined : this.take()
  }

  private grow(size: number): void {
    // what came behind the packet is taken with it
    const most = Math.max(size, this.need)
    const isWhole = most >= LARGE_BYTES && this.isCrowded()
    const wider = isWhole ? pages(most) : Buffer.allocUnsafe(Math.min(most, Math.max(size, this.place.length * 2)))
    this.place.copy(wider, 0, 0, this.bytes)
    this.place = wider
  }

  /** Keeps what is left; `need`: how many bytes the packet at its beginning takes at least. */
  keep(rest: Buffer, need: number): void {
    // a few bytes do not hold on to all that was read with them
    this.place = rest.length ? Buffer.from(rest) : NO_BYTES
    this.bytes = rest.length
    this.need = need
  }

  /** Everything that was kept, complete or not. */
  take(): Buffer {
    const all = this.place.subarray(0, this.bytes)
    this.drop()
    return all
  }

  /** Nothing of it is wanted any more. */
  drop(): void {
    this.place = NO_BYTES
    this.bytes = 0
  }

  get kept(): number {
    return this.bytes
  }
}

/**
 * Room that takes memory only as far as it is filled, and gives it back to the system when it goes. It takes longer to get than
 * what Buffers are made of, which is used again, and stays with the process.
 */
function pages(bytes: number): Buffer {
  return Buffer.from(new ArrayBuffer(bytes, { maxByteLength: bytes }), 0, bytes)
}

const NO_BYTES = Buffer.alloc(0)
