/** Counters by index that start at 0 and saturate at 255; memory grows with the largest index, one byte each. */
export class GrowingBytes {
  private bytes = new Uint8Array(64)

  at(index: number): number {
    return this.bytes[index] ?? 0
  }

  /** Adds one and returns the new value. */
  increment(index: number): number {
    const value = Math.min(this.at(index) + 1, 255)
    this.set(index, value)
    return value
  }

  set(index: number, value: number): void {
    if (index >= this.bytes.length) {
      const wider = new Uint8Array(Math.max(index + 1, this.bytes.length * 2))
      wider.set(this.bytes)
      this.bytes = wider
    }
    this.bytes[index] = value
  }
}

/** Unsigned 32 bit numbers by index that start at 0; memory grows with the largest index, four bytes each. */
export class GrowingWords {
  private words = new Uint32Array(16)

  at(index: number): number {
    return this.words[index] ?? 0
  }

  set(index: number, value: number): void {
    if (index >= this.words.length) {
      const wider = new Uint32Array(Math.max(index + 1, this.words.length * 2))
      wider.set(this.words)
      this.words = wider
    }
    this.words[index] = value
  }
}
