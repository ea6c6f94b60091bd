import type { Match, Router } from "../delivery/routing/router.js"
import { Frames, Trait } from "../wire/frames.js"
import { DUP, type QoS, qosOf, RETAIN } from "../wire/packet-types.js"
import { readProperties } from "../wire/properties.js"
import { malformed, PacketError, protocolError, Reason } from "../wire/reason-codes.js"
import type { Turns } from "./turns.js"

/** Longest run: PUBLISH packets that are accepted together. */
const LONGEST_RUN = 16_384

/** From so many receivers and logs on a publisher may have to give way to others, */
const WIDE = 64
/** and after so many runs. */
const MANY_RUNS = 16

/** Takes a run that ended. */
export type RunTaker = (run: Frames, qos: QoS, match: Match) => void

/**
 * Gathers consecutive PUBLISH packets of one connection that have the same topic, QoS, RETAIN and version into runs.
 * The packets stay where they lie in the socket's buffer. One instance serves all connections of a version in turn: a
 * run never outlives the read that brought it.
 */
export class PublishReader {
  private readonly run = new Frames(Buffer.alloc(0), LONGEST_RUN)
  private header = 0
  private topicAt = 0
  private topicEnd = 0
  private match: Match | undefined = undefined
  private taker: RunTaker = () => {}

  private runs = 0

  /** the buffer at hand takes long: something of it has many receivers, or there are many topics in it */
  isLong = false
  /** others must have their turn before its next packet */
  isTurnOver = false

  constructor(
    private readonly router: Router,
    readonly turns: Turns,
  ) {}

  /** Whether those whose buffers take long have to wait for a later turn. */
  get isBusy(): boolean {
    return this.turns.isOver
  }

  /** A connection's buffer is about to be read. */
  begin(buf: Buffer, taker: RunTaker): void {
    this.run.restart(buf, 0)
    this.taker = taker
    this.isLong = this.isTurnOver = false
    this.runs = 0
  }

  /** The PUBLISH at `start` whose body lies between `body` and `end`. Throws a PacketError. */
  add(start: number, body: number, end: number, v5: boolean): void {
    const { run } = this
    const { buf } = run
    let header = buf[start] ?? 0
    const qos = (header >> 1) & 3
    if (header & DUP) {
      if (!qos) throw malformed("DUP 1 at QoS 0 [MQTT-3.3.1-2]")
      buf[start] = header &= ~DUP // it is about this one hop [MQTT-3.3.1-3]
    }
    if (qos === 3) throw malformed("PUBLISH with QoS 3 [MQTT-3.3.1-4]")
    const topicAt = body + 2
    const topicEnd = body + 2 <= end ? topicAt + (((buf[body] ?? 0) << 8) | (buf[body + 1] ?? 0)) : Infinity
    const behind = topicEnd + (qos ? 2 : 0)
    if (behind > end) throw malformed("the Topic Name of a PUBLISH reaches past its end")
    if (qos && !buf[topicEnd] && !buf[topicEnd + 1]) throw malformed("PUBLISH with Packet Identifier 0 [MQTT-2.2.1-2]")
    if (v5 && behind >= end) throw malformed("PUBLISH without a property length")
    const expires = v5 && buf[behind] !== 0 ? this.checkProperties(behind, end) : false
    if (v5 && topicEnd === topicAt) throw protocolError("an empty Topic Name needs a Topic Alias")
    // a run has no gap: an acknowledgement may lie between two messages
    const goesOn = run.n > 0 && run.n < LONGEST_RUN && start === run.end && header === this.header && this.sameTopic(topicAt, topicEnd)
    if (!goesOn) this.turn(start, topicAt, topicEnd)
    this.header = header
    this.topicAt = topicAt
    this.topicEnd = topicEnd
    run.add(topicEnd, end, v5)
    run.traits |=
      (v5 ? Trait.V5 : Trait.V3) | (expires ? Trait.EXPIRY : 0) | (header & RETAIN ? Trait.RETAIN : 0) | (qos === 2 ? Trait.QOS2 : 0)
  }

  /** Ends the run at hand: before another packet is treated, and at the end of the buffer. */
  flush(): void {
    const { run, match } = this
    if (!run.n || !match) return
    const isLong = match.to.width > WIDE || ++this.runs % MANY_RUNS === 0
    if (isLong) {
      this.isLong = true
      this.turns.begin()
    }
    try {
      this.taker(run, qosOf(this.header), match)
    } finally {
      run.restart(run.buf, 0)
      if (isLong) this.isTurnOver = this.turns.isOver
    }
  }

  private turn(start: number, topicAt: number, topicEnd: number): void {
    const { run } = this
    this.flush()
    run.restart(run.buf, start)
    this.match = this.router.lookup(run.buf, topicAt, topicEnd)
  }

  private sameTopic(from: number, to: number): boolean {
    const shift = from - this.topicAt
    if (to - this.topicEnd !== shift) return false
    const { buf } = this.run
    for (let i = from; i < to; i++) if (buf[i] !== buf[i - shift]) return false
    return true
  }

  /** True when the message expires. */
  private checkProperties(at: number, end: number): boolean {
    const { facts } = readProperties(this.run.buf, at, end, "PUBLISH")
    if (facts?.topicAlias !== undefined) throw new PacketError(Reason.TOPIC_ALIAS_INVALID, "Topic Alias Maximum is 0")
    return facts?.messageExpirySeconds !== undefined
  }
}
