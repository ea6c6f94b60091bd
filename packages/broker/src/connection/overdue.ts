import { Reason, type ReasonCode } from "../wire/reason-codes.js"
import { TICK_MS } from "./keep-alive.js"

/** How much longer than for its CONNECT a client may wait for the answer, in ms. */
const ANSWER_MS = 30_000

/** What is known of a connection that waits; times in ms. */
export interface Wait {
  readonly connectTimeoutMs: number
  /** a CONNECT came */
  readonly greeted: boolean
  /** since it was accepted by the listener */
  readonly age: number
  /** since something came */
  readonly idle: number
}

interface Late {
  readonly reason: ReasonCode
  readonly message: string
}

/** Why a connection whose CONNECT is not accepted yet has to end now; undefined: it may wait on. */
export function overdue({ connectTimeoutMs, greeted, age, idle }: Wait): Late | undefined {
  // byte after byte does not give a CONNECT more time; whose password is looked at late because of guessers gets its answer all the same
  const [late, most] = greeted ? [idle, connectTimeoutMs + ANSWER_MS] : [age, connectTimeoutMs]
  if (late <= most + TICK_MS) return undefined
  return greeted
    ? { reason: Reason.SERVER_UNAVAILABLE, message: "its CONNECT could not be answered in time" }
    : { reason: Reason.PROTOCOL_ERROR, message: "no CONNECT came in time" }
}

/** Why a client that said nothing for `idle` ms has to go: it promised to. 0: it promised nothing, or is not read (MQTT 5.0 section 3.1.2.10). */
export function silent(idle: number, keepAliveMs: number): Late | undefined {
  if (!keepAliveMs || idle <= keepAliveMs * 1.5 + TICK_MS) return undefined
  return {
    reason: Reason.KEEP_ALIVE_TIMEOUT,
    message: `nothing came for ${Math.round(idle / 1000)} s, Keep Alive is ${keepAliveMs / 1000} s`,
  }
}
