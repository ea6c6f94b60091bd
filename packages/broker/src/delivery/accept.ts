import type { Frames } from "../wire/frames.js"
import { Trait } from "../wire/frames.js"
import type { QoS } from "../wire/packet-types.js"
import { convert } from "../wire/publish.js"
import { CleanSession } from "./clean-session.js"
import type { GroupCommit } from "./group-commit.js"
import type { Outlet } from "./outlet.js"
import type { Retained } from "./retained.js"
import type { Match, Target } from "./router.js"
import type { Session } from "./session.js"

/** Who publishes; a Will has neither. */
export interface Publisher {
  readonly session: Session | null
  readonly outlet: Outlet | null
}

/** Where a message enters: it is given to the Sessions that need no store, and to the logs of those that do. */
export class Accept {
  private readonly variants = new Variants()

  constructor(
    private readonly commits: GroupCommit,
    private readonly retained: Retained,
  ) {}

  /**
   * Takes a run of PUBLISH packets with one topic, QoS, RETAIN and version, whose frames must not change any more.
   * True: the store gathers something of it, and the acknowledgement must wait for the commit.
   */
  accept(run: Frames, qos: QoS, match: Match, publisher: Publisher): boolean {
    this.variants.of(run, qos)
    const own = publisher.session
    let stored = (run.traits & Trait.RETAIN) !== 0 && this.retained.update(run)
    this.atOnce(match.atOnce, own, run)
    if (qos === 0) {
      this.atOnce(match.clean, own, run)
      this.atOnce(match.queued, own, run)
      return stored
    }
    for (const target of match.clean) this.offer(target, publisher, run)
    for (const { session } of match.ownAtOnce) if (session === own) session.sendAtOnce(run, this.variants)
    let position = -1
    for (const { log, except } of match.logs) {
      if (except !== null && except === own) continue
      if (position < 0) position = this.commits.take(run.n)
      log.append(run, position)
      stored = true
    }
    return stored
  }

  private offer(target: Target, publisher: Publisher, run: Frames): void {
    const { session } = target
    const granted = session === publisher.session ? target.qosOfOwn : target.qos
    if (granted === null || !(session instanceof CleanSession)) return
    if (granted === 0) session.sendAtOnce(run, this.variants)
    else session.offer(this.variants.get(session.outlet?.v5 ?? run.isV5(0), granted), publisher.outlet)
  }

  private atOnce(targets: Target[], own: Session | null, run: Frames): void {
    for (const target of targets) if (target.session !== own || target.qosOfOwn !== null) target.session.sendAtOnce(run, this.variants)
  }
}

/** A run in the encodings that its receivers want; each is made once. */
export class Variants {
  private run: Frames | null = null
  private qos: QoS = 0
  private readonly made: (Frames | null)[] = [null, null, null, null, null, null]

  of(run: Frames, qos: QoS): void {
    this.run = run
    this.qos = qos
    this.made.fill(null)
  }

  /** For a receiver of this version with this granted QoS. */
  get(v5: boolean, granted: QoS): Frames {
    const { run } = this
    if (!run) throw new Error("no run is being accepted")
    const qos = granted < this.qos ? granted : this.qos
    if (qos === this.qos && v5 === run.isV5(0)) return run
    const key = (v5 ? 3 : 0) + qos
    return (this.made[key] ??= convert(run, v5, qos))
  }
}
