import type { Frames } from "../wire/frames.js"
import { convert } from "../wire/publish.js"
import type { QoS } from "../wire/packet-types.js"
import { CleanSession } from "./clean-session.js"
import type { GroupCommit } from "./group-commit.js"
import type { Outlet } from "./outlet.js"
import type { Match, Target } from "./router.js"
import type { Session } from "./session.js"

/** Who publishes. */
export interface Publisher {
  readonly session: Session | null
  readonly outlet: Outlet
}

/** Where a message enters: it is given to the Sessions that need no store, and to the logs of those that do. */
export class Accept {
  private readonly variants = new Variants()

  constructor(private readonly commits: GroupCommit) {}

  /**
   * Takes a run of PUBLISH packets with one topic, QoS and version, whose frames must not change any more.
   * True: logs gather it, and the acknowledgement must wait for the commit.
   */
  accept(run: Frames, qos: QoS, match: Match, publisher: Publisher): boolean {
    this.variants.of(run, qos)
    const own = publisher.session
    this.atOnce(match.atOnce, own, run)
    if (qos === 0) {
      this.atOnce(match.clean, own, run)
      this.atOnce(match.queued, own, run)
      return false
    }
    for (const { session, qosOfOwn } of match.clean) {
      if (session === own && !qosOfOwn) {
        if (qosOfOwn === 0) session.sendAtOnce(run, this.variants)
      } else if (session instanceof CleanSession) session.offer(this.variants.get(session.outlet?.v5 ?? run.isV5(0), 1), publisher.outlet)
    }
    let position = -1
    for (const { log, except } of match.logs) {
      if (except !== null && except === own) continue
      if (position < 0) position = this.commits.take(run.n)
      log.append(run, position)
    }
    return position >= 0
  }

  private atOnce(targets: Target[], own: Session | null, run: Frames): void {
    for (const target of targets) if (target.session !== own || target.qosOfOwn !== null) target.session.sendAtOnce(run, this.variants)
  }
}

/** A run in the encodings that its receivers want; each is made once. */
export class Variants {
  private run!: Frames
  private qos: QoS = 0
  private readonly made: (Frames | null)[] = [null, null, null, null]

  of(run: Frames, qos: QoS): void {
    this.run = run
    this.qos = qos
    this.made.fill(null)
  }

  get(v5: boolean, qos: QoS): Frames {
    if (qos === this.qos && v5 === this.run.isV5(0)) return this.run
    const key = (v5 ? 2 : 0) + (qos ? 1 : 0)
    return (this.made[key] ??= convert(this.run, v5, qos))
  }
}
