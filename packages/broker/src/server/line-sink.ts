import { isClosedPipe } from "@mqtt-trio/common"
import { pino } from "pino"

/** Bytes that wait for somebody who does not read them, such as a full pipe; lines beyond are lost and counted. */
const BACKLOG_BYTES = 1 << 20
/** How long close() waits for that reader, in ms. */
const CLOSE_MS = 1000

/** What a sink says about its reader. */
export interface SinkEvents {
  /** Lines cannot be written, for another reason than that nobody reads them. The next one tries again. */
  failed?(error: unknown): void
  /** The reader took what waited; so many lines found no place before. */
  caughtUp?(lost: number): void
}

/** Lines for a file descriptor of the process. Nobody waits for who reads them, and nothing that happens to it ends the process. */
export class LineSink {
  private readonly destination: ReturnType<typeof pino.destination>
  /** nobody waits for the reader any more, or there is none */
  private over = false
  private lost = 0
  private failing = false

  constructor(fd: number, events: SinkEvents = {}) {
    process.once("exit", () => this.giveUp()) // before pino, which would wait for ever
    this.destination = pino.destination({ dest: fd, sync: false, maxLength: BACKLOG_BYTES, retryEAGAIN: () => !this.over })
    this.destination.on("error", (error) => {
      if (isClosedPipe(error)) this.over = true
      else if (!this.failing) events.failed?.(error)
      this.failing = true
    })
    this.destination.on("drop", () => this.lost++)
    this.destination.on("drain", () => {
      const { lost } = this
      this.lost = 0
      this.failing = false
      if (lost) events.caughtUp?.(lost)
    })
  }

  /** Writes a line that ends with a line feed, some time. */
  write(line: string): void {
    this.destination.write(line)
  }

  /** Resolves when all is written, or when nobody has read it for a second. */
  async close(): Promise<void> {
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
}
