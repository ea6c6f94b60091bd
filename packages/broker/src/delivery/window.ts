const MAX_IDENTIFIER = 65_535
const SMALLEST = 16

/**
 * The messages in flight to one client: sent, not acknowledged yet. Packet Identifiers are given out in sequence, so
 * the window is a ring and an acknowledgement is arithmetic (MQTT 5.0 sections 2.2.1 and 4.9).
 *
 * The span from the oldest unacknowledged to the newest is bounded to four windows: an acknowledgement that never
 * comes holds up its session, and does not grow it.
 */
export class Window {
  private head = 0
  private size = 0
  private headIdentifier = 1
  private waiting = 0
  private done = NO_FLAGS
  private positions = NO_POSITIONS

  /** @param limit most unacknowledged messages: Receive Maximum, or the broker's limit */
  constructor(public limit: number) {}

  /** Entries from the oldest unacknowledged on, acknowledged ones between them included. */
  get length(): number {
    return this.size
  }

  /** How many messages may be sent now. */
  get room(): number {
    return Math.min(this.limit - this.waiting, Math.min(this.limit * 4, MAX_IDENTIFIER - 1) - this.size)
  }

  /** Position of the oldest unacknowledged message. Only when length > 0. */
  get oldest(): number {
    return this.positions[this.head] ?? 0
  }

  positionAt(entry: number): number {
    return this.positions[(this.head + entry) & (this.positions.length - 1)] ?? 0
  }
  acknowledged(entry: number): boolean {
    return this.done[(this.head + entry) & (this.done.length - 1)] === 1
  }
  identifierAt(entry: number): number {
    const id = this.headIdentifier + entry
    return id > MAX_IDENTIFIER ? id - MAX_IDENTIFIER : id
  }

  /** Takes the next Packet Identifier for the message at `position`. */
  add(position: number): number {
    if (this.size === this.done.length) this.grow()
    this.positions[(this.head + this.size) & (this.positions.length - 1)] = position
    this.waiting++
    return this.identifierAt(this.size++)
  }

  /** Whether the identifier was in flight. Repeated and unknown acknowledgements change nothing. */
  acknowledge(identifier: number): boolean {
    let entry = identifier - this.headIdentifier
    if (entry < 0) entry += MAX_IDENTIFIER
    return entry < this.size && this.finish(entry)
  }

  /** Marks an entry done and moves the ring past all done ones. */
  finish(entry: number): boolean {
    const mask = this.done.length - 1
    const slot = (this.head + entry) & mask
    if (this.done[slot]) return false
    this.done[slot] = 1
    this.waiting--
    while (this.size && this.done[this.head]) {
      this.done[this.head] = 0
      this.head = (this.head + 1) & mask
      this.headIdentifier = this.headIdentifier === MAX_IDENTIFIER ? 1 : this.headIdentifier + 1
      this.size--
    }
    return true
  }

  private grow(): void {
    const length = Math.max(SMALLEST, this.done.length * 2)
    const done = new Uint8Array(length)
    const positions = new Float64Array(length)
    for (let entry = 0; entry < this.size; entry++) {
      done[entry] = this.acknowledged(entry) ? 1 : 0
      positions[entry] = this.positionAt(entry)
    }
    this.head = 0
    this.done = done
    this.positions = positions
  }
}

const NO_FLAGS = new Uint8Array(0)
const NO_POSITIONS = new Float64Array(0)
