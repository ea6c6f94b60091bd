import { PacketType } from "../wire/packet-types.js"
import { readVarint } from "../wire/varint.js"

/** What is taken from one client in a second. Infinity: as much as it sends. */
export interface Rate {
  /** PUBLISH packets */
  messages: number
  /** bytes of packets of every type */
  bytes: number
}

/** Shortest wait, in ms: what the rate allows meanwhile is treated together. */
const SHORTEST_WAIT_MS = 50
/** Longest wait, in ms: then it is looked again. */
const LONGEST_WAIT_MS = 1000

/** Fills with time, to what a second brings at most. A packet needs 1 in it and takes all that it is: the level may fall below 0. */
class Bucket {
  private readonly most: number
  level: number

  constructor(private readonly perSecond: number) {
    this.most = Math.max(perSecond, 1)
    this.level = this.most
  }

  fill(ms: number): void {
    this.level = Math.min(this.most, this.level + (ms * this.perSecond) / 1000)
  }

  /** ms until a packet may take of it */
  get wait(): number {
    return this.level < 1 ? ((1 - this.level) * 1000) / this.perSecond : 0
  }
}

/** Holds one connection to its rate: says which packets may be treated now, and when to ask again. */
export class Pace {
  private readonly messages: Bucket
  private readonly bytes: Bucket

  /** @param filledAt now, in ms */
  constructor(
    rate: Rate,
    private filledAt: number,
  ) {
    this.messages = new Bucket(rate.messages)
    this.bytes = new Bucket(rate.bytes)
  }

  /**
   * Counts the packets at the beginning of `buf` that the rate allows, up to one that is not complete or has to be
   * answered before the next. Returns where the first one begins that must wait; the length of `buf`: none must.
   */
  admit(buf: Buffer, now: number): number {
    this.fill(now)
    const { bytes, messages } = this
    for (let at = 0; ;) {
      const length = readVarint(buf, at + 1, buf.length)
      const end = at + 1 + (length & 7) + (length >>> 3)
      if (length < 0 || end > buf.length) return buf.length // whoever reads the packet says what is wrong with it
      const type = (buf[at] ?? 0) >> 4
      if (bytes.level < 1 || (type === PacketType.PUBLISH && messages.level < 1)) return at
      bytes.level -= end - at
      if (type === PacketType.PUBLISH) messages.level--
      else if (type < PacketType.PUBACK || type > PacketType.PUBCOMP) return buf.length
      at = end
    }
  }

  /** How long to wait before the next admit(), in ms. */
  get wait(): number {
    return Math.min(Math.max(this.messages.wait, this.bytes.wait, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)
  }

  private fill(now: number): void {
    const ms = now - this.filledAt
    if (ms <= 0) return
    this.messages.fill(ms)
    this.bytes.fill(ms)
    this.filledAt = now
  }
}
