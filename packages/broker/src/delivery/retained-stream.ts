import type { QoS } from "../wire/packet-types.js"
import { type Frames, Trait } from "../wire/frames.js"
import { convert } from "../wire/publish.js"
import { messageOf } from "@mqtt-trio/common"
import { Reason } from "../wire/reason-codes.js"
import { Variants } from "./accept.js"
import { CleanSession } from "./clean-session.js"
import type { Delivery } from "./delivery.js"
import { PersistentSession } from "./persistent-session.js"
import { type Session, UNSENT } from "./session.js"

/** How long to wait for room, in ms. */
const PAUSE_MS = 5

/**
 * Sends retained messages because of SUBSCRIBE (MQTT 5.0 section 3.3.1.3), one Topic Filter after the other, no faster
 * than the client and the store take them. What is published meanwhile reaches the Session by its Subscription: it is
 * not sent here too, and nothing older is sent behind it.
 */
export class RetainedStream {
  private readonly requests = new Map<string, { qos: QoS; upTo: number; answered: Promise<void> }>()
  private running = false
  private readonly variants = new Variants()

  constructor(
    private readonly session: Session,
    private readonly delivery: Delivery,
  ) {}

  /**
   * Asks for what a Topic Filter matches now, at most at `qos`. What a persistent Session gets at QoS 1 and 2 gathers for
   * the commit of its SUBACK, as far as there is room; what needs no store is sent behind the SUBACK, when `answered`.
   */
  request(filter: string, qos: QoS, answered: Promise<void>): void {
    this.requests.set(filter, { qos, upTo: this.delivery.retained.sequence, answered })
    if (this.running) return
    this.running = true
    void this.run().catch((error: unknown) =>
      this.session.outlet?.refuse(Reason.UNSPECIFIED_ERROR, `retained messages: ${messageOf(error)}`),
    )
  }

  private async run(): Promise<void> {
    for (const [filter, { qos, upTo, answered }] of this.requests) {
      this.requests.delete(filter)
      for (const message of this.delivery.retained.match(filter)) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other, as there is room
        while (this.crowded && !this.ended) await pause()
        if (this.ended) return
        const published = (message.frames.headerOf(0) >> 1) & 3
        const effective = published < qos ? published : qos
        // oxlint-disable-next-line no-await-in-loop
        if (effective === 0 || !this.session.persistent) await answered
        if (message.replaced || message.sequence > upTo) continue
        this.variants.of(upToDate(message.frames), published === 2 ? 2 : published === 1 ? 1 : 0)
        this.deliver(effective)
      }
    }
    this.running = false
  }

  private deliver(qos: number): void {
    const { session, variants } = this
    const v5 = session.outlet?.v5 ?? true
    if (qos === 0) session.sendAtOnce(variants.get(v5, 0), variants)
    else if (session instanceof CleanSession) session.offer(variants.get(v5, qos === 2 ? 2 : 1), null)
    else if (session instanceof PersistentSession) {
      const log = this.delivery.sessions.privateLog(session)
      log.append(variants.get(v5, qos === 2 ? 2 : 1), this.delivery.commits.take(1))
    }
  }

  private get ended(): boolean {
    return this.session.gone || !this.session.outlet
  }

  private get crowded(): boolean {
    const { session } = this
    return (session.outlet?.unsent ?? 0) > UNSENT || this.delivery.commits.full || (session instanceof CleanSession && session.behind)
  }
}

/** What expires, with the seconds it has left. */
function upToDate(frames: Frames): Frames {
  if (!(frames.traits & Trait.EXPIRY)) return frames
  const qos = (frames.headerOf(0) >> 1) & 3
  return convert(frames, true, qos === 2 ? 2 : qos === 1 ? 1 : 0, Math.floor((Date.now() - frames.createdAt) / 1000))
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, PAUSE_MS)
  })
}
