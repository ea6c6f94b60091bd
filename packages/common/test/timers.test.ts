import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { pause, startTimer } from "@mqtt-trio/common"

const DAY_MS = 86_400_000

describe("times above the 24.8 days of one timer of Node.js", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it.each([1, 24, 25, 60, 1000])("%d days are over then, not earlier, and once", (days) => {
    const done = vi.fn()
    startTimer(days * DAY_MS, done)
    vi.advanceTimersByTime(days * DAY_MS - 1)
    expect(done).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(done).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("are cancelled in any of their timers", () => {
    const done = vi.fn()
    const cancel = startTimer(60 * DAY_MS, done)
    vi.advanceTimersByTime(30 * DAY_MS)
    cancel()
    vi.advanceTimersByTime(60 * DAY_MS)
    expect(done).not.toHaveBeenCalled()
  })

  it("a pause ends when its signal is aborted, before or meanwhile", async () => {
    const stop = new AbortController()
    const pausing = pause(60 * DAY_MS, stop.signal)
    stop.abort()
    await pausing
    await pause(60 * DAY_MS, stop.signal)
    expect(vi.getTimerCount()).toBe(0)
  })
})
