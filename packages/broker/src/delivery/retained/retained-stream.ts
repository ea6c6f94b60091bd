import { setTimeout as after } from "node:timers/promises"
import { type QoS, qosOf } from "../../wire/packet-types.js"
import { type Frames, Trait } from "../../wire/frames.js"
import { convert, topicOf } from "../../wire/publish.js"
import { messageOf } from "@mqtt-trio/common"
import { Reason } from "../../wire/reason-codes.js"
import type { RetainedMessage } from "./retained.js"
import type { BrokerTime } from "../broker-time.js"
import { RESTING } from "../routing/topic-walk.js"
import { Variants } from "../variants.js"
import type { Delivery } from "../delivery.js"
import { type Session, UNSENT_BYTES } from "../sessions/session.js"

/** How long to wait for room, in ms: doubled each time in vain. */
const SHORTEST_PAUSE_MS = 5
const LONGEST_PAUSE_MS = 1000
/** After so many retained messages others may have their turn. */
const STEP = 25

/** What one Topic Filter of a SUBSCRIBE asks for. */
export interface Wanted {
  filter: string
  /** granted */
  qos: QoS
  /** Retained.sequence when the Subscription began: it delivers what is newer */
  upTo: number
}

/** Turns of the event loop, in which many do something that takes long. */
export interface SharedTurns {
  /** It is the caller's turn where this is undefined, else when it resolves. */
  share(): Promise<void> | undefined
}

/**
 * Sends retained messages because of SUBSCRIBE (MQTT 5.0 section 3.3.1.3), one Topic Filter after the other, no faster
 * than the client and the store take them. What is published meanwhile reaches the Session by its Subscription: it is
 * not sent here too, and nothing older is sent behind it.
 */
export class RetainedStream {
  private readonly requests = new Map<string, Wanted & { answered: Promise<void> }>()
  private running = false
  private readonly variants = new Variants()

  constructor(
    private readonly session: Session,
    private readonly delivery: Pick<Delivery, "commits" | "retained">,
    private readonly turns: SharedTurns,
  ) {}

  /**
   * Puts what a Topic Filter matches now, and a persistent Session gets at QoS 1 or 2, into its private log: durable with
   * the SUBACK that is sent when this resolves.
   */
  async store({ filter, qos, upTo }: Wanted): Promise<void> {
    let done = 0
    for (const message of this.delivery.retained.match(filter)) {
      const turn = message === RESTING || done++ % STEP === 0 ? this.turns.share() : undefined
      if (turn) await turn // oxlint-disable-line no-await-in-loop -- others have theirs
      // oxlint-disable-next-line no-await-in-loop -- in steps that the store takes
      if (this.delivery.commits.full) await this.room(() => !this.delivery.commits.full)
      if (this.ended) return
      if (message === RESTING) continue
      if (this.delivery.commits.lacksRoom(message.bytes))
        return this.session.outlet?.refuse(Reason.QUOTA_EXCEEDED, "the store has no room for the retained messages that it subscribed to")
      const effective = capped(message, qos)
      if (effective && this.prepare(message, filter, upTo)) this.deliver(effective)
    }
  }

  /** Asks for the rest of what a Topic Filter matches now: what needs no store. It is sent behind the SUBACK, when `answered`. */
  request(wanted: Wanted, answered: Promise<void>): void {
    this.requests.set(wanted.filter, { ...wanted, answered })
    if (this.running) return
    this.running = true
    void this.run().catch((error: unknown) =>
      this.session.outlet?.refuse(Reason.UNSPECIFIED_ERROR, `retained messages: ${messageOf(error)}`),
    )
  }

  /** The Subscription ended: what was asked for under its Topic Filter is not wanted any more. */
  forget(filter: string): void {
    this.requests.delete(filter)
  }

  private async run(): Promise<void> {
    for (const [filter, { qos, upTo, answered }] of this.requests) {
      this.requests.delete(filter)
      // oxlint-disable-next-line no-await-in-loop -- one after the other, as there is room
      await answered
      let done = 0
      for (const message of this.delivery.retained.match(filter)) {
        const turn = message === RESTING || done++ % STEP === 0 ? this.turns.share() : undefined
        if (turn) await turn // oxlint-disable-line no-await-in-loop -- others have theirs
        // oxlint-disable-next-line no-await-in-loop
        if (this.crowded) await this.room(() => !this.crowded)
        if (this.ended) return
        if (message === RESTING) continue
        const effective = capped(message, qos)
        if ((!effective || !this.session.persistent) && this.prepare(message, filter, upTo)) this.deliver(effective)
      }
    }
    this.running = false
  }

  /** False when it must not be sent: the Subscription delivered something newer, or it is gone. */
  private prepare(message: RetainedMessage, filter: string, upTo: number): boolean {
    const { session } = this
    if (message.replaced || message.sequence > upTo || !session.subscriptions.has(filter)) return false
    if (session.permissions?.mayRead(topicOf(message.frames, 0)) === false) return false
    this.variants.of(upToDate(message.frames, this.delivery.commits.time), message.qos, 1)
    return true
  }

  private deliver(qos: QoS): void {
    const { session, variants } = this
    const v5 = session.outlet?.v5 ?? true
    if (qos === 0) session.sendAtOnce(variants.get(v5, 0), variants)
    else session.offer(variants.get(v5, qos), undefined, variants)
  }

  /** Resolves when there is room, or nothing left to send to. */
  private async room(isThere: () => boolean): Promise<void> {
    for (let ms = SHORTEST_PAUSE_MS; !isThere() && !this.ended; ms = Math.min(ms * 2, LONGEST_PAUSE_MS)) {
      // oxlint-disable-next-line no-await-in-loop -- waiting is the point
      await after(ms)
    }
  }

  private get ended(): boolean {
    return this.session.gone || !this.session.outlet
  }

  private get crowded(): boolean {
    const { session } = this
    return (session.outlet?.unsent ?? 0) > UNSENT_BYTES || this.delivery.commits.full || session.behind
  }
}

function capped(message: RetainedMessage, qos: QoS): QoS {
  return message.qos < qos ? message.qos : qos
}

/** What expires, with the seconds it has left. */
function upToDate(frames: Frames, time: BrokerTime): Frames {
  if (!(frames.traits & Trait.EXPIRY)) return frames
  return convert(frames, true, qosOf(frames.headerOf(0)), time.secondsSince(frames.createdAt))
}
