import type { Frames } from "../wire/frames.js"
import type { QoS } from "../wire/packet-types.js"
import { convert } from "../wire/publish.js"

/** A run in the encodings that its receivers want; each is made once. */
export class Variants {
  private run: Frames | undefined = undefined
  private copy: Frames | undefined = undefined
  private qos: QoS = 0
  private readonly made: (Frames | undefined)[] = [undefined, undefined, undefined, undefined, undefined, undefined]

  /** @param receivers how many there are */
  of(run: Frames, qos: QoS, receivers: number): void {
    this.run = run
    this.copy = undefined
    run.receivers = receivers
    this.qos = qos
    this.made.fill(undefined)
  }

  /** For a receiver of this version with this granted QoS. */
  get(v5: boolean, granted: QoS): Frames {
    const { run } = this
    if (!run) throw new Error("no run is being accepted")
    const qos = granted < this.qos ? granted : this.qos
    if (qos === this.qos && v5 === run.isV5(0)) return run
    const key = (v5 ? 3 : 0) + qos
    return (this.made[key] ??= Object.assign(convert(run, v5, qos), { receivers: run.receivers }))
  }

  /** What get() gave, to be kept from `now` on: it does not change any more, and all that keep it share it. */
  keep(given: Frames, now: number): Frames {
    if (given !== this.run) {
      given.createdAt ||= now
      return given
    }
    this.copy ??= Object.assign(given.slice(0, given.n), { receivers: given.receivers, createdAt: now })
    return this.copy
  }
}
