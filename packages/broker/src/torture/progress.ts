import { setTimeout as delay } from "node:timers/promises"

const POLL_MS = 1

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
  let movedAt = performance.now()
  for (;;) {
    options.step?.()
    if (options.done()) return true
    options.signal?.throwIfAborted()
    const now = options.progress()
    if (now !== last) {
      last = now
      movedAt = performance.now()
    } else if (performance.now() - movedAt > options.stallMs) return false
    await delay(POLL_MS)
  }
}
