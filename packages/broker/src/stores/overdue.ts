import { BrokerError } from "../errors.js"
import { transactions } from "./environment.js"
import { rule } from "./folding.js"

const LOOK_MS = 1000
/** From when on somebody is told of a fold that does not go on, in ms; again each time it has taken twice as long. */
const SLOW_MS = 5000
/** What a commit waits for and does not go on for so long never does, in ms. */
const STUCK_MS = rule("MQTT_BROKER_TEST_STUCK_MS", 40_000)
/** The same of a fold that no commit waits for yet, in ms. */
const IDLE_STUCK_MS = rule("MQTT_BROKER_TEST_IDLE_STUCK_MS", 300_000)

export interface OverdueEvents {
  /** told when a fold does not go on, and since when, in ms */
  slowFold?(ms: number): void
  /** told when one that was slow goes on */
  foldGoesOn?(ms: number): void
  /** told, once, when what is under way never ends: so must the process */
  stuck?(error: BrokerError): void
}

/** What is under way; since when, by the monotonic clock in ms. */
export interface UnderWay {
  /** the commit that is not answered, undefined: there is none */
  readonly commitSince: number | undefined
  readonly foldSince: number | undefined
}

/** Looks each second whether a store goes on with what it does. A disk may hang, and then nobody is told of anything. */
export class Overdue {
  private readonly timer: NodeJS.Timeout
  private ended = transactions.ended
  private wentOnAt = 0
  private nextTold = SLOW_MS

  constructor(
    private readonly folder: string,
    private readonly work: () => UnderWay,
    private readonly events: OverdueEvents,
  ) {
    this.timer = setInterval(() => this.look(performance.now()), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private look(now: number): void {
    const { commitSince = now, foldSince } = this.work()
    if (transactions.ended !== this.ended) this.wentOnAt = now
    this.ended = transactions.ended
    const folds = foldSince === undefined ? 0 : now - Math.max(foldSince, this.wentOnAt)
    this.tell(folds)
    const waits = now - commitSince
    const stuck = foldSince === undefined ? waits > STUCK_MS : folds > IDLE_STUCK_MS || (waits > STUCK_MS && folds > STUCK_MS)
    if (!stuck) return
    this.stop()
    this.events.stuck?.(neverEnds(this.folder, Math.max(waits, folds)))
  }

  private tell(ms: number): void {
    if (ms > this.nextTold) {
      this.nextTold *= 2
      this.events.slowFold?.(ms)
    } else if (ms < SLOW_MS && this.nextTold > SLOW_MS) {
      this.nextTold = SLOW_MS
      this.events.foldGoesOn?.(ms)
    }
  }
}

function neverEnds(folder: string, ms: number): BrokerError {
  return new BrokerError(
    "store-unusable",
    `the store in ${JSON.stringify(folder)} cannot be used: its disk has not answered for ${Math.round(ms / 1000)} s`,
    { hint: "look what is wrong with the disk, then start the broker again: what was acknowledged is in the store" },
  )
}
