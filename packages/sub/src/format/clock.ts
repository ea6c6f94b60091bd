/** When a message came. */
export interface Arrival {
  readonly date: Date
  /** Nanoseconds within the second, as exact as the clock of Node.js is (microseconds). */
  readonly nanoseconds: number
}

/** The time now. */
export function arrivalNow(): Arrival {
  const milliseconds = performance.timeOrigin + performance.now()
  const seconds = Math.floor(milliseconds / 1000)
  return { date: new Date(milliseconds), nanoseconds: Math.min(999_999_999, Math.floor((milliseconds - seconds * 1000) * 1_000_000)) }
}
