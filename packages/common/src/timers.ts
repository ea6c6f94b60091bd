/** The longest time that a timer of Node.js takes, in ms (24.8 days); it takes a longer one as 1 ms. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Calls `done` once, after so many ms, however long that is. Returns what cancels it. */
export function startTimer(milliseconds: number, done: () => void): () => void {
  const due = performance.now() + milliseconds
  let timer: NodeJS.Timeout
  const wait = (): void => {
    const left = due - performance.now()
    timer = left > LONGEST_TIMER_MS ? setTimeout(wait, LONGEST_TIMER_MS) : setTimeout(done, left)
  }
  wait()
  return () => clearTimeout(timer)
}

/** Resolves after so many ms, however long that is, or as soon as the signal is aborted. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = (): void => {
      cancel()
      signal.removeEventListener("abort", end)
      resolve()
    }
    const cancel = startTimer(milliseconds, end)
    return signal.addEventListener("abort", end)
  })
}
