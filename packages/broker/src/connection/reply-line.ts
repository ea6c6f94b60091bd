import type { Batch, GroupCommit, Waiter } from "../delivery/logs/group-commit.js"
import type { Tally } from "../accounting/tally.js"
import type { Frames } from "../wire/frames.js"
import { ACK_SIZE, ackWithReason, writeAck } from "../wire/acknowledgements.js"
import { PUBACK } from "../wire/packet-types.js"
import { Reason, type ReasonCode } from "../wire/reason-codes.js"
import type { Output } from "./output.js"

/** Most PUBLISH packets at QoS 1 and 2 that a client may send without an acknowledgement (MQTT 5.0 section 3.2.2.3.3). */
export const RECEIVE_MAXIMUM = 4096

/** From so many bytes on what waits is counted. */
const COUNTED_FROM_BYTES = 65_536

interface Entry {
  readonly batch: Batch
  bytes: Buffer
  used: number
  /** how many messages of QoS 1 it acknowledges */
  pubacks: number
  /** called behind the bytes */
  readonly afterwards: (() => void)[]
}

/**
 * The answers of one connection, in the order of its packets: what must be durable first waits for its commit, and
 * what comes behind it waits too.
 */
export class ReplyLine implements Waiter {
  /** at most two: the commit under way, and the one that gathers */
  private readonly entries: Entry[] = []
  /** bytes that wait for a commit */
  waitingBytes = 0
  /** what the tally has of them */
  private counted = 0

  constructor(
    private readonly commits: GroupCommit,
    private readonly output: Output,
    private readonly tally: Tally,
  ) {}

  /** Acknowledges a run. `durable`: not before the gathering commit. Other reasons than success are for MQTT 5.0 only. */
  acknowledge(header: number, run: Frames, reason: ReasonCode, durable: boolean): void {
    const entry = this.entry(durable)
    if (entry && header === PUBACK) entry.pubacks += run.n
    if (reason !== Reason.SUCCESS) {
      for (let k = 0; k < run.n; k++) this.put(entry, ackWithReason(header, run.identifierOf(k), reason))
      return
    }
    const size = run.n * ACK_SIZE
    let at = entry ? this.room(entry, size) : this.output.claim(size)
    const buf = entry ? entry.bytes : this.output.buffer
    for (let k = 0; k < run.n; k++) at = writeAck(buf, at, header, run.identifierOf(k))
  }

  /** QoS 1 messages whose PUBACK waits for a commit. */
  get unacknowledged(): number {
    let messages = 0
    for (const { pubacks } of this.entries) messages += pubacks
    return messages
  }

  /** An answer of whatever kind. */
  send(bytes: Buffer, durable: boolean): void {
    this.put(this.entry(durable), bytes)
  }

  /** Calls back in place of an answer. Nothing may be sent behind it until it was called. */
  afterwards(callback: () => void, durable: boolean): void {
    const entry = this.entry(durable)
    if (entry) entry.afterwards.push(callback)
    else callback()
  }

  released(): void {
    const entry = this.entries.shift()
    if (!entry) return
    this.waitingBytes -= entry.used
    this.count()
    if (entry.used) this.output.push(entry.bytes.subarray(0, entry.used))
    for (const callback of entry.afterwards) callback()
  }

  /** The connection is closed. */
  close(): void {
    this.tally.add("unsent", -this.counted)
    this.counted = 0
  }

  private count(): void {
    const bytes = this.waitingBytes < COUNTED_FROM_BYTES ? 0 : this.waitingBytes
    if (bytes === this.counted) return
    this.tally.add("unsent", bytes - this.counted)
    this.counted = bytes
  }

  private put(entry: Entry | undefined, bytes: Buffer): void {
    if (!entry) return this.output.push(bytes)
    const at = this.room(entry, bytes.length)
    bytes.copy(entry.bytes, at)
  }

  /** Where an answer waits; undefined: it leaves now. */
  private entry(durable: boolean): Entry | undefined {
    const last = this.entries.at(-1)
    if (!durable || last?.batch === this.commits.gathering) return last
    this.commits.touch() // a commit may have nothing to write, and takes its turn all the same
    const entry: Entry = { batch: this.commits.gathering, bytes: NO_BYTES, used: 0, pubacks: 0, afterwards: [] }
    this.entries.push(entry)
    entry.batch.waiters.push(this)
    return entry
  }

  private room(entry: Entry, size: number): number {
    const at = entry.used
    this.waitingBytes += size
    entry.used += size
    if (entry.used > entry.bytes.length) {
      const wider = Buffer.allocUnsafe(Math.max(entry.used, entry.bytes.length * 2, 64))
      entry.bytes.copy(wider, 0, 0, at)
      entry.bytes = wider
      this.count()
    }
    return at
  }
}

const NO_BYTES = Buffer.alloc(0)
