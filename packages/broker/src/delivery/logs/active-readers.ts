import type { QoS } from "../../wire/packet-types.js"
import { type Reader, WAITING } from "./reader.js"

/** For so many readers the store is asked at a time: a Session with thousands must not stop the others. */
const MOST_ASKED = 128

/** The readers of one Session that may have something, merged by position. */
export class ActiveReaders {
  /** of the last select(): the reader with the next message, and where that is */
  best: Reader | undefined = undefined
  position = Infinity
  /** below it only `best` has messages, and those that are in the same block as far as it */
  limit = Infinity
  /** the highest granted QoS of the readers that are at `position` */
  qos: QoS = 0
  /** the last select() found nothing because a reader waits for the store */
  waiting = false
  private readonly active: Reader[] = []
  /** of the last select(): another reader is in the block of `best`, as far as it */
  private hasTwins = false
  /** the last one that select() asked the store for */
  private asked: Reader | undefined = undefined

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
    // until it is there nothing is known, whatever came for others
    this.waiting = this.asked?.active === true && this.asked.waits
    if (this.waiting) return false
    const { active } = this
    let best: Reader | undefined = undefined
    let position = Infinity
    let limit = Infinity
    let qos: QoS = 0
    let asked = 0
    this.hasTwins = false
    for (let r = 0; r < active.length; r++) {
      const reader = active[r]
      if (!reader) break
      const at = reader.peek()
      if (at === WAITING) {
        this.asked = reader
        if (++asked === MOST_ASKED) break
      } else if (at < 0) {
        reader.active = false
        active[r--] = active.at(-1) ?? reader
        active.pop()
      } else if (at < position) {
        limit = position
        position = at
        best = reader
        qos = reader.qos
      } else {
        const isTwin = at === position && reader.chunk?.buf === best?.chunk?.buf
        const end = isTwin ? reader.until : at
        if (isTwin) this.hasTwins = true
        if (end < limit) limit = end
        if (at === position && reader.qos > qos) qos = reader.qos
      }
    }
    this.waiting = this.asked?.active === true && this.asked.waits
    this.best = best
    this.position = position
    this.limit = limit
    this.qos = qos
    return best !== undefined && !this.waiting
  }

  /** Messages up to `end` of the best one's block are done; what several logs share is passed in all of them. */
  pass(end: number): void {
    const { best } = this
    if (!best) return
    const { chunk, i } = best
    best.i = end
    if (!this.hasTwins) return
    for (const reader of this.active) if (reader.i === i && reader.chunk?.buf === chunk?.buf) reader.i = end
  }

  /** The same message in several logs is one delivery: every reader goes past `position`. */
  skip(position: number): void {
    for (const reader of this.active) {
      const { chunk } = reader
      if (chunk && reader.i < chunk.n && chunk.positionOf(reader.i) === position) reader.i++
    }
  }
}
