/** From this size on a piece is kept as it came: copying it costs more than what a Buffer takes beside its bytes. */
const LARGE_BYTES = 4096
/** What smaller ones are gathered in. */
const GATHER_BYTES = 16_384

/**
 * Puts packets together that arrive in pieces. A large piece is copied once, when its packet is complete, and nothing is
 * kept for a packet that has not arrived. What comes byte by byte takes no Buffer for each.
 */
export class Splitter {
  private pieces: Buffer[] = []
  private bytes = 0
  private need = 0
  /** where small pieces are gathered, the last of `pieces` is the part of it that is filled */
  private gather: Buffer | undefined = undefined
  private filled = 0

  /** Bytes to parse, or undefined while the packet at hand is not complete. */
  add(chunk: Buffer): Buffer | undefined {
    if (!this.bytes) return chunk
    this.bytes += chunk.length
    if (this.bytes >= this.need || chunk.length >= LARGE_BYTES) {
      this.pieces.push(chunk)
      this.gather = undefined
    } else this.append(chunk)
    if (this.bytes < this.need) return undefined
    return this.take()
  }

  private append(chunk: Buffer): void {
    if (this.gather && this.filled + chunk.length <= GATHER_BYTES) this.pieces.pop()
    else {
      this.gather = Buffer.allocUnsafeSlow(GATHER_BYTES)
      this.filled = 0
    }
    chunk.copy(this.gather, this.filled)
    this.filled += chunk.length
    this.pieces.push(this.gather.subarray(0, this.filled))
  }

  /** Keeps what is left; `need`: how many bytes the packet at its beginning takes at least. */
  keep(rest: Buffer, need: number): void {
    this.gather = undefined
    // a few bytes do not hold on to all that was read with them
    this.pieces = rest.length ? [rest.length < LARGE_BYTES ? Buffer.from(rest) : rest] : []
    this.bytes = rest.length
    this.need = need
  }

  /** Everything that was kept, complete or not. */
  take(): Buffer {
    const all = this.pieces.length === 1 ? (this.pieces[0] ?? NO_BYTES) : Buffer.concat(this.pieces)
    this.gather = undefined
    this.pieces = []
    this.bytes = 0
    return all
  }

  get kept(): number {
    return this.bytes
  }
}

const NO_BYTES = Buffer.alloc(0)
