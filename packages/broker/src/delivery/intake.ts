import type { Frames } from "../wire/frames.js"
import { Trait } from "../wire/frames.js"
import type { QoS } from "../wire/packet-types.js"
import type { Place } from "../accounting/tally.js"
import type { Block, Spread } from "./logs/block.js"
import type { Batch, GroupCommit } from "./logs/group-commit.js"
import type { Outlet } from "./outlet.js"
import type { Retained } from "./retained/retained.js"
import type { Match, Receiver, Receivers } from "./routing/router.js"
import { Variants } from "./variants.js"
import type { Session } from "./sessions/session.js"

/** Who publishes; a Will has neither Session nor outlet. */
export interface Origin {
  /** where the publisher is: what is kept of its messages counts for it */
  readonly place: Place
  readonly session: Session | undefined
  readonly outlet: Outlet | undefined
}

/** A run that would be copied into more bytes than this, over all blocks that gather, begins one for all of its logs. */
const MOST_COPIED_BYTES = 65_536
/** Where their logs are in more blocks nothing is remembered. */
const MOST_BLOCKS = 16

/** Where a message enters: it is given to the Sessions that need no store, and to the logs of those that do. */
export class Intake {
  private readonly variants = new Variants()
  /** the blocks that got the last run for these receivers, which are those of all their logs */
  private readonly spread = new Map<Receivers, readonly Block[]>()
  /** in which they gather */
  private batch: Batch | undefined = undefined

  constructor(
    private readonly commits: GroupCommit,
    private readonly retained: Retained,
  ) {}

  /**
   * Takes a run of PUBLISH packets with one topic, QoS, RETAIN and version, whose frames must not change any more.
   * True: the store gathers something of it, and the acknowledgement must wait for the commit.
   */
  accept(run: Frames, qos: QoS, { to }: Match, publisher: Origin): boolean {
    this.variants.of(run, qos, to.width)
    const own = publisher.session
    let stored = (run.traits & Trait.RETAIN) !== 0 && this.retained.update(run, publisher.place)
    this.atOnce(to.atOnce, own, run)
    if (qos === 0) {
      this.atOnce(to.clean, own, run)
      this.atOnce(to.queued, own, run)
      return stored
    }
    for (const receiver of to.clean) this.offer(receiver, publisher, run)
    for (const { session } of to.ownAtOnce) if (session === own) session.sendAtOnce(run, this.variants)
    return this.store(to, own, run) || stored
  }

  /** Whether the store grows by it. */
  needsRoom(run: Frames, qos: QoS, { to }: Match): boolean {
    return (qos > 0 && to.logs.length > 0) || ((run.traits & Trait.RETAIN) !== 0 && this.retained.keeps(run))
  }

  /** True when a log got it. */
  private store(to: Receivers, own: Session | undefined, run: Frames): boolean {
    const { commits } = this
    const position = commits.next
    if (this.goesOn(to, run)) return true
    const spread = to.logs.length > 1 ? this.announced(to, own, run) : undefined
    let isWhole = true
    for (const { log, except } of to.logs) {
      if (except !== undefined) isWhole = false
      if (except !== undefined && except === own) continue
      if (position === commits.next) commits.take(run.n)
      log.append(run, position, spread)
    }
    if (spread && isWhole && spread.blocks.length <= MOST_BLOCKS) this.spread.set(to, spread.blocks)
    return position !== commits.next
  }

  /** Whether the blocks that got the last run for them take another one: then none of thousands of logs is looked at. */
  private goesOn(to: Receivers, run: Frames): boolean {
    const { commits } = this
    if (this.batch !== commits.gathering) {
      this.batch = commits.gathering
      this.spread.clear()
    }
    const blocks = this.spread.get(to)
    if (!blocks || blocks.length * run.bytes > MOST_COPIED_BYTES || !blocks.every((block) => block.takes(run))) return false
    const position = commits.take(run.n)
    for (const block of blocks) block.append(run, position)
    return true
  }

  /** Says to all logs that they get the run. */
  private announced({ logs }: Receivers, own: Session | undefined, run: Frames): Spread {
    const position = this.commits.next
    let blocks = 0
    for (const { log, except } of logs) if ((except === undefined || except !== own) && log.announce(position)) blocks++
    return { together: blocks > 1 && blocks * run.bytes > MOST_COPIED_BYTES, begun: undefined, blocks: [] }
  }

  private offer(receiver: Receiver, publisher: Origin, run: Frames): void {
    const { session } = receiver
    const granted = session === publisher.session ? receiver.qosOfOwn : receiver.qos
    if (granted === undefined) return
    if (granted === 0) session.sendAtOnce(run, this.variants)
    else session.offer(this.variants.get(session.outlet?.v5 ?? run.isV5(0), granted), publisher.outlet, this.variants)
  }

  private atOnce(receivers: Receiver[], own: Session | undefined, run: Frames): void {
    for (const { session, qosOfOwn } of receivers) if (session !== own || qosOfOwn !== undefined) session.sendAtOnce(run, this.variants)
  }
}
