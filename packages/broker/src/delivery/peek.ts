import { isUtf8 } from "node:buffer"
import { type QoS, qosOf } from "../wire/packet-types.js"
import { expirySecondsOf, payloadOf, topicOf } from "../wire/publish.js"
import { Merge } from "./merge.js"
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

/** What will be sent to a Session, or sent again, in order, without touching its own readers. Each step may read the store. */
export function* peek(session: PersistentSession): Generator<Peeked> {
  const merge = new Merge(session.readers, session.cursor)
  while (merge.next()) {
    const { position, chunk, i } = merge
    if (!chunk || !session.comes(position, chunk, i)) continue
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
  }
}
