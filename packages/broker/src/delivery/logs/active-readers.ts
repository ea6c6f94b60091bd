import type { QoS } from "../../wire/packet-types.js"
import { type Reader, WAITING } from "./reader.js"

/** The readers of one Session that may have something, merged by position. */
export class ActiveReaders {
  /** of the last select(): the reader with the next message, and where that is */
  best: Reader | undefined = undefined
  position = Infinity
  /** position of the next message of another reader */
  limit = Infinity
  /** the highest granted QoS of the readers that are at `position` */
  qos: QoS = 0
  /** the last select() found nothing because a reader waits for the store */
  waiting = false
  private readonly active: Reader[] = []

  get count(): number {
    return this.active.length
  }

  add(reader: Reader): void {
    if (reader.active) return
    reader.active = true
    this.active.push(reader)
  }

  remove(reader: Reader): void {
    if (reader.active) this.active.splice(this.active.indexOf(reader), 1)
    reader.active = false
  }

  /** Finds the next durable message; readers that have none now are no longer active. False: there is none, or it is not known yet. */
  select(): boolean {
    const { active } = this
    let best: Reader | undefined = undefined
    let position = Infinity
    let limit = Infinity
    let qos: QoS = 0
    this.waiting = false
    for (let r = 0; r < active.length; r++) {
      const reader = active[r]
      if (!reader) break
      const at = reader.peek()
      if (at === WAITING) this.waiting = true
      else if (at < 0) {
        reader.active = false
        active[r--] = active.at(-1) ?? reader
        active.pop()
      } else if (at < position) {
        limit = position
        position = at
        best = reader
        qos = reader.qos
      } else {
        if (at < limit) limit = at
        if (at === position && reader.qos > qos) qos = reader.qos
      }
    }
    this.best = best
    this.position = position
    this.limit = limit
    this.qos = qos
    return best !== undefined && !this.waiting
  }

  /** The same message in several logs is one delivery: every reader goes past `position`. */
  skip(position: number): void {
    for (const reader of this.active) {
      const { chunk } = reader
      if (chunk && reader.i < chunk.n && chunk.positionOf(reader.i) === position) reader.i++
    }
  }
}
