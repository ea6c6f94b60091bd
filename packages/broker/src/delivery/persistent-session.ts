import { StoreBusy, type Cursor, type SessionRow } from "../stores/store.js"
import type { Frames } from "../wire/frames.js"
import type { Log } from "./log.js"
import type { Outlet } from "./outlet.js"
import { type Hold, Reader } from "./reader.js"
import type { GroupCommit } from "./group-commit.js"
import { patchIdentifier, pubrel, Session, UNSENT } from "./session.js"
import { type Count, countBetween, countFresh, hasExpired } from "./waiting.js"
import { Phase } from "./window.js"
import type { Tail } from "./tail.js"

/** Logs that are looked at in one turn of the event loop: a Session with thousands of them must not stop the others. */
const MOST_LOOKS = 50_000
/** When a store that cannot be read just now is asked again, in ms. */
const BUSY_MS = 50

/**
 * A Session that outlives its network connection. Its messages lie in the logs of its Topic Filters; what it keeps
 * itself is one cursor. One reader serves a Session that is up to date and one that is behind.
 */
export class PersistentSession extends Session {
  readonly persistent = true
  readonly readers: Reader[] = []
  /** below this position no message is needed any more */
  cursor: number
  row: SessionRow
  /** by Topic Filter: the Subscription's slot in the store, and its hold on a log at QoS 1 and 2 */
  readonly held = new Map<string, { slot: number; reader: Reader | null }>()
  nextSlot = 1

  /** position of the last message that was sent or skipped */
  private passed: number
  /** what is in flight below was sent under a lower grant: after a crash it must not come as a new message at QoS 2 */
  private raisedBelow: number
  /** messages below this position may have been sent by a broker that died */
  private dupBelow: number
  private active: Reader[] = []
  private pumping = false
  /** the first entry of the window whose message may have to be sent again; behind PUBREC none is */
  private needed = 0
  /** entries of the window that are looked at again after a reconnect, and how many are left */
  private again = 0
  private resend = 0
  /** sent again and not acknowledged since: kept below the client's Receive Maximum, which may be smaller than before */
  private resent = 0

  constructor(
    identity: { clientId: string; number: number; row: SessionRow },
    cursor: Cursor,
    private readonly parts: { tail: Tail; commits: GroupCommit },
  ) {
    super(identity.clientId, identity.number)
    this.row = identity.row
    this.cursor = cursor.cursor
    if (cursor.inflight) this.window.unpack(cursor.inflight)
    const last = this.window.length ? this.window.positionAt(this.window.length - 1) : -1
    this.passed = Math.max(last, cursor.cursor - 1)
    this.raisedBelow = cursor.inflight ? this.passed + 1 : 0
    this.dupBelow = cursor.sentBelow
  }

  get endsWithConnection(): boolean {
    return this.row.expirySeconds === 0
  }

  /** Whether the message at `position` was sent; asked only about messages that are not done. */
  inFlight(position: number): boolean {
    return this.window.length > 0 && position <= this.passed
  }

  /** From this position on nothing was sent or skipped. */
  get unsentFrom(): number {
    return this.passed + 1
  }

  /** How many messages will be sent, or sent again after a reconnect. */
  countWaiting(): Count {
    const { messages, exact } = countFresh(this.readers, this.unsentFrom)
    return { messages: messages + this.window.needing(this.needed), exact }
  }

  /** Whether the message at `position` is sent, or sent again, as far as is known now. */
  comes(position: number, chunk: Frames, i: number): boolean {
    if (position > this.passed) return !hasExpired(chunk, i, Date.now())
    const entry = this.window.entryAt(position)
    return entry >= 0 && this.window.needsMessage(entry)
  }

  /** Bytes of what waits at or above `position`, what is in flight included. A message that matches several Topic Filters counts for each. */
  waitingBytes(position: number): number {
    let sum = 0
    for (const reader of this.readers) sum += reader.waiting(position).bytes
    return sum
  }

  /** Gives up what waits below `position`, and what was sent and never acknowledged. An exchange at QoS 2 is still completed. */
  skipTo(position: number): void {
    if (this.resend) return
    this.giveUpInFlight(position)
    const from = this.passed + 1
    if (position <= from) return
    this.giveUp("queueFull", countBetween(this.readers, from, position))
    this.passed = position - 1
    for (const reader of this.readers) reader.forward(position)
    this.advance()
  }

  private giveUpInFlight(position: number): void {
    for (let entry = this.needed; entry < this.window.length && this.window.positionAt(entry) < position; entry++) {
      if (!this.window.needsMessage(entry)) continue
      this.giveUp("queueFull", 1)
      this.window.abandon(entry)
    }
    this.advance()
  }

  /** A grant was raised: with it, what was sent and what of that is done is stored. */
  raise(): void {
    this.raisedBelow = this.passed + 1
    this.parts.commits.writeCursor(this)
  }

  storedCursor(): Cursor {
    return {
      cursor: this.cursor,
      sentBelow: this.row.disconnectedAt === null ? Infinity : Math.max(this.passed + 1, this.dupBelow),
      inflight: this.window.exactlyOnce || this.cursor < this.raisedBelow ? this.window.pack() : null,
    }
  }

  /** After load(): nothing at or above `next` was sent by the broker that died. */
  limitRedelivery(next: number): void {
    this.dupBelow = Math.min(this.dupBelow, next)
  }

  hold(log: Log, hold: Hold): Reader {
    const reader = new Reader(this, log, hold)
    this.readers.push(reader)
    log.holders.add(reader)
    if (this.outlet) {
      log.online.add(reader)
      this.activate(reader)
    }
    return reader
  }

  /**
   * Ends a hold: what is in flight completes, what only waits is dropped. `until`: what waits below it is still delivered.
   * True: something is left to deliver.
   */
  letGo(reader: Reader, until = this.window.length ? this.passed + 1 : 0): boolean {
    reader.until = Math.min(until, reader.until, reader.log.last + 1)
    if (reader.until > this.cursor) {
      reader.log.ending()
      return true
    }
    this.drop(reader)
    return false
  }

  private drop(reader: Reader): void {
    this.readers.splice(this.readers.indexOf(reader), 1)
    if (reader.active) this.active.splice(this.active.indexOf(reader), 1)
    reader.active = false
    reader.log.release(reader)
    if (reader.slot) this.parts.commits.writeSubscription(this.number, reader.slot, null)
  }

  dropAll(): void {
    for (const reader of this.readers.toReversed()) this.drop(reader)
  }

  override attach(outlet: Outlet, receiveMaximum: number): void {
    super.attach(outlet, receiveMaximum)
    this.active = []
    this.again = 0
    this.resent = 0
    this.resend = this.window.length
    for (const reader of this.readers) {
      reader.rewind()
      reader.active = false
      reader.log.online.add(reader)
      this.activate(reader)
    }
    this.pump()
  }

  override detach(): void {
    super.detach()
    this.again = this.resend = this.resent = 0
    for (const reader of this.readers) reader.log.online.delete(reader)
    this.parts.tail.note(this)
  }

  private activate(reader: Reader): void {
    if (reader.active) return
    reader.active = true
    this.active.push(reader)
  }

  /** The reader's log has more; the Session is pumped once all readers were told. */
  wake(reader: Reader): void {
    this.activate(reader)
    this.parts.tail.woken.add(this)
  }

  /** The window moved on, or something was passed over: so does the cursor. */
  private advance(): void {
    const { window } = this
    while (this.needed < window.length && !window.needsMessage(this.needed)) this.needed++
    const cursor = this.needed < window.length ? window.positionAt(this.needed) : this.passed + 1
    if (cursor === this.cursor) return
    this.cursor = cursor
    this.parts.tail.note(this)
    for (const reader of this.readers) if (reader.until <= cursor) return this.dropFinished()
  }

  private dropFinished(): void {
    for (const reader of this.readers.toReversed()) if (reader.until <= this.cursor) this.drop(reader)
  }

  pump(): void {
    let looks = 0
    while (this.outlet && this.outlet.unsent < UNSENT && (this.resend ? this.resent < this.window.limit : this.window.room > 0)) {
      if (!this.tryStep()) break
      looks += this.active.length
      if (looks <= MOST_LOOKS) continue
      this.pumpAgain()
      break
    }
    this.advance()
  }

  /** Goes on in a later turn of the event loop: others have theirs. */
  private pumpAgain(ms = 0): void {
    if (this.pumping) return
    this.pumping = true
    const pump = (): void => {
      this.pumping = false
      this.pump()
    }
    if (ms) setTimeout(pump, ms)
    else setImmediate(pump)
  }

  private tryStep(): boolean {
    try {
      return this.step()
    } catch (error) {
      if (!(error instanceof StoreBusy)) throw error
      this.pumpAgain(BUSY_MS)
      return false
    }
  }

  /** Merges the logs by position and sends the next stretch that lies in one chunk. False: there is nothing now. */
  private step(): boolean {
    let best: Reader | null = null
    let position = Infinity
    let limit = Infinity // position of the next message of another log
    let qos: 0 | 1 | 2 = 0
    for (let r = 0; r < this.active.length; r++) {
      const reader = this.active[r]
      if (!reader) break
      const p = reader.peek()
      if (p < 0) {
        reader.active = false
        this.active[r--] = this.active.at(-1) ?? reader
        this.active.pop()
      } else if (p < position) {
        limit = position
        position = p
        best = reader
        qos = reader.qos
      } else {
        if (p < limit) limit = p
        if (p === position && reader.qos > qos) qos = reader.qos
      }
    }
    if (!best?.chunk) {
      this.resume(Infinity)
      return false
    }
    if (this.resend) {
      if (this.resume(position)) return true
      this.redeliver(best.chunk, best.i)
      this.skip(position)
    } else if (position <= this.passed) {
      this.skip(position) // sent before the reconnect, and done since
    } else {
      const end = this.stretch(best, limit)
      this.passed = Math.max(this.passed, best.chunk.positionOf(end - 1))
      this.sendRun(best.chunk, best.i, end, { cap: qos, dupBelow: this.dupBelow })
      best.i = end
      if (limit === position) this.skip(position)
    }
    return true
  }

  /** How far one chunk can be sent: up to the next message of another log, the end of the hold, or the window's room. */
  private stretch(reader: Reader, limit: number): number {
    const chunk = reader.chunk
    if (!chunk) return reader.i
    let stop = Math.min(chunk.n, reader.i + this.window.room)
    const below = Math.min(limit, reader.until)
    if (chunk.positionOf(stop - 1) >= below) stop = Math.max(reader.i + 1, Math.min(stop, chunk.find(below)))
    return stop
  }

  /** The same message in several logs is one delivery: every reader goes past `position`. */
  private skip(position: number): void {
    for (const reader of this.active) {
      const chunk = reader.chunk
      if (chunk && reader.i < chunk.n && chunk.positionOf(reader.i) === position) reader.i++
    }
  }

  /** Sends a message that was in flight again, with its Packet Identifier and DUP 1 [MQTT-4.4.0-1]. */
  private redeliver(chunk: Frames, i: number): void {
    const entry = this.again
    if (this.window.positionAt(entry) !== chunk.positionOf(i)) return // given up before it was sent
    this.again++
    this.resend--
    // as it was sent, whatever is granted now: the client's half of the exchange is of that QoS
    const qos = this.window.phaseAt(entry) === Phase.PUBLISHED_1 ? 1 : 2
    const bytes = this.encode(chunk, i, { qos, dup: true })
    if (!bytes) return this.finish(entry)
    patchIdentifier(bytes, this.window.identifierAt(entry))
    this.resent++
    this.outlet?.push(bytes)
  }

  /**
   * Goes through what was in flight, up to a message at or above `position` that is to be sent again. PUBREL is sent
   * where PUBREC had come; a message that no log has any more counts as done. True: nothing is left to send again.
   */
  private resume(position: number): boolean {
    while (this.resend) {
      const entry = this.again
      const released = this.window.phaseAt(entry) === Phase.RELEASED
      const done = this.window.isDone(entry)
      if (this.window.needsMessage(entry) && this.window.positionAt(entry) >= position) return false
      this.again++
      this.resend--
      if (released) this.outlet?.push(pubrel(this.window.identifierAt(entry)))
      else if (!done) this.finish(entry)
    }
    return true
  }

  protected finish(entry: number): void {
    const moved = this.window.finish(entry)
    this.needed = Math.max(0, this.needed - moved)
    if (this.resend) {
      this.resent = Math.max(0, this.resent - 1)
      // the place in the window is counted from its head
      const place = this.again - moved
      this.again = Math.max(0, place)
      if (place < 0) this.resend = Math.max(0, this.resend + place)
    }
    if (moved || this.window.exactlyOnce) this.parts.tail.note(this)
    this.advance()
  }

  /** Identifier and phase are stored before PUBLISH at QoS 2 and before PUBREL leave. */
  protected sendStored(bytes: Buffer): void {
    this.parts.commits.writeCursor(this)
    this.outlet?.pushDurable(bytes)
    this.advance()
  }
}
