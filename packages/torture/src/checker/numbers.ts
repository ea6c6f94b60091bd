import { Checker, type Verdict } from "./checker.js"
import type { StoredQos } from "./stream.js"

/** One publisher's messages, numbered from 1, for one persistent session, as two commands print them. */
export interface NumberedHistory {
  qos: StoredQos
  /** How many were published: 1 to `published`. */
  published: number
  /** The numbers of those that were acknowledged. Default: all. */
  acknowledged?: Iterable<number>
  /** The numbers as they came, repeats included. */
  received: Iterable<number>
}

/** The verdict on numbers in the order in which they came. A print does not show DUP: a repeat counts as one that had it. */
export function checkNumbers({ qos, published, acknowledged, received }: NumberedHistory): Verdict {
  const checker = new Checker()
  const topic = "numbers"
  const stream = checker.addStream({ publisher: "the publisher", topic, qos })
  const session = checker.addSession("the subscriber", [{ filter: topic, qos }])
  for (let n = 0; n < published; n++) checker.published(stream, n, 1)
  if (acknowledged) for (const number of acknowledged) checker.acknowledged(stream, number - 1)
  else for (let n = 0; n < published; n++) checker.acknowledged(stream, n)
  const came = new Set<number>()
  for (const number of received) {
    // what is no number was never published
    const n = Number.isSafeInteger(number) && number > 0 ? number - 1 : published
    checker.delivered(session, { stream, n, topic, qos, dup: came.has(number) })
    came.add(number)
  }
  return checker.verdict()
}
