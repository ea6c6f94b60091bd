import { Pause } from "../delivery/outlet.js"
import type { SharedTurns } from "../delivery/retained/retained-stream.js"
import type { Pauses } from "./pauses.js"

/** How much is read in one turn of the event loop, over all connections, and so many of those that had to stop go on in the next. */
const READ_BYTES = 4 << 20
const READERS = 8
/** Smaller reads are not counted. */
const COUNTED_READ_BYTES = 16_384

/** How long what takes turns may go on in one turn of the event loop, in ms, before the others have theirs. */
const TURN_MS = 5
/** From then on even what is short waits, where it can. */
const LATE_MS = 15

/**
 * Publishing to a topic that thousands receive takes long, and so do thousands of topics, of filters, of clients that connect at
 * once: who does it goes on in a later turn of the event loop, one after the other, and who does little is served between.
 */
export class Turns implements SharedTurns {
  /** when the first one began in this turn of the event loop; undefined: none did */
  private since: number | undefined = undefined
  private scheduled = false
  /** publishers, and those whose control packets wait: one of these and one of those in turn */
  private readonly publishing: (() => void)[] = []
  private readonly line: (() => void)[] = []
  /** those that come behind both, one in each turn at least */
  private readonly last: (() => void)[] = []
  private readBytes = 0
  private readonly readers: Pauses[] = []

  /** So many bytes were read. When this turn had enough, who sent them is not read until a later one. */
  read(bytes: number, pauses: Pauses): void {
    if (bytes < COUNTED_READ_BYTES) return
    if (this.readBytes === 0) this.schedule()
    this.readBytes += bytes
    if (this.readBytes <= READ_BYTES && !this.isOver) return
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
    return this.lasted > TURN_MS
  }

  /** Whether it had much more than enough. */
  get isLate(): boolean {
    return this.lasted > LATE_MS
  }

  /** For how long it has been going on, in ms. */
  private get lasted(): number {
    return this.since === undefined ? 0 : performance.now() - this.since
  }

  /** A publisher goes on in a later turn, behind those that wait. */
  yield(act: () => void): void {
    this.wait(act, this.publishing)
  }

  private wait(act: () => void, line: (() => void)[]): void {
    line.push(act)
    this.schedule()
  }

  /** The caller goes on at once, without awaiting anything, where this is undefined, else when it resolves. Until it asks again it should be short. */
  share(): Promise<void> | undefined {
    return this.shareIn(this.line)
  }

  private shareIn(line: (() => void)[]): Promise<void> | undefined {
    if (this.isOver) return new Promise((resolve) => this.wait(resolve, line))
    this.begin()
    return undefined
  }

  /** The same for what is sent in the end and has time: whoever waits otherwise comes first. */
  readonly behind: SharedTurns = { share: () => this.shareIn(this.last) }

  /** Does it now, or in a turn that has room. */
  take(act: () => void): void {
    if (this.line.length > 0 || this.isOver) return this.wait(act, this.line)
    this.begin()
    act()
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => void this.next())
  }

  private async next(): Promise<void> {
    this.scheduled = false
    this.since = performance.now()
    let isPublishing = true
    for (; (this.publishing.length || this.line.length) && !this.isOver; isPublishing = !isPublishing)
      await this.serve(isPublishing ? this.publishing : this.line) // oxlint-disable-line no-await-in-loop -- one after the other
    do
      await this.serve(this.last) // oxlint-disable-line no-await-in-loop
    while (this.last.length && !this.isOver)
    this.since = undefined
    this.readBytes = 0
    for (const pauses of this.readers.splice(0, READERS)) pauses.end(Pause.TURN)
    if (this.publishing.length || this.line.length || this.last.length || this.readers.length) this.schedule()
  }

  /** Who waits longest has its turn. What it does at once has ended when this resolves. */
  private async serve(line: (() => void)[]): Promise<void> {
    line.shift()?.()
    await DONE
  }
}

const DONE = Promise.resolve()
