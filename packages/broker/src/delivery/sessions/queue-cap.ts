import type { Maybe } from "../../stores/store.js"
import type { Log } from "../logs/log.js"

/** A Session whose queue has a bound. */
export interface CappedQueue {
  readonly cursor: number
  readonly logs: readonly Log[]
  /** Bytes of what waits at or above `position`. */
  waitingBytes(position: number): Maybe<number>
  /** Gives up what waits below `position`. */
  skipTo(position: number): Promise<void>
}

/** How much of the cap is left after a cut, so that not each message causes one. */
const KEPT_SHARE = 0.9

/**
 * Keeps what waits for one Session below `bytes`: the oldest messages are skipped and counted, what is in flight stays.
 * Called now and then; in between a queue may grow past its cap.
 */
export function capQueue(session: CappedQueue, bytes: number): Maybe<void> {
  // most never had so much
  if (session.logs.reduce((sum, { totalBytes }) => sum + totalBytes, 0) > bytes) return cut(session, bytes)
}

async function cut(session: CappedQueue, bytes: number): Promise<void> {
  if ((await session.waitingBytes(0)) <= bytes) return
  // the lowest position from which on the rest fits
  let low = session.cursor
  let high = Math.max(low, ...session.logs.map((log) => log.last + 1))
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    // oxlint-disable-next-line no-await-in-loop -- a binary search
    if ((await session.waitingBytes(middle)) <= bytes * KEPT_SHARE) high = middle
    else low = middle + 1
  }
  await session.skipTo(low)
}
