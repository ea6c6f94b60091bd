import type { Frames } from "../wire/frames.js"
import { Trait } from "../wire/frames.js"
import type { QoS } from "../wire/packet-types.js"
import type { Block } from "./logs/block.js"
import type { GroupCommit } from "./logs/group-commit.js"
import type { Outlet } from "./outlet.js"
import type { Retained } from "./retained/retained.js"
import type { Match, Receiver } from "./routing/router.js"
import { Variants } from "./variants.js"
import type { Session } from "./sessions/session.js"

/** Who publishes; a Will has neither. */
export interface Origin {
  readonly session: Session | undefined
  readonly outlet: Outlet | undefined
}

/** Where a message enters: it is given to the Sessions that need no store, and to the logs of those that do. */
export class Intake {
  private readonly variants = new Variants()

  constructor(
    private readonly commits: GroupCommit,
    private readonly retained: Retained,
  ) {}

  /**
   * Takes a run of PUBLISH packets with one topic, QoS, RETAIN and version, whose frames must not change any more.
   * True: the store gathers something of it, and the acknowledgement must wait for the commit.
   */
  accept(run: Frames, qos: QoS, match: Match, publisher: Origin): boolean {
    this.variants.of(run, qos)
    const own = publisher.session
    let stored = (run.traits & Trait.RETAIN) !== 0 && this.retained.update(run)
    this.atOnce(match.atOnce, own, run)
    if (qos === 0) {
      this.atOnce(match.clean, own, run)
      this.atOnce(match.queued, own, run)
      return stored
    }
    for (const receiver of match.clean) this.offer(receiver, publisher, run)
    for (const { session } of match.ownAtOnce) if (session === own) session.sendAtOnce(run, this.variants)
    return this.store(match, own, run) || stored
  }

  /** Whether the store grows by it. */
  needsRoom(run: Frames, qos: QoS, match: Match): boolean {
    return (qos > 0 && match.logs.length > 0) || ((run.traits & Trait.RETAIN) !== 0 && this.retained.keeps(run))
  }

  /** True when a log got it. */
  private store({ logs }: Match, own: Session | undefined, run: Frames): boolean {
    const position = this.commits.next
    if (logs.length > 1) for (const { log, except } of logs) if (except === undefined || except !== own) log.announce(position)
    let begun: Block | undefined = undefined
    for (const { log, except } of logs) {
      if (except !== undefined && except === own) continue
      if (position === this.commits.next) this.commits.take(run.n)
      begun = log.append(run, position, begun)
    }
    return position !== this.commits.next
  }

  private offer(receiver: Receiver, publisher: Origin, run: Frames): void {
    const { session } = receiver
    const granted = session === publisher.session ? receiver.qosOfOwn : receiver.qos
    if (granted === undefined) return
    if (granted === 0) session.sendAtOnce(run, this.variants)
    else session.offer(this.variants.get(session.outlet?.v5 ?? run.isV5(0), granted), publisher.outlet)
  }

  private atOnce(receivers: Receiver[], own: Session | undefined, run: Frames): void {
    for (const { session, qosOfOwn } of receivers) if (session !== own || qosOfOwn !== undefined) session.sendAtOnce(run, this.variants)
  }
}
