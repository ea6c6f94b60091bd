const KEPT_ENTRIES = 16
const FIELDS_PER_ENTRY = 6

/** One delivery as a history shows it. */
export interface RecentDelivery {
  ordinal: number
  connection: number
  packetId: number
  dup: boolean
  stream: number
  n: number
}

/** The last 16 deliveries of a session, in a fixed amount of memory. */
export class RecentDeliveries {
  private readonly ring = new Int32Array(KEPT_ENTRIES * FIELDS_PER_ENTRY)
  private count = 0

  add(delivery: RecentDelivery): void {
    const { ordinal, connection, packetId, dup, stream, n } = delivery
    const at = (this.count++ % KEPT_ENTRIES) * FIELDS_PER_ENTRY
    this.ring[at] = ordinal
    this.ring[at + 1] = connection
    this.ring[at + 2] = packetId
    this.ring[at + 3] = dup ? 1 : 0
    this.ring[at + 4] = stream
    this.ring[at + 5] = n
  }

  /** Oldest first. */
  list(): RecentDelivery[] {
    const from = Math.max(0, this.count - KEPT_ENTRIES)
    return Array.from({ length: this.count - from }, (_, k) => {
      const at = ((from + k) % KEPT_ENTRIES) * FIELDS_PER_ENTRY
      const field = (offset: number): number => this.ring[at + offset] ?? 0
      return { ordinal: field(0), connection: field(1), packetId: field(2), dup: field(3) === 1, stream: field(4), n: field(5) }
    })
  }
}
