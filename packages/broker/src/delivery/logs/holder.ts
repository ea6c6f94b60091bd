/** Who needs what a log has: it is kept from the lowest position that one of them needs on. */
export interface Holder {
  /** the lowest position that it may still ask for */
  readonly need: number
  /** from this position on it needs nothing, Infinity: it goes on */
  readonly until: number
  /** The log has more durable messages. Called only while it is online. */
  wake(): void
}
