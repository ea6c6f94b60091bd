import { escapeControls, isClosedPipe } from "@mqtt-trio/common"
import { type Logger, pino } from "pino"
import { prettyFactory } from "pino-pretty"

export const LOG_LEVELS = ["error", "warn", "info", "debug", "silent"] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Lines of one kind that are printed a second; the rest is counted and named in the next one. */
const LINES_PER_SECOND = 10
/** Bytes that wait for somebody who does not read them, such as a full pipe; lines beyond are lost and counted. */
const BACKLOG = 1 << 20
/** How long close() waits for that reader, in ms. */
const CLOSE_MS = 1000

/**
 * The broker's log on stderr: a line for people, or JSON for machines. Text from clients is escaped. Nobody waits for who
 * reads it.
 */
export class Log {
  private readonly logger: Logger
  private readonly destination: ReturnType<typeof pino.destination>
  private readonly kinds = new Map<string, { second: number; printed: number; held: number }>()
  /** nobody waits for the reader any more, or there is none */
  private over = false
  private lost = 0

  /** @param fd where it goes */
  constructor(level: LogLevel, json: boolean, fd = 2) {
    process.once("exit", () => this.giveUp()) // before pino, which would wait for ever
    this.destination = pino.destination({ dest: fd, sync: false, maxLength: BACKLOG, retryEAGAIN: () => !this.over })
    this.destination.on("error", (error) => {
      if (isClosedPipe(error)) this.over = true // after another error, such as a full disk, the next line tries again
    })
    this.destination.on("drop", () => this.lost++)
    this.destination.on("drain", () => this.tellLost())
    const forPeople = prettyFactory({
      colorize: process.stderr.isTTY && !process.env["NO_COLOR"],
      ignore: "pid,hostname",
      translateTime: "SYS:HH:MM:ss.l",
    })
    this.logger = pino({ level }, json ? this.destination : { write: (line) => this.destination.write(forPeople(line)) })
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

  /** Resolves when all is written, or when nobody has read it for a second. The process can end then; what is logged later is lost. */
  async close(): Promise<void> {
    this.logger.level = "silent"
    if (this.over) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CLOSE_MS)
      this.destination.once("close", () => {
        clearTimeout(timer)
        resolve()
      })
      this.destination.end()
    })
    this.giveUp()
  }

  private giveUp(): void {
    this.over = true
    this.destination.destroy()
  }

  private tellLost(): void {
    const { lost } = this
    this.lost = 0
    if (lost) this.warn(`${lost} lines of this log were lost, because nobody read them`)
  }
}
