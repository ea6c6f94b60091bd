import { escapeJson, escapeLine } from "@mqtt-trio/common"
import { type Logger, pino } from "pino"
import { prettyFactory } from "pino-pretty"
import { LineSink } from "./line-sink.js"

export const LOG_LEVELS = ["error", "warn", "info", "debug", "silent"] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** What a line is about, for programs: members of the JSON object beside `msg`. */
export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>

/** Lines of one kind that are printed a second; the rest is counted and named in the next one. */
const LINES_PER_SECOND = 10

/**
 * The broker's log on stderr: a line for people, with local date, time and offset, or JSON for machines, with fields.
 * Text from clients is escaped: a call is a line. Nobody waits for who reads it.
 */
export class EventLog {
  private readonly logger: Logger
  private readonly sink: LineSink
  private readonly kinds = new Map<string, { second: number; printed: number; held: number }>()

  /** @param fd where it goes */
  constructor(level: LogLevel, json: boolean, fd = 2) {
    this.sink = new LineSink(fd, {
      caughtUp: (lost) => this.warn(`${lost} lines of this log were lost, because nobody read them`, { lost }),
    })
    const forPeople = prettyFactory({
      colorize: process.stderr.isTTY && !process.env["NO_COLOR"],
      ignore: "pid,hostname",
      hideObject: true,
      translateTime: "SYS:standard",
    })
    const write = (line: string): void => this.sink.write(json ? escapeJson(line) : forPeople(line))
    const formatters = { level: (label: string) => ({ level: label }) }
    this.logger = pino({ level, timestamp: pino.stdTimeFunctions.isoTime, formatters }, { write })
  }

  /** True when debug() prints: what it costs to put its line together can be saved otherwise. */
  get debugging(): boolean {
    return this.logger.isLevelEnabled("debug")
  }

  error(message: string, fields: Fields = {}): void {
    this.logger.error(fields, escapeLine(message))
  }
  warn(message: string, fields: Fields = {}): void {
    this.logger.warn(fields, escapeLine(message))
  }
  info(message: string, fields: Fields = {}): void {
    this.logger.info(fields, escapeLine(message))
  }
  debug(message: string, fields: Fields = {}): void {
    this.logger.debug(fields, escapeLine(message))
  }

  /** A line that clients can cause: its `kind` is limited to a few a second, and must be one of a fixed set. */
  limited(level: "warn" | "info" | "debug", kind: string, line: { message: string; fields?: Fields }): void {
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
    const { held } = state
    state.held = 0
    if (held) this[level](`${line.message} (and ${held} more like this)`, { ...line.fields, more: held })
    else this[level](line.message, line.fields)
  }

  /** Resolves when all is written, or when nobody has read it for a second. The process can end then; what is logged later is lost. */
  async close(): Promise<void> {
    this.logger.level = "silent"
    await this.sink.close()
  }
}
