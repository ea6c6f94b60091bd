import type { QoS } from "../../wire/packet-types.js"

const MAX_IDENTIFIER = 65_535
const SMALLEST_RING = 16
const ENTRY_BYTES = 9

/** Where a message in flight stands (MQTT 5.0 section 4.3). */
export const Phase = {
  /** PUBLISH at QoS 1 was sent: waits for PUBACK */
  PUBLISHED_1: 0,
  DONE: 1,
  /** PUBLISH at QoS 2 leaves once its identifier is stored, or was sent: waits for PUBREC */
  PUBLISHED_2: 2,
  /** PUBREC came; PUBREL leaves once that is stored, or was sent: waits for PUBCOMP */
  RELEASED: 3,
  /** done at QoS 2: remembered until the ring moves past it, so that a crash does not deliver it again */
  DONE_2: 4,
  /** sent at QoS 1, and given up because a queue was full: still waits for PUBACK, is not sent again */
  ABANDONED: 5,
} as const

export type Phase = (typeof Phase)[keyof typeof Phase]

/**
 * The messages in flight to one client: sent, not acknowledged yet. Packet Identifiers are given out in sequence, so
 * the window is a ring and an acknowledgement is arithmetic (MQTT 5.0 sections 2.2.1 and 4.9).
 *
 * The span from the oldest unacknowledged to the newest is bounded to four windows: an acknowledgement that never
 * comes holds up its session, and does not grow it.
 */
export class Window {
  /** how many entries are at QoS 2, done or not: while there are any, the ring is stored */
  exactlyOnce = 0
  private head = 0
  private size = 0
  private headIdentifier = 1
  private waiting = 0
  private phases = NO_PHASES
  private positions = NO_POSITIONS

  /** @param limit most unacknowledged messages: Receive Maximum, or the broker's limit */
  constructor(public limit: number) {}

  /** What it takes in memory. */
  get bytes(): number {
    return this.phases.length * ENTRY_BYTES
  }

  /** Entries from the oldest unacknowledged on, acknowledged ones between them included. */
  get length(): number {
    return this.size
  }

  /** How many messages may be sent now. */
  get room(): number {
    return Math.min(this.limit - this.waiting, Math.min(this.limit * 4, MAX_IDENTIFIER - 1) - this.size)
  }

  positionAt(entry: number): number {
    return this.positions[(this.head + entry) & (this.positions.length - 1)] ?? 0
  }
  phaseAt(entry: number): number {
    return this.phases[(this.head + entry) & (this.phases.length - 1)] ?? Phase.DONE
  }
  identifierAt(entry: number): number {
    const id = this.headIdentifier + entry
    return id > MAX_IDENTIFIER ? id - MAX_IDENTIFIER : id
  }

  /** Takes the next Packet Identifier for the message at `position`. */
  add(position: number, qos: QoS): number {
    if (this.size === this.phases.length) this.grow()
    const slot = (this.head + this.size) & (this.positions.length - 1)
    this.positions[slot] = position
    this.phases[slot] = qos === 2 ? Phase.PUBLISHED_2 : Phase.PUBLISHED_1
    if (qos === 2) this.exactlyOnce++
    this.waiting++
    return this.identifierAt(this.size++)
  }

  /** The entry of a Packet Identifier in flight, -1 when it is not. */
  entryOf(identifier: number): number {
    let entry = identifier - this.headIdentifier
    if (entry < 0) entry += MAX_IDENTIFIER
    return entry < this.size && !this.isDone(entry) ? entry : -1
  }

  /** Whether the message of an entry may have to be sent again. */
  needsMessage(entry: number): boolean {
    const phase = this.phaseAt(entry)
    return phase === Phase.PUBLISHED_1 || phase === Phase.PUBLISHED_2
  }

  /** The entry of the message at `position`, -1 when it has none. */
  entryAt(position: number): number {
    let low = 0
    let high = this.size
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.positionAt(middle) < position) low = middle + 1
      else high = middle
    }
    return low < this.size && this.positionAt(low) === position ? low : -1
  }

  /** How many entries from `entry` on have a message that may have to be sent again. */
  needing(entry: number): number {
    let messages = 0
    for (let k = entry; k < this.size; k++) if (this.needsMessage(k)) messages++
    return messages
  }

  /** The message of an entry is given up. What was sent at QoS 2 is completed: PUBREL frees its identifier. */
  abandon(entry: number): void {
    const slot = (this.head + entry) & (this.phases.length - 1)
    this.phases[slot] = this.phases[slot] === Phase.PUBLISHED_1 ? Phase.ABANDONED : Phase.RELEASED
  }

  isDone(entry: number): boolean {
    const phase = this.phaseAt(entry)
    return phase === Phase.DONE || phase === Phase.DONE_2
  }

  /** PUBREC came. */
  release(entry: number): void {
    this.phases[(this.head + entry) & (this.phases.length - 1)] = Phase.RELEASED
  }

  /** Marks an entry done and moves the ring past all done ones. Returns by how many it moved. */
  finish(entry: number): number {
    if (this.isDone(entry)) return 0
    const mask = this.phases.length - 1
    const slot = (this.head + entry) & mask
    const once = this.phases[slot] === Phase.PUBLISHED_1 || this.phases[slot] === Phase.ABANDONED
    this.phases[slot] = once ? Phase.DONE : Phase.DONE_2
    this.waiting--
    const before = this.size
    while (this.size && this.isDone(0)) {
      if (this.phases[this.head] === Phase.DONE_2) this.exactlyOnce--
      this.head = (this.head + 1) & mask
      this.headIdentifier = this.headIdentifier === MAX_IDENTIFIER ? 1 : this.headIdentifier + 1
      this.size--
    }
    return before - this.size
  }

  /** The ring as it is stored while anything is in flight at QoS 2, or was sent before a grant was raised: first identifier, then phase and position of each entry. */
  pack(): Buffer {
    const value = Buffer.allocUnsafe(2 + this.size * ENTRY_BYTES)
    let at = value.writeUInt16BE(this.headIdentifier)
    for (let entry = 0; entry < this.size; entry++) {
      at = value.writeUInt8(this.phaseAt(entry), at)
      at = value.writeDoubleBE(this.positionAt(entry), at)
    }
    return value
  }

  /** Puts a stored ring back, with its Packet Identifiers. */
  unpack(value: Buffer): void {
    this.headIdentifier = value.readUInt16BE(0)
    for (let at = 2; at < value.length; at += ENTRY_BYTES) {
      const phase = value.readUInt8(at)
      this.add(value.readDoubleBE(at + 1), phase === Phase.PUBLISHED_2 || phase === Phase.RELEASED || phase === Phase.DONE_2 ? 2 : 1)
      this.phases[(this.head + this.size - 1) & (this.phases.length - 1)] = phase
      if (this.isDone(this.size - 1)) this.waiting--
    }
  }

  private grow(): void {
    const length = Math.max(SMALLEST_RING, this.phases.length * 2)
    const phases = new Uint8Array(length)
    const positions = new Float64Array(length)
    for (let entry = 0; entry < this.size; entry++) {
      phases[entry] = this.phaseAt(entry)
      positions[entry] = this.positionAt(entry)
    }
    this.head = 0
    this.phases = phases
    this.positions = positions
  }
}

const NO_PHASES = new Uint8Array(0)
const NO_POSITIONS = new Float64Array(0)
