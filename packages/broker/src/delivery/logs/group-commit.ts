import { setTimeout as after } from "node:timers/promises"
import type { Commit, Cursor, Reserved, SessionRow, Store, SubscriptionRow, WillRow } from "../../stores/store.js"
import { BrokerTime } from "../broker-time.js"
import { SlowCommits, type SlowEvents } from "./slow-commits.js"

/** A log as a commit sees it. */
export interface Appendable {
  /** Closes what gathered; it travels with the commit under way. */
  seal(into: Commit["appends"]): void
  /** What was sealed is durable. */
  committed(): void
  /** Tells the readers of connected Sessions; after every log of the commit is in place. */
  wake(): void
}

/** Somebody whose answer waits for a commit. */
export interface Waiter {
  released(): void
}

/** Somebody whose messages wait for room in the store. */
export interface RoomWaiter {
  /** it is not there any more */
  readonly closed: boolean
  /** There is room, or it is closed. */
  roomAgain(): void
}

/** A Session whose cursor is written: asked when the commit is put together. */
export interface CursorSource {
  readonly id: number
  readonly gone: boolean
  storedCursor(): Cursor
}

/** What rides along when a commit happens anyway: cursors and cuts. */
export interface Housekeeping {
  collect(commit: Commit): void
  /** All readers were told: Sessions send. Not before, or one that merges two logs would pass what it was not told of yet. */
  pump(): void
}

class Batch {
  readonly logs: Appendable[] = []
  readonly waiters: Waiter[] = []
  readonly sessions = new Map<number, SessionRow | undefined>()
  readonly subscriptions = new Map<string, Commit["subscriptions"][number]>()
  readonly cursors = new Set<CursorSource>()
  readonly incoming = new Map<number, Commit["incoming"][number]>()
  readonly retained = new Map<number, Buffer | undefined>()
  readonly wills = new Map<number, WillRow | undefined>()
  bytes = 0
  dirty = false
}
export type { Batch }

/** Bytes that may wait for an fsync before publishers are paused: more would make a commit that others wait for. */
const BACKLOG_BYTES = 2 << 20
/** What a row takes in memory until it is written, beside its text. */
const ROW_COST_BYTES = 200
/** Positions and ids are reserved in blocks, so that the counter is no page of every commit. */
const RESERVED_BLOCK = 1_000_000
/** Cursors and cuts are written at most this often; nothing waits for them. */
const HOUSEKEEPING_MS = 10
const RETRY_MS = 250
/** How often it is asked whether there is room again, in ms. */
const ROOM_MS = 100

export interface CommitEvents extends SlowEvents {
  /** The store began to refuse commits. They are tried again until one succeeds. */
  failing(error: unknown): void
  /** It takes them again. */
  recovered(): void
}

/**
 * The one line to the store: commits follow each other without a gap or a timer. While one is under way, the next
 * gathers. It gives out positions and ids, and knows which position is durable: nobody reads beyond it.
 */
export class GroupCommit {
  /** the position after this one's: never used again */
  next: number
  /** the last position whose commit is durable */
  durable: number
  gathering = new Batch()
  flying: Batch | undefined = undefined
  private housekeeping: Housekeeping | undefined = undefined
  /** the store refuses commits; what needs it waits */
  failing = false

  private nextId: number
  private reserved: Reserved = { position: 0, id: 0 }
  private scheduled = false
  private keep = false
  private marks = false
  private stopped = false
  private timer: NodeJS.Timeout | undefined
  private readonly afterBacklog: (() => void)[] = []
  private idle: (() => void)[] = []
  private readonly forRoom = new Set<RoomWaiter>()
  private roomTimer: NodeJS.Timeout | undefined = undefined
  /** bytes of messages that wait for room */
  waitingBytes = 0
  readonly slow: SlowCommits

  constructor(
    private readonly store: Store,
    next: Reserved,
    private readonly events: CommitEvents,
    readonly time = new BrokerTime(),
  ) {
    this.next = next.position
    this.durable = next.position - 1
    this.nextId = next.id
    this.slow = new SlowCommits(events)
  }

  /** From now on this rides along. */
  attend(housekeeping: Housekeeping): void {
    this.housekeeping = housekeeping
  }

  /** An id for a Session, a log, a retained message or a Will, never used again. */
  newId(): number {
    return this.nextId++
  }

  /** Positions for `count` messages; returns the first. */
  take(count: number): number {
    const first = this.next
    this.next += count
    return first
  }

  touch(): void {
    this.gathering.dirty = true
    if (this.flying || this.scheduled || this.stopped) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      if (!this.flying && !this.stopped) void this.run() // it never rejects: a failed commit is tried again
    })
  }

  append(log: Appendable): void {
    this.gathering.logs.push(log)
    this.touch()
  }

  writeSession(id: number, row: SessionRow | undefined): void {
    this.gathering.sessions.set(id, row)
    this.gathering.bytes += ROW_COST_BYTES + (row?.clientId.length ?? 0)
    this.touch()
  }

  writeSubscription(session: number, slot: number, row: SubscriptionRow | undefined): void {
    this.gathering.subscriptions.set(`${session}/${slot}`, { session, slot, row })
    this.gathering.bytes += ROW_COST_BYTES + (row?.filter.length ?? 0)
    this.touch()
  }

  writeCursor(session: CursorSource): void {
    this.gathering.cursors.add(session)
    this.touch()
  }

  writeIncoming(session: number, identifier: number, open: boolean): void {
    this.gathering.incoming.set(session * 65_536 + identifier, { session, identifier, open })
    this.gathering.bytes += ROW_COST_BYTES
    this.touch()
  }

  writeRetained(id: number, value: Buffer | undefined): void {
    const { retained } = this.gathering
    this.gathering.bytes += (value?.length ?? 0) - (retained.get(id)?.length ?? 0) + (retained.has(id) ? 0 : ROW_COST_BYTES)
    retained.set(id, value)
    this.touch()
  }

  writeWill(id: number, value: WillRow | undefined): void {
    this.gathering.wills.set(id, value)
    this.gathering.bytes += ROW_COST_BYTES + (value?.packet.length ?? 0)
    this.touch()
  }

  /** The housekeeping has something; it rides on a commit soon. */
  later(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      this.keep = true
      this.touch()
    }, HOUSEKEEPING_MS)
  }

  /** Another broker may own the store by now, with Sessions that are not known here: every acknowledgement waits for a commit. */
  get isDoubtful(): boolean {
    return this.store.isDoubtful ?? false
  }

  /** Whether what needs the store would wait too long to begin with it: it takes no commits, or nobody knows when it will. */
  get isStalled(): boolean {
    return this.failing || this.slow.isSlow
  }

  /** Whether the store has no room for more messages, Sessions, Subscriptions. */
  get isCrowded(): boolean {
    return this.lacksRoom(0)
  }

  /** Whether the store has no room for so many bytes of messages, beside what is on its way: whoever brings them waits. */
  lacksRoom(bytes: number): boolean {
    return this.store.hasRoom?.(this.gathering.bytes + (this.flying?.bytes ?? 0) + bytes) === false
  }

  /** Tells somebody once there is room. */
  whenRoom(waiter: RoomWaiter): void {
    this.forRoom.add(waiter)
    this.roomTimer ??= setInterval(() => this.lookForRoom(), ROOM_MS).unref()
  }

  private lookForRoom(): void {
    for (const waiter of Array.from(this.forRoom)) {
      // it may come back
      if (!waiter.closed && (this.isCrowded || this.full)) continue
      this.forRoom.delete(waiter)
      waiter.roomAgain()
    }
    if (this.forRoom.size) return
    clearInterval(this.roomTimer)
    this.roomTimer = undefined
  }

  get full(): boolean {
    return this.gathering.bytes > BACKLOG_BYTES
  }

  /** Calls back once the backlog is below its bound. */
  whenDrained(callback: () => void): void {
    this.afterBacklog.push(callback)
  }

  /** The wall clock may have been set: then the store is told what time it is before the next start needs it. */
  watchTime(): void {
    if (this.time.hasJumped) this.touch()
  }

  /** Resolves when everything gathered so far, housekeeping and the time included, is durable. */
  flush(): Promise<void> {
    this.keep = true
    this.marks = true
    this.touch()
    return new Promise((resolve) => {
      this.idle.push(resolve)
    })
  }

  /** The broker ends: no commit is begun any more, one that fails is not tried again. */
  stop(): void {
    this.stopped = true
    clearTimeout(this.timer)
    clearInterval(this.roomTimer)
    this.slow.stop()
  }

  private async run(): Promise<void> {
    do {
      const batch = this.gathering
      this.flying = batch
      this.gathering = new Batch()
      const last = this.next - 1
      const commit = this.collect(batch)
      // oxlint-disable-next-line no-await-in-loop -- commits follow each other
      await this.write(commit)
      this.durable = last
      for (const log of batch.logs) log.committed()
      this.flying = undefined
      for (const waiter of batch.waiters) waiter.released()
      for (const log of batch.logs) log.wake()
      this.housekeeping?.pump()
      if (!this.full) for (const callback of this.afterBacklog.splice(0)) callback()
    } while (this.gathering.dirty && !this.stopped)
    for (const resolve of this.idle.splice(0)) resolve()
  }

  private collect(batch: Batch): Commit {
    const commit: Commit = {
      appends: [],
      cuts: [],
      sessions: [...batch.sessions].map(([id, row]) => ({ id, row })),
      subscriptions: [...batch.subscriptions.values()],
      cursors: [],
      incoming: [...batch.incoming.values()],
      retained: [...batch.retained].map(([id, value]) => ({ id, value })),
      wills: [...batch.wills].map(([id, value]) => ({ id, value })),
      reserved: undefined,
      time: this.time.mark(this.marks),
    }
    this.marks = false
    for (const log of batch.logs) log.seal(commit.appends)
    if (this.keep) {
      this.keep = false
      this.housekeeping?.collect(commit)
    }
    for (const source of batch.cursors) if (!source.gone) commit.cursors.push({ session: source.id, cursor: source.storedCursor() })
    if (this.next > this.reserved.position || this.nextId > this.reserved.id) {
      this.reserved = { position: this.next + RESERVED_BLOCK, id: this.nextId + RESERVED_BLOCK }
      commit.reserved = this.reserved
    }
    return commit
  }

  private async write(commit: Commit): Promise<void> {
    for (;;) {
      try {
        this.slow.begin()
        // oxlint-disable-next-line no-await-in-loop -- tried again until it succeeds
        await this.store.commit(commit).finally(() => this.slow.end())
        if (this.failing) this.events.recovered()
        this.failing = false
        return
      } catch (error) {
        if (!this.failing) this.events.failing(error)
        this.failing = true
        // oxlint-disable-next-line no-await-in-loop
        await after(RETRY_MS)
        // oxlint-disable-next-line no-await-in-loop
        if (this.stopped) await new Promise<never>(() => {}) // nothing that waits is acknowledged
      }
    }
  }
}
