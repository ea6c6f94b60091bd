import { isUtf8 } from "node:buffer"
import type { Frames } from "../wire/frames.js"
import { type QoS, qosOf } from "../wire/packet-types.js"
import { expirySecondsOf, payloadOf, topicOf } from "../wire/publish.js"
import type { Log } from "./log.js"
import type { PersistentSession } from "./persistent-session.js"

/** A waiting message, decoded. */
export interface Peeked {
  position: number
  topic: string
  qos: QoS
  acceptedAt: number
  expirySeconds: number
  payload: Buffer
  isText: boolean
}

interface Place {
  readonly log: Log
  at: number
  until: number
  chunk: Frames | null
  i: number
}

/** What waits for a Session or is in flight to it, in order, without touching its own readers. Each step may read the store. */
export function* peek(session: PersistentSession): Generator<Peeked> {
  const places: Place[] = session.readers.map(({ log, need, until }) => ({ log, at: need, until, chunk: null, i: 0 }))
  for (;;) {
    let best: Place | null = null
    let position = Infinity
    for (const place of places) {
      const next = positionAt(place)
      if (next < position) {
        position = next
        best = place
      }
    }
    if (!best?.chunk) return
    const { chunk, i } = best
    const payload = payloadOf(chunk, i)
    yield {
      position,
      topic: topicOf(chunk, i),
      qos: qosOf(chunk.headerOf(i)),
      acceptedAt: chunk.createdAt,
      expirySeconds: expirySecondsOf(chunk, i),
      payload,
      isText: isUtf8(payload),
    }
    for (const place of places) if (positionAt(place) === position) place.at = position + 1
  }
}

function positionAt(place: Place): number {
  const { chunk } = place
  if (!chunk || place.at > chunk.last) place.chunk = place.log.find(place.at)
  if (!place.chunk) return Infinity
  place.i = place.chunk.find(place.at)
  const position = place.chunk.positionOf(place.i)
  return position < place.until ? position : Infinity
}
