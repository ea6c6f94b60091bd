import { usageError } from "./errors.js"
import { quoted } from "./exact-text.js"
import { LONGEST_TIMER_MS } from "./timers.js"

export type Qos = 0 | 1 | 2

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }

/** An integer within `min` and `max`, written in decimal digits. */
export function parseInteger(text: string, range: { min: number; max: number; what: string }): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= range.min && value <= range.max)) {
    throw usageError(`${range.what} ${quoted(text)} is not a whole number from ${range.min} to ${range.max}`)
  }
  return value
}

/** A parser for {@link parseInteger} with a fixed range. */
export function integer(what: string, min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => parseInteger(text, { min, max, what })
}

/** A TCP port; 0 (any free one) only where `allowZero` says so. */
export function parsePort(text: string, allowZero = false): number {
  return parseInteger(text, { min: allowZero ? 0 : 1, max: 65_535, what: "port" })
}

export function parseQos(text: string): Qos {
  if (text === "0") return 0
  if (text === "1") return 1
  if (text === "2") return 2
  throw usageError(`QoS ${quoted(text)} is not 0, 1 or 2`)
}

/** A {@link parseDurationMs} where none at all has no meaning. */
export function positiveDuration(bareUnit: "ms" | "s", what: string): (text: string) => number {
  return (text) => {
    const milliseconds = parseDurationMs(text, bareUnit, what)
    if (milliseconds === 0) throw usageError(`${what} ${quoted(text)} is too short`, "give at least 1ms")
    return milliseconds
  }
}

/** A duration such as `500ms 10s 1.5m 2h 1d` in milliseconds; a bare number counts in `bareUnit`. */
export function parseDurationMs(text: string, bareUnit: "ms" | "s", what = "duration"): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text)
  const milliseconds = Number(match?.[1]) * (DURATION_UNITS[match?.[2] ?? bareUnit] ?? Number.NaN)
  if (!Number.isFinite(milliseconds)) throw usageError(`${what} ${quoted(text)} is not a duration such as 500ms, 10s, 5m or 1h`)
  return Math.round(milliseconds)
}

/** A {@link positiveDuration} in seconds for what one timer of Node.js waits for: at most 24 days. */
export function timerDuration(what: string): (text: string) => number {
  const parse = positiveDuration("s", what)
  return (text) => {
    const milliseconds = parse(text)
    if (milliseconds <= LONGEST_TIMER_MS) return milliseconds
    throw usageError(`${what} ${quoted(text)} is too long`, "give at most 24d")
  }
}

/** A number of bytes such as `512`, `64KB` or `16MB` (1 KB is 1024 bytes). */
export function parseByteSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMG]?B?)$/i.exec(text)
  const unit = (match?.[2] ?? "?").toUpperCase()
  const bytes = Number(match?.[1]) * (SIZE_UNITS[/^[KMG]$/.test(unit) ? `${unit}B` : unit] ?? Number.NaN)
  if (!Number.isFinite(bytes)) throw usageError(`size ${quoted(text)} is not a size such as 512, 64KB or 16MB`)
  return Math.round(bytes)
}

/** An environment or config value of a flag that takes none: true 1 yes on, false 0 no off. */
export function parseBoolean(text: string): boolean {
  if (/^(true|1|yes|on)$/i.test(text)) return true
  if (/^(false|0|no|off|)$/i.test(text)) return false
  throw usageError(`${quoted(text)} is neither true nor false`)
}

/** One of a few words. */
export function oneOf<const T extends string>(what: string, words: readonly T[]): (text: string) => T {
  return (text) => {
    const found = words.find((word) => word === text)
    if (found === undefined) throw usageError(`${what} ${quoted(text)} is not one of ${words.join(", ")}`)
    return found
  }
}
