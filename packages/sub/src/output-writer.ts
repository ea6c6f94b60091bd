import { fstatSync, write } from "node:fs"
import { isClosedPipe, outputError, systemCode, type CliError } from "@mqtt-trio/common"

const RETRY_MS = 5

/**
 * The first messages into a pipe go one by one, with a pause in which the reader may leave: `mqtt-sub … | head -1` then finds the
 * pipe closed before the second one is written, and so acknowledged, for nobody.
 */
const CAREFUL_MESSAGES = 5
const CAREFUL_PAUSE_MS = 40

export interface WriterEvents {
  /** The first `count` messages are written out. */
  readonly written: (count: number) => void
  /** The reader of the pipe is gone. */
  readonly closed: () => void
  readonly failed: (error: CliError) => void
}

/** Writes messages to a file descriptor: a batch for each turn of the event loop, one write at a time, never blocking the loop. */
export class OutputWriter {
  private pending: Buffer[] = []
  /** How many of the pending buffers belong to each message, oldest first; only kept while writing carefully. */
  private pendingSizes: number[] = []
  private pendingMessages = 0
  private waitingBytes = 0
  private written = 0
  private busy = false
  private broken = false
  private cause: CliError | undefined
  private careful: number
  private readonly fd: number
  private readonly events: WriterEvents
  private idle: (() => void)[] = []

  constructor(fd: number, events: WriterEvents, careful: boolean) {
    this.fd = fd
    this.events = events
    this.careful = careful && isPipe(fd) ? CAREFUL_MESSAGES : 0
  }

  /** Bytes that wait to be written. */
  get pendingBytes(): number {
    return this.waitingBytes
  }

  /** Why the output broke, unless its reader left. */
  get failure(): CliError | undefined {
    return this.cause
  }

  /** Adds one message; nothing to print is also a message, and counts as written in its turn. */
  push(chunks: readonly Buffer[]): void {
    if (this.broken) return
    for (const chunk of chunks) {
      this.pending.push(chunk)
      this.waitingBytes += chunk.length
    }
    this.pendingMessages += 1
    if (this.careful > 0) this.pendingSizes.push(chunks.length)
    if (this.busy) return
    this.busy = true
    setImmediate(() => this.flush())
  }

  /** Resolves when everything is written, or when the output is broken. */
  async drained(): Promise<void> {
    while (this.busy && !this.broken) {
      await new Promise<void>((resolve) => {
        this.idle.push(resolve)
      })
    }
  }

  private flush(): void {
    if (this.pendingMessages === 0 || this.broken) {
      this.busy = false
      for (const resolve of this.idle.splice(0)) resolve()
      return
    }
    const one = this.careful > 0
    const chunks = this.pending.splice(0, one ? this.pendingSizes.shift() : this.pending.length)
    const messages = one ? 1 : this.pendingMessages
    if (one) this.careful -= 1
    if (this.careful === 0) this.pendingSizes = []
    const batch = Buffer.concat(chunks)
    this.writeAll(batch, 0, () => {
      this.waitingBytes -= batch.length
      this.pendingMessages -= messages
      this.written += messages
      this.events.written(this.written)
      if (one && batch.length > 0) setTimeout(() => this.flush(), CAREFUL_PAUSE_MS)
      else this.flush()
    })
  }

  private writeAll(batch: Buffer, offset: number, done: () => void): void {
    if (offset === batch.length) {
      done()
      return
    }
    write(this.fd, batch, offset, batch.length - offset, null, (error, count) => {
      if (error === null) this.writeAll(batch, offset + count, done)
      else if (systemCode(error) === "EAGAIN") setTimeout(() => this.writeAll(batch, offset, done), RETRY_MS)
      else this.fail(error)
    })
  }

  private fail(error: Error): void {
    this.broken = true
    if (!isClosedPipe(error)) this.cause = outputError(error)
    if (this.cause === undefined) this.events.closed()
    else this.events.failed(this.cause)
    for (const resolve of this.idle.splice(0)) resolve()
  }
}

function isPipe(fd: number): boolean {
  const stats = fstatSync(fd)
  return stats.isFIFO() || stats.isSocket()
}
