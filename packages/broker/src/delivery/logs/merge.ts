import type { Maybe } from "../../stores/store.js"
import type { Frames } from "../../wire/frames.js"
import type { Log } from "./log.js"
import type { Reader } from "./reader.js"

interface Place {
  readonly log: Log
  readonly until: number
  at: number
  chunk: Frames | undefined
  i: number
}

/** The durable messages of several holds, each once, in order, without touching their readers. */
export class Merge {
  /** the message at hand, after next(): its position, and where it lies */
  position = -1
  chunk: Frames | undefined = undefined
  i = 0
  /** chunks that were looked up so far */
  chunks = 0
  private readonly places: Place[]

  constructor(readers: readonly Reader[], from: number) {
    this.places = readers.map(({ log, since, until }) => ({ log, until, at: Math.max(from, since), chunk: undefined, i: 0 }))
  }

  /** Goes to the next message; false: there is none. A promise when the store has to be asked. */
  next(): Maybe<boolean> {
    let best: Place | undefined = undefined
    let position = Infinity
    for (const place of this.places) {
      if (place.at <= this.position) place.at = this.position + 1
      if (place.at > place.log.last) place.chunk = undefined
      else if (!place.chunk || place.at > place.chunk.last) {
        const found = place.log.find(place.at)
        this.chunks++
        if (found instanceof Promise)
          return found.then((chunk) => {
            arrive(place, chunk)
            return this.next()
          })
        arrive(place, found)
      }
      const at = positionAt(place)
      if (at >= position) continue
      position = at
      best = place
    }
    if (!best) return false
    this.position = position
    this.chunk = best.chunk
    this.i = best.i
    return true
  }
}

function arrive(place: Place, chunk: Frames | undefined): void {
  place.chunk = chunk
  if (!chunk) place.at = Infinity
}

function positionAt(place: Place): number {
  const { chunk } = place
  if (!chunk) return Infinity
  place.i = chunk.find(place.at)
  const position = chunk.positionOf(place.i)
  return position < place.until ? position : Infinity
}
