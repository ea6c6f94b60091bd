/**
 * What is true of at least one frame of a block: whoever sends a block looks here once, and copies it whole when
 * nothing in it needs individual care.
 */
export const Trait = {
  /** encoded for MQTT 3.1 and 3.1.1: no properties */
  V3: 1,
  /** encoded for MQTT 5.0 */
  V5: 2,
  /** carries a Message Expiry Interval */
  EXPIRY: 4,
  /** was published with RETAIN 1 */
  RETAIN: 8,
  /** is at QoS 2 */
  QOS2: 16,
} as const

const INDEX_WORDS = 3
const V5_FLAG = 1
const KEPT_FLAG = 2
const FLAGS = V5_FLAG | KEPT_FLAG
const FLAG_BITS = 2
const TRAILER_BYTES = 24
const FORMAT = 2

const NO_INDEX = new Int32Array(0)

/** Messages, and the bytes of their packets. */
export interface Amount {
  readonly messages: number
  readonly bytes: number
  /** of these messages at most so many may expire */
  readonly expiring: number
}

export const NO_AMOUNT: Amount = { messages: 0, bytes: 0, expiring: 0 }

/**
 * A block of complete PUBLISH packets, back to back, with an index. The same shape serves a run of packets as it was
 * read from a socket, the queue of a Clean Session, and a chunk of a log in memory or in the store: a message is
 * copied, never taken apart.
 *
 * Per message the index holds three words: distance of its position from `first` behind two flags,
 * the offset of its Packet Identifier (in a QoS 0 packet: where it would be), and the offset behind it.
 */
export class Frames {
  buf: Buffer
  index: Int32Array
  /** offset of the first frame; not 0 only in a run that lies in a socket's buffer */
  start = 0
  /** offset behind the last frame */
  end = 0
  /** number of messages */
  n = 0
  /** position of the first message (logs only) */
  first = 0
  /** position of the last message (logs only) */
  last = 0
  /** OR of Trait over all messages */
  traits = 0
  /** the largest frame in bytes */
  largest = 0
  /** when the block was opened, in ms of the broker's time; a block gathers for one commit at most */
  createdAt = 0
  /** how many receive it from memory, about: they share its bytes */
  receivers = 1
  /** its bytes are in memory once for all logs that have them */
  isShared = false
  /** what went into the same log before this block */
  before = NO_AMOUNT

  constructor(buf: Buffer, messages: number) {
    this.buf = buf
    this.index = messages ? new Int32Array(messages * INDEX_WORDS) : NO_INDEX
  }

  get bytes(): number {
    return this.end - this.start
  }
  startOf(k: number): number {
    return k === 0 ? this.start : this.index[k * INDEX_WORDS - 1]!
  }
  endOf(k: number): number {
    return this.index[k * INDEX_WORDS + 2]!
  }
  identifierAt(k: number): number {
    return this.index[k * INDEX_WORDS + 1]!
  }
  /** The Packet Identifier; only at QoS 1 and 2. */
  identifierOf(k: number): number {
    const at = this.identifierAt(k)
    return (this.buf[at]! << 8) | this.buf[at + 1]!
  }
  positionOf(k: number): number {
    return this.first + (this.index[k * INDEX_WORDS]! >>> FLAG_BITS)
  }
  isV5(k: number): boolean {
    return (this.index[k * INDEX_WORDS]! & V5_FLAG) !== 0
  }
  /** A retained message that is sent because of a SUBSCRIBE: RETAIN stays 1 (MQTT 5.0 section 3.3.1.3). */
  isKept(k: number): boolean {
    return (this.index[k * INDEX_WORDS]! & KEPT_FLAG) !== 0
  }
  markKept(k: number): void {
    this.index[k * INDEX_WORDS]! |= KEPT_FLAG
  }
  headerOf(k: number): number {
    return this.buf[this.startOf(k)]!
  }

  /** The first message at or after `position`, `n` when there is none. */
  find(position: number): number {
    let lo = 0
    let hi = this.n
    while (lo < hi) {
      const mid = (lo + hi) >> 1
      if (this.positionOf(mid) < position) lo = mid + 1
      else hi = mid
    }
    return lo
  }

  /** Adds a frame that already lies in `buf`, directly behind the last one. */
  add(identifierAt: number, end: number, v5: boolean): void {
    const w = this.n++ * INDEX_WORDS
    this.index[w] = v5 ? V5_FLAG : 0
    this.index[w + 1] = identifierAt
    this.index[w + 2] = end
    if (end - this.end > this.largest) this.largest = end - this.end
    this.end = end
  }

  /** Copies messages `i` up to `j` of another block; they get consecutive positions from `position` on. */
  append(src: Frames, i: number, j: number, position: number): void {
    const from = src.startOf(i)
    const size = src.endOf(j - 1) - from
    this.room(size, j - i)
    copyBytes(src.buf, this.buf, this.end, from, from + size)
    const shift = this.end - from
    let w = this.n * INDEX_WORDS
    let delta = (position - this.first) << FLAG_BITS
    for (let k = i * INDEX_WORDS; k < j * INDEX_WORDS; k += INDEX_WORDS) {
      this.index[w] = delta | (src.index[k]! & FLAGS)
      this.index[w + 1] = src.index[k + 1]! + shift
      this.index[w + 2] = src.index[k + 2]! + shift
      delta += 1 << FLAG_BITS
      w += INDEX_WORDS
    }
    this.n += j - i
    this.end += size
    this.last = position + (j - i) - 1
    this.traits |= src.traits
    if (src.largest > this.largest) this.largest = src.largest
  }

  /** Messages `i` up to `j` as a block of their own, with room for as many as this one has. */
  slice(i: number, j: number): Frames {
    const part = new Frames(Buffer.allocUnsafe(this.bytes), this.n)
    part.traits = this.traits
    if (j > i) part.append(this, i, j, 0)
    return part
  }

  /** Messages `i` up to `j` where they are, as a block that keeps nothing else in memory. It gets no more. */
  part(i: number, j: number): Frames {
    const from = this.startOf(i)
    const part = new Frames(Buffer.allocUnsafe(this.endOf(j - 1) - from), j - i)
    part.append(this, i, j, 0)
    for (let k = i; k < j; k++) part.index[(k - i) * INDEX_WORDS] = this.index[k * INDEX_WORDS]!
    part.first = this.first
    part.last = this.positionOf(j - 1)
    part.createdAt = this.createdAt
    part.traits = this.traits
    return part
  }

  /** One message as a block of its own, without room for more. */
  only(k: number): Frames {
    const one = new Frames(Buffer.allocUnsafe(this.endOf(k) - this.startOf(k)), 1)
    one.append(this, k, k + 1, 0)
    return one
  }

  private room(bytes: number, messages: number): void {
    if (this.end + bytes > this.buf.length) {
      const wider = Buffer.allocUnsafe(Math.max(this.end + bytes, this.buf.length * 2))
      this.buf.copy(wider, 0, 0, this.end)
      this.buf = wider
    }
    if ((this.n + messages) * INDEX_WORDS > this.index.length) {
      const wider = new Int32Array(Math.max(this.index.length * 2, (this.n + messages) * INDEX_WORDS))
      wider.set(this.index.subarray(0, this.n * INDEX_WORDS))
      this.index = wider
    }
  }

  /** Empties a run so that its index can be used for the next one. */
  restart(buf: Buffer, start: number): void {
    this.buf = buf
    this.start = this.end = start
    this.n = this.largest = this.traits = 0
  }

  /**
   * The value that a store keeps: frames, index, trailer. The block goes on with the value as its buffer, which must
   * not change any more: a store may read it from another thread.
   */
  seal(): Buffer {
    const words = this.n * INDEX_WORDS
    const value = Buffer.allocUnsafe(this.end + words * 4 + TRAILER_BYTES)
    this.buf.copy(value, 0, 0, this.end)
    Buffer.from(this.index.buffer, this.index.byteOffset, words * 4).copy(value, this.end)
    let at = value.length - TRAILER_BYTES
    at = value.writeDoubleLE(this.createdAt, at)
    at = value.writeUInt32LE(this.traits, at)
    at = value.writeUInt32LE(this.largest, at)
    at = value.writeUInt32LE(FORMAT, at)
    value.writeUInt32LE(this.n, at)
    this.buf = value
    if (this.index.length > words) this.index = this.index.slice(0, words)
    return value
  }

  /** How many messages a sealed block has. */
  static messagesOf(value: Buffer): number {
    return value.readUInt32LE(value.length - 4)
  }

  /** How many bytes the frames of a sealed block take. */
  static bytesOf(value: Buffer): number {
    return Frames.bytesIn(value.length, Frames.messagesOf(value))
  }

  /** The same, of its length and how many messages it has. */
  static bytesIn(length: number, messages: number): number {
    return length - TRAILER_BYTES - messages * INDEX_WORDS * 4
  }

  /** OR of Trait over all messages of a sealed block. */
  static traitsOf(value: Buffer): number {
    return value.readUInt32LE(value.length - TRAILER_BYTES + 8)
  }

  /** The block as another log has it, which shares its bytes. Neither gets more messages. */
  sharedAfter(before: Amount): Frames {
    const other = new Frames(this.buf, 0)
    other.index = this.index
    other.start = this.start
    other.end = this.end
    other.n = this.n
    other.first = this.first
    other.last = this.last
    other.traits = this.traits
    other.largest = this.largest
    other.createdAt = this.createdAt
    other.before = before
    other.isShared = true
    return other
  }

  /** The block whose seal() a store gives back, with the position of its first message. */
  static unseal(first: number, value: Buffer, before = NO_AMOUNT): Frames {
    const n = value.readUInt32LE(value.length - 4)
    const frames = new Frames(value, n)
    const trailer = value.length - TRAILER_BYTES
    frames.n = n
    frames.end = trailer - n * INDEX_WORDS * 4
    // making a Buffer takes longer than the few words of one message
    if (n === 1) for (let w = 0; w < INDEX_WORDS; w++) frames.index[w] = value.readInt32LE(frames.end + w * 4)
    else value.copy(Buffer.from(frames.index.buffer), 0, frames.end, trailer)
    frames.first = first
    frames.createdAt = value.readDoubleLE(trailer)
    frames.before = before
    frames.traits = value.readUInt32LE(trailer + 8)
    frames.largest = value.readUInt32LE(trailer + 12)
    frames.last = frames.positionOf(n - 1)
    return frames
  }
}

/** Copies bytes; a loop beats the native copy for the few dozen bytes of a small message. */
export function copyBytes(src: Buffer, dst: Buffer, at: number, from: number, to: number): void {
  if (to - from > 96) src.copy(dst, at, from, to)
  else for (let i = from; i < to; i++) dst[at++] = src[i]!
}
