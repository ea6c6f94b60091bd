import { isUtf8 } from "node:buffer"
import { type QoS, qosOf } from "../../wire/packet-types.js"
import { expirySecondsOf, payloadOf, topicOf } from "../../wire/publish.js"
import type { Frames } from "../../wire/frames.js"
import { Merge } from "../logs/merge.js"
import type { Reader } from "../logs/reader.js"

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

/** A Session, as far as its queue is looked at. */
export interface Queue {
  readonly readers: readonly Reader[]
  readonly cursor: number
  /** Whether the message at `position` is sent, or sent again, as far as is known now. */
  comes(position: number, chunk: Frames, i: number): boolean
}

/** What will be sent to a Session, or sent again, in order, without touching its own readers. */
export async function* peek(session: Queue): AsyncGenerator<Peeked> {
  const merge = new Merge(session.readers, session.cursor)
  while (await merge.next()) {
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
