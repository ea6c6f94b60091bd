import { setTimeout as delay } from "node:timers/promises"

const POLL_MS = 1
/** What counts between two looks: a machine that stood still is no broker that did nothing. */
const MOST_BETWEEN_LOOKS_MS = 250

export interface ProgressOptions {
  done: () => boolean
  /** A number that changes as long as something happens. */
  progress: () => number
  /** How long the number may stand still. */
  stallMs: number
  /** Ends the wait early, with a rejection. */
  signal?: AbortSignal | undefined
  /** Called at each look, about every millisecond. */
  step?: () => void
}

/** Resolves true when `done` holds, false when nothing has happened for `stallMs`. Looks about every millisecond. */
export async function progressUntil(options: ProgressOptions): Promise<boolean> {
  let last = options.progress()
  let lookedAt = performance.now()
  let stillMs = 0
  for (;;) {
    options.step?.()
    if (options.done()) return true
    options.signal?.throwIfAborted()
    const [now, time] = [options.progress(), performance.now()]
    stillMs = now === last ? stillMs + Math.min(time - lookedAt, MOST_BETWEEN_LOOKS_MS) : 0
    if (stillMs > options.stallMs) return false
    last = now
    lookedAt = time
    await delay(POLL_MS)
  }
}
