/**
 * Puts packets together that arrive in pieces. A piece is copied once, when its packet is complete, and nothing is
 * kept for a packet that has not arrived.
 */
export class Splitter {
  private pieces: Buffer[] = []
  private bytes = 0
  private need = 0

  /** Bytes to parse, or undefined while the packet at hand is not complete. */
  add(chunk: Buffer): Buffer | undefined {
    if (!this.bytes) return chunk
    this.pieces.push(chunk)
    this.bytes += chunk.length
    if (this.bytes < this.need) return undefined
    return this.take()
  }

  /** Keeps what is left; `need`: how many bytes the packet at its beginning takes at least. */
  keep(rest: Buffer, need: number): void {
    this.pieces = rest.length ? [rest] : []
    this.bytes = rest.length
    this.need = need
  }

  /** Everything that was kept, complete or not. */
  take(): Buffer {
    const all = this.pieces.length === 1 ? (this.pieces[0] ?? NO_BYTES) : Buffer.concat(this.pieces)
    this.pieces = []
    this.bytes = 0
    return all
  }

  get kept(): number {
    return this.bytes
  }
}

const NO_BYTES = Buffer.alloc(0)
