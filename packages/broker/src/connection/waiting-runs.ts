import type { GroupCommit, RoomWaiter } from "../delivery/logs/group-commit.js"
import { Pause } from "../delivery/outlet.js"
import type { Frames } from "../wire/frames.js"
import type { QoS } from "../wire/packet-types.js"
import { PacketError, Reason, type ReasonCode } from "../wire/reason-codes.js"

/** So many bytes of one client wait for room, then it is not read: up to there its acknowledgements of other messages are. */
const MOST_BYTES = 64 << 10
/** So many wait of all clients together. */
const MOST_BYTES_OF_ALL = 64 << 20

/** A connection whose messages wait. */
export interface WaitingPublisher {
  readonly closed: boolean
  pauseReading(reason: number): void
  resumeReading(reason: number): void
  refuse(reason: ReasonCode, message: string): void
}

/** Takes what waited, as if it came now. Throws a PacketError. */
type Taker = (run: Frames, qos: QoS, topic: string) => void

/**
 * The messages of one connection that wait until the store has room, unacknowledged and in their order. What else the client
 * says is heard meanwhile: it may be the one that makes room.
 */
export class WaitingRuns implements RoomWaiter {
  private runs: { run: Frames; qos: QoS; topic: string }[] = []
  private bytes = 0
  /** how many messages they are */
  messages = 0

  constructor(
    private readonly connection: WaitingPublisher,
    private readonly commits: GroupCommit,
    private readonly take: Taker,
  ) {}

  get closed(): boolean {
    return this.connection.closed
  }

  add(run: Frames, qos: QoS, topic: string): void {
    const { commits, connection } = this
    if (commits.waitingBytes + run.bytes > MOST_BYTES_OF_ALL)
      throw new PacketError(Reason.QUOTA_EXCEEDED, "the store has no room for messages, and too many wait for it")
    if (!this.messages) commits.whenRoom(this)
    this.runs.push({ run: run.slice(0, run.n), qos, topic })
    this.count(run, 1)
    if (this.bytes > MOST_BYTES) connection.pauseReading(Pause.STORE)
  }

  private count({ n, bytes }: Frames, sign: 1 | -1): void {
    this.messages += sign * n
    this.bytes += sign * bytes
    this.commits.waitingBytes += sign * bytes
  }

  roomAgain(): void {
    const { commits, connection, runs } = this
    this.runs = []
    for (const [n, { run, qos, topic }] of runs.entries()) {
      if (!connection.closed && (commits.lacksRoom(run.bytes) || commits.full)) {
        this.runs = runs.slice(n)
        return commits.whenRoom(this)
      }
      this.count(run, -1)
      if (!connection.closed) this.takeOne(run, qos, topic)
    }
    if (!connection.closed) connection.resumeReading(Pause.STORE)
  }

  private takeOne(run: Frames, qos: QoS, topic: string): void {
    try {
      this.take(run, qos, topic)
    } catch (error) {
      if (!(error instanceof PacketError)) throw error
      this.connection.refuse(error.reason, error.message)
    }
  }
}
