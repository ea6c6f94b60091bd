import type { Cursor, Maybe, SessionRow, SubscriptionRow } from "../../stores/store.js"
import type { Tally } from "../../accounting/tally.js"
import type { Frames } from "../../wire/frames.js"
import { topicOf } from "../../wire/publish.js"
import type { Log } from "../logs/log.js"
import type { Outlet } from "../outlet.js"
import { ActiveReaders } from "../logs/active-readers.js"
import { type Hold, Reader, type ReadingSession } from "../logs/reader.js"
import type { GroupCommit } from "../logs/group-commit.js"
import type { Housekeeping, Moving, Woken } from "../logs/housekeeping.js"
import { type HoldingSession, Holds, type Logs } from "./holds.js"
import { costOfHold } from "./costs.js"
import { Lifetime } from "./lifetime.js"
import { peek, type Peeked } from "./peek.js"
import { Redelivery } from "./redelivery.js"
import { capQueue, type CappedQueue } from "./queue-cap.js"
import { patchIdentifier, pubrel, Session, type SubscriptionOptions, type Surroundings, UNSENT_BYTES } from "./session.js"
import { type Count, countBetween, countFresh, countOnlyOf, hasExpired, waitingBytes } from "./waiting.js"
import { Phase } from "./window.js"

/** Logs that are looked at in one turn of the event loop: a Session with thousands of them must not stop the others. */
const MOST_LOOKS = 50_000

/** What persistent Sessions share beside that. */
export interface PersistentSurroundings extends Surroundings {
  readonly commits: GroupCommit
  readonly housekeeping: Housekeeping
  /** The logs of Topic Filters, for one Session. */
  logsFor(session: Session): Logs
}

/** So many readers may keep a whole chunk each. */
const FEW_READERS = 16

/**
 * A Session that outlives its network connection. Its messages lie in the logs of its Topic Filters; what it keeps itself is
 * one cursor. One reader serves a Session that is up to date and one that is behind.
 */
export class PersistentSession extends Session implements HoldingSession, ReadingSession, CappedQueue, Moving, Woken {
  readonly persistent = true
  readonly behind = false
  readonly readers: Reader[] = []
  /** below this position no message is needed any more */
  cursor: number
  private readonly lifetime: Lifetime
  private readonly holds: Holds

  /** position of the last message that was sent or skipped */
  private passed: number
  /** what is in flight below was sent under a lower grant: after a crash it must not come as a new message at QoS 2 */
  private raisedBelow: number
  /** messages below this position may have been sent by a broker that died */
  private dupBelow: number
  private readonly active = new ActiveReaders()
  /** nothing is sent until it is known what is given up */
  private counting = false
  /** the first entry of the window whose message may have to be sent again; behind PUBREC none is */
  private needed = 0
  private readonly again = new Redelivery(this.window)

  constructor(
    identity: { id: number; row: SessionRow; tally: Tally },
    cursor: Cursor,
    private readonly parts: PersistentSurroundings,
  ) {
    super({ id: identity.id, ...identity.row }, parts, identity.tally)
    this.lifetime = new Lifetime(identity.id, identity.row, parts.commits)
    this.holds = new Holds(this, parts.logsFor(this), parts.commits)
    this.cursor = cursor.position
    if (cursor.inflight) this.window.unpack(cursor.inflight)
    const last = this.window.length ? this.window.positionAt(this.window.length - 1) : -1
    this.passed = Math.max(last, cursor.position - 1)
    this.raisedBelow = cursor.inflight ? this.passed + 1 : 0
    this.dupBelow = Math.min(cursor.sentBelow, parts.commits.next) // nothing above was ever sent
  }

  get endsWithConnection(): boolean {
    return this.lifetime.expirySeconds === 0
  }

  override get disconnectedAt(): number | null {
    return this.lifetime.disconnectedAt
  }
  override get expiresAt(): number {
    return this.lifetime.expiresAt
  }

  override belongTo(user: string): void {
    super.belongTo(user)
    this.lifetime.belongTo(user)
  }

  override begin(): void {
    this.resume(this.lifetime.expirySeconds)
  }

  override resume(expirySeconds: number | null): boolean {
    this.lifetime.connected(expirySeconds)
    this.parts.commits.writeCursor(this) // from now on anything may be sent to it
    return true
  }

  override disconnected(expirySeconds: number | null | undefined): boolean {
    const goesOn = this.lifetime.disconnected(expirySeconds)
    if (goesOn) this.detach()
    return goesOn
  }

  /** Puts back what the store has of a Subscription, or of a hold that outlived one. */
  restore(slot: number, row: SubscriptionRow): void {
    const { filter, qos, noLocal, retainAsPublished, identifier } = row
    if (row.until === null && filter) super.subscribe(filter, { qos, noLocal, retainAsPublished, identifier })
    this.holds.restore(slot, row)
  }

  override subscribe(filter: string, options: SubscriptionOptions): void {
    super.subscribe(filter, options)
    this.holds.subscribe(filter, options)
  }

  override async unsubscribe(filter: string): Promise<boolean> {
    const before = this.subscriptions.get(filter)
    let lost = 0
    for (const reader of this.holds.endingWith(filter))
      lost += (await countOnlyOf(reader, this.readers, this.unsentFrom, this.parts.time)).messages // oxlint-disable-line no-await-in-loop
    if (this.gone || this.subscriptions.get(filter) !== before) return false // it was made anew meanwhile
    if (lost) this.giveUp("unsubscribed", lost)
    this.holds.unsubscribe(filter)
    return super.unsubscribe(filter)
  }

  /** What comes by no log goes into its private one. */
  offer(run: Frames): void {
    this.holds.privateLog().append(run, this.parts.commits.take(run.n))
  }

  protected override drop(): void {
    const { commits } = this.parts
    this.holds.removeRows()
    for (const { slot } of this.readers) if (slot) commits.writeSubscription(this.id, slot, undefined)
    for (const identifier of this.incoming) commits.writeIncoming(this.id, identifier, false)
    commits.writeSession(this.id, undefined)
  }

  /** Its queue is needed by nobody any more. */
  override release(): void {
    for (const reader of this.readers.toReversed()) this.dropReader(reader)
  }

  get logs(): Log[] {
    return this.readers.map(({ log }) => log)
  }

  override async depth(): Promise<Count & { bytes: number }> {
    return { ...(await this.countWaiting()), bytes: await this.waitingBytes(0) }
  }

  override peek(): AsyncGenerator<Peeked> {
    return peek(this)
  }

  override capQueue(bytes: number): Maybe<void> {
    return capQueue(this, bytes)
  }

  override inFlight(position: number): boolean {
    return this.window.length > 0 && position <= this.passed
  }

  /** From this position on nothing was sent or skipped. */
  get unsentFrom(): number {
    return this.passed + 1
  }

  /** How many messages will be sent, or sent again after a reconnect. */
  async countWaiting(maximumPacketSize = Infinity): Promise<Count> {
    const { messages, exact } = await countFresh(this.readers, this.unsentFrom, this.parts.time, maximumPacketSize)
    return { messages: messages + this.window.needing(this.needed), exact }
  }

  /** Whether the message at `position` is sent, or sent again, as far as is known now. */
  comes(position: number, chunk: Frames, i: number): boolean {
    if (position > this.passed) return !hasExpired(chunk, i, this.parts.time)
    const entry = this.window.entryAt(position)
    return entry >= 0 && this.window.needsMessage(entry)
  }

  waitingBytes(position: number): Maybe<number> {
    return waitingBytes(this.readers, position)
  }

  /** Gives up what waits below `position`, and what was sent and never acknowledged. An exchange at QoS 2 is still completed. */
  async skipTo(position: number): Promise<void> {
    if (this.again.goesOn) return
    const from = this.passed + 1
    this.counting = true
    const lost = position > from ? await countBetween(this.readers, from, position) : 0
    this.counting = false
    if (!this.gone && !this.again.goesOn) this.pass(position, lost)
    this.pump()
  }

  private pass(position: number, lost: number): void {
    for (let entry = this.needed; entry < this.window.length && this.window.positionAt(entry) < position; entry++) {
      if (!this.window.needsMessage(entry)) continue
      this.giveUp("queueFull", 1)
      this.window.abandon(entry)
    }
    if (position > this.passed + 1) {
      this.giveUp("queueFull", lost)
      this.passed = position - 1
      for (const reader of this.readers) reader.forward(position)
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
      position: this.cursor,
      sentBelow: this.lifetime.disconnectedAt === null ? Infinity : Math.max(this.passed + 1, this.dupBelow),
      inflight: this.window.exactlyOnce || this.cursor < this.raisedBelow ? this.window.pack() : undefined,
    }
  }

  hold(log: Log, hold: Hold): Reader {
    const reader = new Reader(this, log, hold)
    this.readers.push(reader)
    this.tally.add("subscriptions", costOfHold(hold.filter))
    log.hold(reader)
    if (this.outlet) {
      log.watch(reader)
      this.active.add(reader)
    }
    return reader
  }

  /** Ends a hold: what is in flight completes, what only waits from `until` on is dropped. True: something is left to deliver. */
  letGo(reader: Reader, until = this.window.length ? this.passed + 1 : 0): boolean {
    reader.until = Math.min(until, reader.until, reader.log.last + 1)
    if (reader.until > reader.need) {
      reader.log.ending()
      return true
    }
    this.dropReader(reader)
    return false
  }

  private dropReader(reader: Reader): void {
    this.readers.splice(this.readers.lastIndexOf(reader), 1)
    this.tally.add("subscriptions", -costOfHold(reader.filter))
    this.active.remove(reader)
    reader.log.release(reader)
    if (reader.slot) this.parts.commits.writeSubscription(this.id, reader.slot, undefined)
  }

  override attach(outlet: Outlet, receiveMaximum: number): void {
    super.attach(outlet, receiveMaximum)
    this.again.begin()
    for (const reader of this.readers) {
      reader.rewind()
      reader.log.watch(reader)
      this.active.add(reader)
    }
    this.pump()
  }

  override detach(): void {
    this.again.end()
    for (const reader of this.readers) {
      reader.log.unwatch(reader)
      reader.rewind() // nothing that was read ahead is kept
    }
    super.detach()
    this.parts.housekeeping.noteCursor(this)
  }

  get readsMany(): boolean {
    return this.active.count > FEW_READERS
  }

  /** The reader's log has more; the Session is pumped once all readers were told. */
  wake(reader: Reader): void {
    this.active.add(reader)
    this.parts.housekeeping.noteWoken(this)
  }

  /** The window moved on, or something was passed over: so does the cursor. */
  private advance(): void {
    const { window } = this
    while (this.needed < window.length && !window.needsMessage(this.needed)) this.needed++
    const cursor = this.needed < window.length ? window.positionAt(this.needed) : this.passed + 1
    if (cursor === this.cursor) return
    this.cursor = cursor
    this.parts.housekeeping.noteCursor(this)
    for (const reader of this.readers) if (reader.until <= cursor) return this.dropFinished()
  }

  private dropFinished(): void {
    for (const reader of this.readers.toReversed()) if (reader.until <= this.cursor) this.dropReader(reader)
  }

  pump(): void {
    if (this.counting || this.isQuiet) return
    let looks = 0
    while (this.outlet && this.outlet.unsent < UNSENT_BYTES && (this.again.goesOn ? this.again.hasRoom : this.window.room > 0)) {
      if (!this.step()) break
      looks += this.active.count
      if (looks <= MOST_LOOKS) continue
      this.parts.housekeeping.pumpLater(this)
      break
    }
    this.advance()
  }

  /** Sends the next stretch that lies in one chunk. False: there is nothing now. */
  private step(): boolean {
    const { active } = this
    if (!active.select()) {
      if (!active.waiting) this.resendBelow(Infinity)
      return false
    }
    const { best, position, limit, qos } = active
    if (!best?.chunk) return false
    if (this.again.goesOn) {
      if (this.resendBelow(position)) return true
      this.redeliver(best.chunk, best.i)
      active.skip(position)
    } else if (position <= this.passed) {
      active.skip(position) // sent before the reconnect, and done since
    } else {
      const end = best.stretch(limit, this.window.room)
      this.passed = Math.max(this.passed, best.chunk.positionOf(end - 1))
      this.sendRun(best.chunk, best.i, end, { cap: qos, dupBelow: this.dupBelow })
      active.pass(end)
      if (limit === position) active.skip(position)
    }
    return true
  }

  /** Sends a message that was in flight again, with its Packet Identifier and DUP 1 [MQTT-4.4.0-1]. */
  private redeliver(chunk: Frames, i: number): void {
    const entry = this.again.send(chunk.positionOf(i))
    if (entry < 0) return
    if (this.permissions?.mayRead(topicOf(chunk, i)) === false) return this.withdraw(entry)
    // as it was sent, whatever is granted now: the client's half of the exchange is of that QoS
    const qos = this.window.phaseAt(entry) === Phase.PUBLISHED_1 ? 1 : 2
    const bytes = this.encode(chunk, i, { qos, dup: true })
    if (!bytes) return this.finish(entry)
    patchIdentifier(bytes, this.window.identifierAt(entry))
    this.outlet?.push(bytes)
  }

  /** What was sent may not be read any more: it is not sent again. At QoS 2 PUBREL frees its identifier on the other side. */
  private withdraw(entry: number): void {
    this.giveUp("forbidden", 1)
    if (this.window.phaseAt(entry) !== Phase.PUBLISHED_2) return this.finish(entry)
    this.window.release(entry)
    this.sendStored(pubrel(this.window.identifierAt(entry)))
  }

  /**
   * Goes through what was in flight, up to a message at or above `position` that is to be sent again. PUBREL is sent
   * where PUBREC had come; a message that no log has any more counts as done. True: nothing is left to send again.
   */
  private resendBelow(position: number): boolean {
    for (let entry = this.again.take(position); entry >= 0; entry = this.again.take(position)) {
      if (this.window.phaseAt(entry) === Phase.RELEASED) this.outlet?.push(pubrel(this.window.identifierAt(entry)))
      else if (!this.window.isDone(entry)) this.finish(entry)
    }
    return !this.again.goesOn
  }

  protected finish(entry: number): void {
    const moved = this.window.finish(entry)
    this.needed = Math.max(0, this.needed - moved)
    this.again.finished(moved)
    if (moved || this.window.exactlyOnce) this.parts.housekeeping.noteCursor(this)
    this.advance()
  }

  /** Identifier and phase are stored before PUBLISH at QoS 2 and before PUBREL leave. */
  protected sendStored(bytes: Buffer): void {
    this.parts.commits.writeCursor(this)
    this.outlet?.pushDurable(bytes)
    this.advance()
  }
}
