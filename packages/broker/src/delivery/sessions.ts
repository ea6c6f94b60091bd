import { type Cursor, type SessionRow, type Store, StoreBusy, type StoredState, type SubscriptionRow } from "../stores/store.js"
import { CleanSession } from "./clean-session.js"
import type { GroupCommit } from "./group-commit.js"
import { Log } from "./log.js"
import { PersistentSession } from "./persistent-session.js"
import { capQueue } from "./queue-cap.js"
import type { Reader } from "./reader.js"
import type { Router } from "./router.js"
import type { Session, SubscriptionOptions } from "./session.js"
import type { Tail } from "./tail.js"
import { type Count, countOnlyOf } from "./waiting.js"

/** What a CONNECT says about the Session. */
export interface SessionRequest {
  clientId: string
  /** Clean Start, in older versions Clean Session: discard what was there (MQTT 5.0 section 3.1.2.4) */
  cleanStart: boolean
  /** Session Expiry Interval in seconds; 0: ends with the connection, null: never expires */
  expirySeconds: number | null
}

export interface Opened {
  session: Session
  /** Session Present of CONNACK */
  present: boolean
  /** the gathering commit holds what CONNACK says */
  stored: boolean
}

interface Parts {
  store: Store
  commits: GroupCommit
  router: Router
  tail: Tail
  /** a Session ended */
  ended: (clientId: string) => void
  /** messages were lost with it */
  discarded: (lost: Discarded) => void
}

/** A Session that ended while messages waited for it. */
export interface Discarded {
  clientId: string
  why: "clean start" | "expired" | "ended with its connection"
  /** false: it could not outlive its connection */
  persistent: boolean
  /** how many; null: the store could not be read */
  count: Count | null
}

/** Every Session, by Client Identifier, and what a SUBSCRIBE or UNSUBSCRIBE does to router, logs and store. */
export class Sessions {
  private readonly byId = new Map<string, Session>()
  /** away, with a Session Expiry Interval that runs */
  private readonly expiring = new Set<PersistentSession>()

  constructor(private readonly parts: Parts) {}

  get(clientId: string): Session | undefined {
    return this.byId.get(clientId)
  }
  get count(): number {
    return this.byId.size
  }

  /**
   * The Session that a CONNECT asks for: resumed or new; what must go is discarded. Its former connection must be
   * detached before. In the store with the gathering commit.
   */
  open({ clientId, cleanStart, expirySeconds }: SessionRequest): Opened {
    const { commits, tail } = this.parts
    this.expire(Date.now(), clientId)
    const old = this.byId.get(clientId)
    const row: SessionRow = { clientId, expirySeconds, disconnectedAt: null }
    if (old instanceof PersistentSession && !cleanStart) {
      this.expiring.delete(old)
      old.row = row
      this.write(old)
      return { session: old, present: true, stored: true }
    }
    const discarded = old ? this.discard(old, "clean start") : 0
    if (expirySeconds === 0) {
      const session = new CleanSession(clientId, 0)
      session.dropped.discarded = discarded
      this.add(session)
      return { session, present: false, stored: old instanceof PersistentSession }
    }
    const start: Cursor = { cursor: commits.next, sentBelow: 0, inflight: null }
    const session = new PersistentSession({ clientId, number: commits.number(), row }, start, { tail, commits })
    session.dropped.discarded = discarded
    this.add(session)
    this.write(session)
    return { session, present: false, stored: true }
  }

  private add(session: Session): void {
    this.byId.set(session.clientId, session)
    session.matching = (topic) => this.parts.router.match(topic).optionsOf(session)
  }

  /** Its row, and that from now on anything may be sent to it. */
  private write(session: PersistentSession): void {
    this.parts.commits.writeSession(session.number, session.row)
    this.parts.commits.writeCursor(session)
  }

  /**
   * Its network connection ended. `expirySeconds`: as DISCONNECT changed it (MQTT 5.0 section 3.14.2.2.2), undefined: as
   * before. A Session that ends with its connection is discarded.
   */
  close(session: Session, expirySeconds?: number | null): void {
    if (session.gone) return session.detach()
    if (!(session instanceof PersistentSession)) return void this.discard(session, ENDED)
    const expiry = expirySeconds === undefined ? session.row.expirySeconds : expirySeconds
    if (expiry === 0) return void this.discard(session, ENDED)
    session.detach()
    session.row = { clientId: session.clientId, expirySeconds: expiry, disconnectedAt: Date.now() }
    this.parts.commits.writeSession(session.number, session.row)
    if (expiry !== null) this.expiring.add(session)
  }

  /** Ends Sessions, or the one of a client, whose Session Expiry Interval ran out (section 3.1.2.11.2). `now` in ms. */
  expire(now: number, clientId?: string): void {
    const one = clientId === undefined ? null : this.byId.get(clientId)
    const candidates = one === null ? this.expiring : one instanceof PersistentSession && this.expiring.has(one) ? [one] : []
    for (const session of candidates) {
      const { disconnectedAt, expirySeconds } = session.row
      if (expirySeconds === null || disconnectedAt === null || now < disconnectedAt + expirySeconds * 1000) continue
      this.discard(session, "expired")
    }
  }

  /** Drops all that the Session is: Subscriptions, queue, cursor (section 4.1). Returns how many messages are lost, with earlier ones. */
  private discard(session: Session, why: Discarded["why"]): number {
    const lost = this.tellLost(session, why)
    const { commits, router } = this.parts
    session.gone = true
    session.detach()
    this.byId.delete(session.clientId)
    for (const filter of session.subscriptions.keys()) router.unsubscribe(session, filter)
    this.parts.ended(session.clientId)
    if (!(session instanceof PersistentSession)) return lost
    this.expiring.delete(session)
    session.dropAll()
    for (const { slot } of session.held.values()) commits.writeSubscription(session.number, slot, null)
    for (const identifier of session.incoming) commits.writeIncoming(session.number, identifier, false)
    commits.writeSession(session.number, null)
    return lost
  }

  private tellLost(session: Session, why: Discarded["why"]): number {
    const { clientId, persistent, dropped } = session
    let count: Count | null = null
    try {
      count = session.countWaiting()
    } catch (error) {
      if (!(error instanceof StoreBusy)) throw error
    }
    if (count?.messages !== 0) this.parts.discarded({ clientId, why, persistent, count })
    return dropped.discarded + (count?.messages ?? 0)
  }

  /** Makes or replaces a Subscription; of a persistent Session it is in the store with the gathering commit. */
  subscribe(session: Session, filter: string, options: SubscriptionOptions): void {
    session.subscribe(filter, options)
    this.parts.router.subscribe(session, filter, options)
    if (session instanceof PersistentSession) this.queueFor(session, filter, options)
  }

  private queueFor(session: PersistentSession, filter: string, options: SubscriptionOptions): void {
    const { commits, router } = this.parts
    const held = session.held.get(filter) ?? { slot: session.nextSlot++, reader: null }
    session.held.set(filter, held)
    const current = held.reader
    const owner = options.noLocal ? session : null
    const log = options.qos ? router.log(filter, owner, () => this.makeLog(filter, commits.number(), false)) : null
    if (current && current.log === log) {
      if (options.qos > current.qos) session.raise()
      current.qos = options.qos
    } else {
      // what waits under the old grant is still delivered [MQTT-3.8.4-4]
      if (current) this.drain(session, filter, current, commits.next)
      held.reader = log && session.hold(log, { since: commits.next, qos: options.qos, filter })
    }
    commits.writeSubscription(session.number, held.slot, rowOf(filter, options, held.reader))
  }

  /** Ends a hold; as long as something of it is to be delivered, it has a row of its own. */
  private drain(session: PersistentSession, filter: string, reader: Reader, until?: number): void {
    if (!session.letGo(reader, until)) return
    reader.slot ||= session.nextSlot++
    const options = { qos: reader.qos, noLocal: false, retainAsPublished: false, identifier: 0 }
    this.parts.commits.writeSubscription(session.number, reader.slot, rowOf(filter, options, reader))
  }

  /** The log of retained messages that a SUBSCRIBE brought this Session. It stands among its holds under an empty filter. */
  privateLog(session: PersistentSession): Log {
    const held = session.held.get("")
    if (held?.reader) return held.reader.log
    const { commits } = this.parts
    const log = this.makeLog("", commits.number(), false)
    const reader = session.hold(log, { since: commits.next, qos: 2, filter: "" })
    const slot = session.nextSlot++
    session.held.set("", { slot, reader })
    commits.writeSubscription(session.number, slot, rowOf("", PRIVATE, reader))
    return log
  }

  /**
   * Ends a Subscription; false: there was none. What waits only under it is dropped and counted, what is in flight completes.
   * May throw StoreBusy, and then changed nothing.
   */
  unsubscribe(session: Session, filter: string): boolean {
    if (!session.subscriptions.has(filter)) return false
    if (!(session instanceof PersistentSession)) this.forget(session, filter)
    else {
      const held = session.held.get(filter)
      const ending = session.readers.filter((reader) => reader === held?.reader || (reader.slot && reader.filter === filter))
      const lost = ending.reduce((sum, reader) => sum + countOnlyOf(reader).messages, 0)
      if (lost) session.giveUp("unsubscribed", lost)
      this.forget(session, filter)
      session.held.delete(filter)
      for (const reader of ending) this.drain(session, filter, reader)
      if (held) this.parts.commits.writeSubscription(session.number, held.slot, null)
    }
    return true
  }

  private forget(session: Session, filter: string): void {
    session.unsubscribe(filter)
    this.parts.router.unsubscribe(session, filter)
  }

  /** What will be sent to the Session, or sent again, and the bytes that its queue takes. May throw StoreBusy. */
  depth(session: Session): Count & { bytes: number } {
    if (!(session instanceof PersistentSession)) return { messages: 0, exact: true, bytes: 0 }
    return { ...session.countWaiting(), bytes: session.waitingBytes(0) }
  }

  /** Skips the oldest of every queue that holds more than `bytes`. */
  capQueues(bytes: number): void {
    for (const session of this.byId.values()) if (session instanceof PersistentSession) capQueue(session, bytes)
  }

  /** Takes over what the store kept. Queues stay there. */
  load(state: StoredState): void {
    const { commits, tail } = this.parts
    const logs = new Map<number, Log>()
    for (const { number, row, cursor, subscriptions, incoming } of state.sessions) {
      const session = new PersistentSession({ clientId: row.clientId, number, row }, cursor, { tail, commits })
      for (const identifier of incoming) session.incoming.add(identifier)
      session.limitRedelivery(commits.next)
      this.add(session)
      for (const [slot, stored] of subscriptions) {
        session.nextSlot = Math.max(session.nextSlot, slot + 1)
        this.restore(session, slot, { row: stored, logs })
      }
      if (row.expirySeconds === 0) this.discard(session, ENDED)
      else if (row.disconnectedAt === null) this.close(session)
      else if (row.expirySeconds !== null) this.expiring.add(session)
    }
    for (const number of state.logs) if (!logs.has(number)) tail.noteLog(this.makeLog("", number, true))
  }

  /** A stored Subscription, or a hold that outlived one. */
  private restore(session: PersistentSession, slot: number, { row, logs }: { row: SubscriptionRow; logs: Map<number, Log> }): void {
    const { filter, qos, noLocal, retainAsPublished, identifier } = row
    const { router } = this.parts
    const make = (): Log => {
      const log = logs.get(row.log) ?? this.makeLog(filter, row.log, true)
      logs.set(row.log, log)
      return log
    }
    if (row.until !== null) {
      const reader = session.hold(make(), { since: row.since, qos, filter })
      reader.slot = slot
      session.letGo(reader, row.until)
      return
    }
    if (filter) {
      const options = { qos, noLocal, retainAsPublished, identifier }
      session.subscribe(filter, options)
      router.subscribe(session, filter, options)
    }
    const log = row.log ? (filter ? router.log(filter, noLocal ? session : null, make) : make()) : null
    session.held.set(filter, { slot, reader: log && session.hold(log, { since: row.since, qos, filter }) })
  }

  private makeLog(filter: string, number: number, stored: boolean): Log {
    const { commits, store, tail, router } = this.parts
    return new Log(number, { commits, store, tail, orphaned: (log) => filter && router.removeLog(filter, log) }, stored)
  }
}

const ENDED = "ended with its connection"

const PRIVATE: SubscriptionOptions = { qos: 2, noLocal: false, retainAsPublished: true, identifier: 0 }

function rowOf(filter: string, options: SubscriptionOptions, reader: Reader | null): SubscriptionRow {
  return {
    filter,
    ...options,
    log: reader?.log.number ?? 0,
    since: reader?.since ?? 0,
    until: reader && reader.until !== Infinity ? reader.until : null,
  }
}
