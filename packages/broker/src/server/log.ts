import { escapeControls } from "@mqtt-trio/common"
import { type Logger, pino } from "pino"
import pretty from "pino-pretty"

export const LOG_LEVELS = ["error", "warn", "info", "debug", "silent"] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Lines of one kind that are printed a second; the rest is counted and named in the next one. */
const LINES_PER_SECOND = 10

/** The broker's log on stderr: a line for people, or JSON for machines. Text from clients is escaped. */
export class Log {
  private readonly logger: Logger
  private readonly kinds = new Map<string, { second: number; printed: number; held: number }>()

  constructor(level: LogLevel, json: boolean) {
    this.logger = json ? pino({ level }, pino.destination({ dest: 2, sync: true })) : pino({ level }, forPeople())
  }

  error(message: string): void {
    this.logger.error(escapeControls(message))
  }
  warn(message: string): void {
    this.logger.warn(escapeControls(message))
  }
  info(message: string): void {
    this.logger.info(escapeControls(message))
  }

  /** A line that clients can cause: `kind` is limited to a few a second. `kind` must be one of a fixed set. */
  limited(level: "warn" | "info" | "debug", kind: string, message: string): void {
    if (!this.logger.isLevelEnabled(level)) return
    const second = Math.floor(Date.now() / 1000)
    const state = this.kinds.get(kind) ?? { second, printed: 0, held: 0 }
    this.kinds.set(kind, state)
    if (state.second !== second) {
      state.second = second
      state.printed = 0
    }
    if (++state.printed > LINES_PER_SECOND) {
      state.held++
      return
    }
    const more = state.held ? ` (and ${state.held} more like this)` : ""
    state.held = 0
    this.logger[level](escapeControls(message + more))
  }
}

function forPeople(): ReturnType<typeof pretty> {
  return pretty({
    destination: 2,
    sync: true,
    colorize: process.stderr.isTTY && !process.env["NO_COLOR"],
    ignore: "pid,hostname",
    translateTime: "SYS:HH:MM:ss.l",
  })
}
