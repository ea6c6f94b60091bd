import { setTimeout as delay } from "node:timers/promises"

const POLL_MS = 2

/** Resolves true when `condition` holds, false when `limitMs` have passed without. Looks every 2 ms. */
export async function until(condition: () => boolean | Promise<boolean>, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > end) return false
    await delay(POLL_MS)
  }
  return true
}
