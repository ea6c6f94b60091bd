import { Pause } from "../delivery/outlet.js"
import type { Pauses } from "./pauses.js"

/** How much is read in one turn of the event loop, over all connections, and so many go on reading in the next. */
const READ_BYTES = 4 << 20
const READERS = 32
/** Smaller reads are not counted. */
const COUNTED_READ_BYTES = 16_384

/** How long what takes turns may go on in one turn of the event loop, in ms, before the others have theirs. */
const TURN_MS = 5

/**
 * Publishing to a topic that thousands receive takes long, and so do thousands of topics, of filters, of clients that connect at
 * once: who does it goes on in a later turn of the event loop, one after the other, and who does little is served between.
 */
export class Turns {
  /** when the first one began in this turn of the event loop; undefined: none did */
  private since: number | undefined = undefined
  private scheduled = false
  private readonly line: (() => void)[] = []
  private readBytes = 0
  private readonly readers: Pauses[] = []

  /** So many bytes were read. When this turn had enough, who sent them is not read until a later one. */
  read(bytes: number, pauses: Pauses): void {
    if (bytes < COUNTED_READ_BYTES) return
    if (this.readBytes === 0) this.schedule()
    this.readBytes += bytes
    if (this.readBytes <= READ_BYTES) return
    pauses.begin(Pause.TURN)
    this.readers.push(pauses)
  }

  /** Something begins that may take long. */
  begin(): void {
    this.since ??= performance.now()
    this.schedule()
  }

  /** Whether this turn had enough. */
  get isOver(): boolean {
    return this.since !== undefined && performance.now() - this.since > TURN_MS
  }

  /** Does it in a later turn, behind those that wait. */
  wait(act: () => void): void {
    this.line.push(act)
    this.schedule()
  }

  /** Resolves at once while this turn has room, else in a later one. What follows counts, and should be short. */
  async share(): Promise<void> {
    if (this.isOver) await new Promise<void>((resolve) => this.wait(resolve))
    this.begin()
  }

  /** Does it now, or in a turn that has room. */
  take(act: () => void): void {
    if (this.line.length > 0 || this.isOver) return this.wait(act)
    this.begin()
    act()
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => this.next())
  }

  private next(): void {
    this.scheduled = false
    this.since = performance.now()
    let done = 0
    while (done < this.line.length && !this.isOver) this.line[done++]?.()
    this.line.splice(0, done)
    this.since = undefined
    this.readBytes = 0
    for (const pauses of this.readers.splice(0, READERS)) pauses.end(Pause.TURN)
    if (this.line.length || this.readers.length) this.schedule()
  }
}
