import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { setTimeout as after } from "node:timers/promises"
import type { Collection, Db } from "mongodb"
import { messageOf, startTimer } from "@mqtt-trio/common"
import { Damage } from "../errors.js"
import type { LeaseDocument } from "./documents.js"
import { isDuplicate } from "./errors.js"

/** Of another broker that owns the database. */
export interface Owner {
  host: string
  pid: number
}

export interface LeaseOptions {
  /** see LeaseDocument.admin */
  admin?: string | undefined
  /** how long it holds when it is not renewed, in ms */
  length: number
  /** told once, when another broker has it: it is waited for */
  waits?: ((owner: Owner) => void) | undefined
  /** ends the waiting */
  signal?: AbortSignal | undefined
}

/** It is renewed so many times while it holds. */
const RENEWALS = 4
/** How often somebody who waits looks, in ms, at most. */
const LOOK_MS = 500

/**
 * Who owns the database: one broker at a time, for as long as it renews its lease. All times are the server's. That it may
 * be late does no harm: what an owner writes after it was replaced meets the next one's epoch.
 */
export class Lease {
  private cancel = (): void => {}
  private since: Moment
  private renewing: Promise<void> = Promise.resolve()

  constructor(
    private readonly collection: Collection<LeaseDocument>,
    private readonly document: Pick<LeaseDocument, "epoch" | "owner" | "length">,
    /** Whether the owner before gave it up: nothing of it is on its way any more. */
    readonly followsRelease: boolean,
    asked: Moment,
  ) {
    this.since = asked
  }

  get epoch(): number {
    return this.document.epoch
  }
  get owner(): string {
    return this.document.owner
  }
  /** Whether it was not renewed for so long that another broker may have it. */
  get isDoubtful(): boolean {
    const now = moment()
    return Math.max(now.monotonic - this.since.monotonic, now.wall - this.since.wall) > this.document.length
  }

  /** Resolves when this process owns the database. Rejects when the server cannot be asked, or by the signal. */
  static async acquire(db: Db, collection: Collection<LeaseDocument>, options: LeaseOptions): Promise<Lease> {
    const waiting = new Waiting(db, collection, options)
    for (;;) {
      options.signal?.throwIfAborted()
      // oxlint-disable no-await-in-loop -- until it is ours
      const left = await waiting.try()
      if (left instanceof Lease) return left
      await after(Math.min(left + 1, LOOK_MS), undefined, { signal: options.signal })
      // oxlint-enable no-await-in-loop
    }
  }

  /** Renews it from now on. `lost`: another broker has it. */
  keep(lost: () => void, failed: (why: string) => void): void {
    const again = (): void => {
      this.cancel = startTimer(this.document.length / RENEWALS, () => {
        this.renewing = this.renew().then(
          (isMine) => (isMine ? again() : lost()),
          (error: unknown) => {
            failed(messageOf(error))
            again()
          },
        )
      })
    }
    again()
  }

  private async renew(): Promise<boolean> {
    const asked = moment()
    const { matchedCount } = await this.collection.updateOne(this.mine, { $currentDate: { renewed: true } })
    if (matchedCount > 0) this.since = asked
    return matchedCount > 0
  }

  private get mine(): { _id: "lease"; epoch: number; owner: string } {
    return { _id: "lease", epoch: this.epoch, owner: this.owner }
  }

  /** Stops renewing it. */
  async stop(): Promise<void> {
    this.cancel()
    await this.renewing
    this.cancel()
  }

  /** Gives it up. `clean`: nothing of its owner is on its way any more. */
  async release(clean: boolean): Promise<void> {
    await this.stop()
    await this.collection.updateOne(this.mine, { $set: { released: true, clean } })
  }
}

/** By this process's own clocks: the first does not count while the machine sleeps, the second may be set. */
interface Moment {
  readonly monotonic: number
  readonly wall: number
}

function moment(): Moment {
  return { monotonic: performance.now(), wall: Date.now() }
}

/** Somebody who wants the lease. */
class Waiting {
  private readonly mine: Omit<LeaseDocument, "_id" | "epoch" | "renewed">
  private told = false
  /** what was seen last, and since when by this process's own clock: the server's may be set back */
  private seen = { epoch: 0, renewed: 0, at: 0 }

  constructor(
    private readonly db: Db,
    private readonly collection: Collection<LeaseDocument>,
    private readonly options: LeaseOptions,
  ) {
    const { admin = "", length } = options
    this.mine = { owner: randomUUID(), host: hostname(), pid: process.pid, admin, length, released: false, clean: false }
  }

  /** The lease, or how long to wait, in ms. */
  async try(): Promise<Lease | number> {
    const { collection, mine } = this
    const now = await serverTime(this.db)
    const found = await collection.findOne({ _id: "lease" }, { readConcern: "majority" })
    if (!found) {
      // somebody may have removed it
      const journal = await this.db.collection<{ _id: string; epoch: number }>(collection.collectionName).findOne({ _id: "journal" })
      const asked = moment()
      const first = { _id: "lease" as const, epoch: (journal?.epoch ?? 0) + 1, renewed: now, ...mine }
      return (await inserted(collection, first)) ? new Lease(collection, first, !journal, asked) : 0
    }
    if (!isLease(found)) throw new Damage('its document with _id "lease" in the collection "broker" is not what was written; remove it')
    const left = Math.min(found.renewed.getTime() + found.length - now.getTime(), this.leftBySight(found))
    if (found.released || left < 0) return (await this.take(found)) ?? 0
    if (!this.told) this.options.waits?.({ host: found.host, pid: found.pid })
    this.told = true
    return left
  }

  private leftBySight({ epoch, renewed, length }: LeaseDocument): number {
    const time = renewed.getTime()
    if (this.seen.epoch !== epoch || this.seen.renewed !== time) this.seen = { epoch, renewed: time, at: performance.now() }
    return this.seen.at + length - performance.now()
  }

  private async take(found: LeaseDocument): Promise<Lease | undefined> {
    const { collection, mine } = this
    const epoch = found.epoch + 1
    const asked = moment()
    const filter = { _id: "lease" as const, epoch: found.epoch, renewed: found.renewed, released: found.released }
    const { matchedCount } = await collection.updateOne(filter, { $set: { epoch, ...mine }, $currentDate: { renewed: true } })
    return matchedCount ? new Lease(collection, { ...found, ...mine, epoch }, found.released && found.clean, asked) : undefined
  }
}

function isLease({ epoch, renewed, length }: LeaseDocument): boolean {
  return Number.isSafeInteger(epoch) && renewed instanceof Date && Number.isFinite(length)
}

async function inserted(collection: Collection<LeaseDocument>, document: LeaseDocument): Promise<boolean> {
  try {
    await collection.insertOne(document)
    return true
  } catch (error) {
    if (isDuplicate(error)) return false
    throw error
  }
}

async function serverTime(db: Db): Promise<Date> {
  const { localTime } = await db.admin().command({ hello: 1 })
  if (!(localTime instanceof Date)) throw new Error("the server does not say what time it is")
  return localTime
}
