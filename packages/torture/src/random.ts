/** Repeatable random numbers (xorshift, 32 bits): the same seed gives the same sequence on every machine. */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) >>> 0 || 1
    for (let n = 0; n < 8; n++) this.next()
  }

  /** At least 0, below 1. */
  next(): number {
    let x = this.state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.state = x >>> 0
    return this.state / 4_294_967_296
  }

  /** A whole number from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  /** A whole number from `low` to `high`, small ones as likely as large ones: each doubling has the same share. */
  scaled(low: number, high: number): number {
    return Math.round(low * (high / low) ** this.next())
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  /** One of the items; throws RangeError when there are none. */
  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.next() * items.length)]
    if (item === undefined) throw new RangeError("nothing to pick from")
    return item
  }
}
