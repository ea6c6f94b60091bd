import { setTimeout as delay } from "node:timers/promises"

export interface WaitOptions {
  /** Default 10,000. */
  readonly timeoutMs?: number
  /** What is waited for, for the message of the error. */
  readonly what: string
}

/**
 * Resolves with the first value of `condition` that is neither false nor undefined, asked again every 10 ms.
 * Throws when the time is over.
 */
export async function waitFor<T>(
  condition: () => T | false | undefined | Promise<T | false | undefined>,
  options: WaitOptions,
): Promise<T> {
  const deadline = performance.now() + (options.timeoutMs ?? 10_000)
  for (;;) {
    const result = await condition()
    if (result !== false && result !== undefined) return result
    if (performance.now() > deadline) throw new Error(`timed out waiting for ${options.what}`)
    await delay(10)
  }
}
