/** A set of page numbers, a bit each. */
export class PageSet {
  private readonly bits: Uint8Array

  /** @param most no number is above it */
  constructor(private readonly most: number) {
    this.bits = new Uint8Array((most >> 3) + 1)
  }

  has(page: number): boolean {
    return page <= this.most && ((this.bits[page >> 3] ?? 0) & (1 << (page & 7))) !== 0
  }

  /** False: one of them is in it already, or above the greatest that there may be. */
  add(page: number, count = 1): boolean {
    if (page + count - 1 > this.most) return false
    for (let n = page; n < page + count; n++) {
      if (this.has(n)) return false
      this.bits[n >> 3] = (this.bits[n >> 3] ?? 0) | (1 << (n & 7))
    }
    return true
  }
}
