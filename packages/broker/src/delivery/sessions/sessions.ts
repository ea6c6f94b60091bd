import type { Rights } from "../../access/rights/rights.js"
import { type Cursor, type Store, type StoredLog, type StoredState, type SubscriptionRow, whenThere } from "../../stores/store.js"
import type { Place } from "../../accounting/tally.js"
import type { BrokerTime } from "../broker-time.js"
import type { ChunkCache } from "../logs/chunk-cache.js"
import type { GroupCommit } from "../logs/group-commit.js"
import type { Housekeeping } from "../logs/housekeeping.js"
import { StoreReads } from "../logs/store-reads.js"
import { Log } from "../logs/log.js"
import type { Router } from "../routing/router.js"
import { CleanSession } from "./clean-session.js"
import { Drops } from "./drops.js"
import type { Logs } from "./holds.js"
import { PersistentSession, type PersistentSurroundings } from "./persistent-session.js"
import type { Session, SubscriptionOptions } from "./session.js"
import type { Count } from "./waiting.js"

/** What a CONNECT says about the Session. */
export interface SessionRequest {
  clientId: string
  /** to whom the Session belongs; undefined: nobody, the client is anonymous */
  user: string | undefined
  /** Clean Start, in older versions Clean Session: discard what was there (MQTT 5.0 section 3.1.2.4) */
  cleanStart: boolean
  /** Session Expiry Interval in seconds; 0: ends with the connection, undefined: never expires */
  expirySeconds: number | null
  /** where the client is */
  place: Place
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
  cache: ChunkCache
  housekeeping: Housekeeping
  /** for which counts what the store has */
  place: Place
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
  /** how many; undefined: the store could not be read */
  count: Count | undefined
  /** how many with all Sessions that ended since the broker started, these included */
  total: number
}

/** Every Session, by Client Identifier, and what a SUBSCRIBE or UNSUBSCRIBE does to it and the router. */
export class Sessions implements PersistentSurroundings {
  /** the Sessions that gave messages up */
  readonly drops = new Drops()
  readonly commits: GroupCommit
  readonly time: BrokerTime
  readonly housekeeping: Housekeeping
  private readonly reads = new StoreReads()
  private readonly byId = new Map<string, Session>()
  private rights: Rights | undefined = undefined
  /** messages that were lost with Sessions since the broker started */
  private discarded = 0
  /** away, with a Session Expiry Interval that runs */
  private readonly expiring = new Set<Session>()
  /** logs of an earlier run of the broker, until load() is done */
  private readonly storedLogs = new Map<number, Log>()
  /** while it loads: what the store says of its logs */
  private readonly tails = new Map<number, StoredLog>()

  private capping: Promise<void> | undefined = undefined

  constructor(private readonly parts: Parts) {
    this.commits = parts.commits
    this.time = parts.commits.time
    this.housekeeping = parts.housekeeping
  }

  get(clientId: string): Session | undefined {
    return this.byId.get(clientId)
  }
  /** Those that belong to a user. */
  get owned(): number {
    let owned = 0
    for (const session of this.byId.values()) if (session.user !== undefined) owned++
    return owned
  }
  get count(): number {
    return this.byId.size
  }

  /** From now on these rules say what clients may do; undefined: everything. */
  govern(rights: Rights | undefined): void {
    this.rights = rights
    for (const session of this.byId.values()) session.govern(rights)
    this.parts.router.govern(rights !== undefined)
  }

  matching(session: Session, topic: string): readonly SubscriptionOptions[] {
    return this.parts.router.match(topic).to.optionsOf(session)
  }

  /**
   * The Session that a CONNECT asks for: resumed or new; what must go is discarded. Its former connection must be
   * detached before. In the store with the gathering commit.
   */
  open(request: SessionRequest): Opened {
    const { clientId, user, cleanStart, expirySeconds, place } = request
    this.expire(clientId)
    const old = this.byId.get(clientId)
    if (old && !cleanStart && this.resume(old, request)) return { session: old, present: true, stored: true }
    const session = expirySeconds === 0 ? new CleanSession(clientId, user, this, place) : this.persistent(request)
    session.govern(this.rights)
    if (old) this.discard(old, "clean start", (lost) => session.inheritDiscarded(lost))
    this.byId.set(clientId, session)
    session.begin()
    return { session, present: false, stored: session.persistent || (old?.persistent ?? false) }
  }

  private resume(session: Session, { user, expirySeconds, place }: SessionRequest): boolean {
    if (user !== undefined && user !== session.user) session.belongTo(user)
    if (!session.resume(expirySeconds)) return false
    session.tally.moveTo(place)
    this.expiring.delete(session)
    return true
  }

  private persistent({ clientId, user, expirySeconds, place }: SessionRequest): PersistentSession {
    const start: Cursor = { position: this.commits.next, sentBelow: 0, inflight: undefined }
    const row = { clientId, user, expirySeconds, disconnectedAt: null }
    return new PersistentSession({ id: this.commits.newId(), row, tally: place.tally(true) }, start, this)
  }

  /**
   * Its network connection ended. `expirySeconds`: as DISCONNECT changed it (MQTT 5.0 section 3.14.2.2.2), undefined: as
   * before. A Session that ends with its connection is discarded.
   */
  close(session: Session, expirySeconds?: number | null): void {
    if (session.gone) session.detach()
    else if (!session.disconnected(expirySeconds)) this.discard(session, END_OF_CONNECTION)
    else if (session.expiresAt !== Infinity) this.expiring.add(session)
  }

  /** Ends Sessions, or the one of a client, whose Session Expiry Interval ran out (section 3.1.2.11.2). */
  expire(clientId?: string): void {
    const { now } = this.time
    const one = clientId === undefined ? undefined : this.byId.get(clientId)
    const looked = clientId === undefined ? this.expiring : one ? [one] : []
    for (const session of looked) if (now >= session.expiresAt) this.discard(session, "expired")
  }

  /** Drops all that the Session is: Subscriptions, queue, cursor (section 4.1). `told`: how many messages are lost, with earlier ones. */
  private discard(session: Session, why: Discarded["why"], told?: (lost: number) => void): void {
    const waiting = session.countWaiting()
    this.byId.delete(session.clientId)
    this.expiring.delete(session)
    for (const filter of session.subscriptions.keys()) this.parts.router.unsubscribe(session, filter)
    session.discard()
    this.parts.ended(session.clientId)
    void whenThere(waiting, (count) => {
      session.release()
      const lost = this.tellLost(session, why, count)
      told?.(lost)
    })
  }

  private tellLost({ clientId, persistent, dropped }: Session, why: Discarded["why"], count: Count): number {
    this.discarded += count.messages
    if (count.messages) this.parts.discarded({ clientId, why, persistent, count, total: this.discarded })
    return dropped.discarded + count.messages
  }

  /** Makes or replaces a Subscription; of a persistent Session it is in the store with the gathering commit. */
  subscribe(session: Session, filter: string, options: SubscriptionOptions): void {
    session.subscribe(filter, options)
    this.parts.router.subscribe(session, filter, options)
  }

  /** Ends a Subscription; false: there was none. */
  async unsubscribe(session: Session, filter: string): Promise<boolean> {
    if (!session.subscriptions.has(filter)) return false
    if (!(await session.unsubscribe(filter))) return true
    this.parts.router.unsubscribe(session, filter)
    return true
  }

  /** Skips the oldest of every queue that holds more than `bytes`. */
  capQueues(bytes: number): void {
    this.capping ??= this.capAll(bytes).finally(() => {
      this.capping = undefined
    })
  }

  private async capAll(bytes: number): Promise<void> {
    for (const session of this.byId.values()) {
      const capped = session.capQueue(bytes)
      // oxlint-disable-next-line no-await-in-loop -- one after the other: the store has others to answer
      if (capped instanceof Promise) await capped
    }
  }

  /** Takes over what the store kept. Queues stay there. */
  load(state: StoredState): void {
    const { housekeeping, router } = this.parts
    for (const log of state.logs) this.tails.set(log.id, log)
    for (const { id, row, cursor, subscriptions, incoming } of state.sessions) {
      const session = new PersistentSession({ id, row, tally: this.parts.place.tally(true) }, cursor, this)
      for (const packetId of incoming) session.incoming.add(packetId)
      this.byId.set(row.clientId, session)
      for (const [slot, stored] of subscriptions) session.restore(slot, stored)
      for (const [filter, options] of session.subscriptions) router.subscribe(session, filter, options)
      if (row.expirySeconds === 0) this.discard(session, END_OF_CONNECTION)
      else if (row.disconnectedAt === null) this.close(session)
      else if (row.expirySeconds !== null) this.expiring.add(session)
    }
    for (const log of state.logs) if (!this.storedLogs.has(log.id)) housekeeping.noteLog(this.makeLog("", log.id, log))
    this.storedLogs.clear()
    this.tails.clear()
  }

  logsFor(session: Session): Logs {
    const { router } = this.parts
    const fresh = (filter: string): Log => this.makeLog(filter, this.commits.newId())
    return {
      of: (filter, own) => router.log(filter, own ? session : undefined, () => fresh(filter)),
      make: () => fresh(""),
      stored: (row) => {
        const make = (): Log => this.storedLog(row)
        return row.until === null && row.filter ? router.log(row.filter, row.noLocal ? session : undefined, make) : make()
      },
    }
  }

  private storedLog({ log: id, filter }: SubscriptionRow): Log {
    const log = this.storedLogs.get(id) ?? this.makeLog(filter, id, this.tails.get(id))
    this.storedLogs.set(id, log)
    return log
  }

  private makeLog(filter: string, id: number, stored?: StoredLog): Log {
    const { commits, store, cache, housekeeping, router } = this.parts
    const orphaned = (log: Log): void => {
      if (filter) router.removeLog(filter, log)
    }
    return new Log(id, { commits, store, cache, housekeeping, reads: this.reads, orphaned }, stored)
  }
}

const END_OF_CONNECTION = "ended with its connection"
