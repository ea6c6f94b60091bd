import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import type { Collection, Db } from "mongodb"
import { messageOf, startTimer } from "@mqtt-trio/common"
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
  waits: (owner: Owner) => void
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
  private renewing: Promise<void> = Promise.resolve()

  private constructor(
    private readonly collection: Collection<LeaseDocument>,
    private readonly document: Pick<LeaseDocument, "epoch" | "owner" | "length">,
    /** Whether the owner before gave it up: nothing of it is on its way any more. */
    readonly followsRelease: boolean,
  ) {}

  get epoch(): number {
    return this.document.epoch
  }
  get owner(): string {
    return this.document.owner
  }

  /** Resolves when this process owns the database. Rejects when the server cannot be asked, or by the signal. */
  static async acquire(db: Db, collection: Collection<LeaseDocument>, options: LeaseOptions): Promise<Lease> {
    const mine = {
      owner: randomUUID(),
      host: hostname(),
      pid: process.pid,
      admin: options.admin ?? "",
      length: options.length,
      released: false,
    }
    for (let told = false; ;) {
      options.signal?.throwIfAborted()
      // oxlint-disable no-await-in-loop -- until it is ours
      const now = await serverTime(db)
      const found = await collection.findOne({ _id: "lease" }, { readConcern: "majority" })
      if (!found) {
        if (await inserted(collection, { _id: "lease", epoch: 1, renewed: now, ...mine }))
          return new Lease(collection, { epoch: 1, ...mine }, true)
        continue
      }
      const left = found.released ? 0 : found.renewed.getTime() + found.length - now.getTime()
      if (left < 0 || found.released) {
        const epoch = found.epoch + 1
        const filter = { _id: "lease" as const, epoch: found.epoch, renewed: found.renewed, released: found.released }
        const { matchedCount } = await collection.updateOne(filter, { $set: { epoch, ...mine }, $currentDate: { renewed: true } })
        if (matchedCount) return new Lease(collection, { epoch, ...mine }, found.released)
        continue
      }
      if (!told) options.waits({ host: found.host, pid: found.pid })
      told = true
      await delay(Math.min(left + 1, LOOK_MS), options.signal)
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
    const { matchedCount } = await this.collection.updateOne(this.mine, { $currentDate: { renewed: true } })
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

  /** Gives it up; nothing of its owner may be on its way. */
  async release(): Promise<void> {
    await this.stop()
    await this.collection.updateOne(this.mine, { $set: { released: true } })
  }
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

async function delay(ms: number, signal?: AbortSignal): Promise<void> {
  const { setTimeout: after } = await import("node:timers/promises")
  await after(ms, undefined, { signal })
}
