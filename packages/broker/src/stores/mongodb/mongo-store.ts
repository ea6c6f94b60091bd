import { setTimeout as after } from "node:timers/promises"
import { type MongoClient, MongoError } from "mongodb"
import { messageOf } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"
import type { Commit, Maybe, Store, StoredChunk, StoredState } from "../store.js"
import type { DatabasePlace } from "../store-url.js"
import { collectionsOf, connect, LONG } from "./database.js"
import { databaseError, lostLease, Superseded } from "./errors.js"
import { Lease, type Owner } from "./lease.js"
import { serve, type Serving } from "./serving.js"
import type { Tenure } from "./tenure.js"

/** What the store of a database tells. */
export interface MongoOptions {
  /** where local tools reach this broker: a folder with its socket */
  admin?: string | undefined
  /** how long its owner may be away before another broker takes over, in ms */
  leaseMs?: number
  /** told once, when another broker owns the database: this one stands by */
  standsBy?: (owner: Owner) => void
  /** told when one that stood by has taken over */
  tookOver?: () => void
  /** ends the standing by */
  signal?: AbortSignal | undefined
  /** told when another broker took over: from then on nothing is acknowledged */
  superseded?: (error: BrokerError) => void
  /** told why something failed that is tried again */
  failing?: (why: string) => void
}

/** How long the end may take when the server does not answer, in ms. */
const CLOSE_MS = 2500
const LEASE_MS = 10_000
/** How long one that stands by waits before it tries again, in ms. */
const AGAIN_MS = 500
/** So much of it the lease holds; in the rest the next owner starts. */
const HELD_SHARE = 0.85

/**
 * `mongodb://…` keeps everything in a database: each commit is a document of its journal, and what is still needed later is in
 * collections that a person can read, into which the journal is folded in the background. One broker owns it at a time.
 */
export class MongoStore implements Store {
  private serving: Serving | undefined = undefined
  private lastError: unknown = undefined
  private isSuperseded = false
  /** commits, one behind the other */
  private line: Promise<void> = Promise.resolve()
  private readonly tenure: Tenure

  private constructor(
    private readonly place: DatabasePlace,
    private readonly client: MongoClient,
    private readonly lease: Lease,
    private readonly options: MongoOptions,
  ) {
    const db = client.db(place.database)
    const { epoch, owner, followsRelease } = lease
    const patient = client.db(place.database, LONG)
    this.tenure = { db, patient, collections: collectionsOf(db), epoch, owner, followsRelease, superseded: () => this.lost() }
  }

  get url(): string {
    return this.place.shown
  }

  /**
   * Resolves when this broker owns the database and has taken it over; until then it stands by, and then tries again what fails
   * because of the server, or because another one was faster. Throws a BrokerError, or what the signal says.
   */
  static async open(place: DatabasePlace, options: MongoOptions = {}): Promise<MongoStore> {
    const { failing, signal, standsBy, tookOver } = options
    let hasStoodBy = false
    const waits = (owner: Owner): void => {
      hasStoodBy = true
      standsBy?.(owner)
    }
    for (;;) {
      // oxlint-disable no-await-in-loop -- until it serves
      try {
        const store = await MongoStore.takeOver(place, { ...options, standsBy: waits })
        if (hasStoodBy) tookOver?.()
        return store
      } catch (error) {
        if (signal?.aborted === true) throw error
        if (!hasStoodBy || !(error instanceof MongoError || error instanceof Superseded))
          throw error instanceof BrokerError ? error : databaseError(place, error)
        failing?.(`the database cannot be taken over, it is tried again: ${messageOf(error)}`)
        await after(AGAIN_MS, undefined, { signal })
      }
      // oxlint-enable no-await-in-loop
    }
  }

  /** One try, with a connection of its own. */
  private static async takeOver(place: DatabasePlace, options: MongoOptions): Promise<MongoStore> {
    const { admin, leaseMs = LEASE_MS, signal, standsBy: waits } = options
    const client = await connect(place.connection)
    let lease: Lease | undefined
    try {
      const db = client.db(place.database)
      lease = await Lease.acquire(db, collectionsOf(db).lease, { admin, length: leaseMs * HELD_SHARE, waits, signal })
      const store = new MongoStore(place, client, lease, options)
      await store.begin()
      return store
    } catch (error) {
      await lease?.release(false).catch(() => {})
      await client.close().catch(() => {})
      throw error
    }
  }

  private async begin(): Promise<void> {
    this.lease.keep(
      () => void this.lost(),
      (why) => this.options.failing?.(`the lease of the database cannot be renewed: ${why}`),
    )
    const failing = (why: string): void => {
      if (!this.isSuperseded) this.options.failing?.(why)
    }
    const serving = await serve(this.tenure, {
      unreadable: (error) => failing(`messages cannot be read now: ${messageOf(error)}`),
      unfoldable: (error) =>
        failing(`what is stored stays in the journal, the other collections cannot be brought up to date: ${messageOf(error)}`),
    })
    if (this.isSuperseded) {
      await serving.close()
      throw this.lost()
    }
    this.serving = serving
  }

  load(): Promise<StoredState> {
    return this.serving ? Promise.resolve(this.serving.state) : Promise.reject(new Error("the store is not open"))
  }

  get trouble(): string | undefined {
    return this.lastError === undefined ? this.serving?.folding.trouble : messageOf(this.lastError)
  }

  get isDoubtful(): boolean {
    return this.lease.isDoubtful
  }

  commit(commit: Commit): Promise<void> {
    const done = this.line.then(() => this.write(commit))
    this.line = done.catch(() => {})
    return done
  }

  private async write(commit: Commit): Promise<void> {
    const { serving } = this
    if (!serving) throw new Error("the store is not open")
    if (this.isSuperseded) await never()
    try {
      await serving.folding.commit(commit)
      this.lastError = undefined
    } catch (error) {
      if (this.isSuperseded) await never() // it is said once, and why
      this.lastError = error
      throw error
    }
  }

  private lost(): Superseded {
    const error = new Superseded(this.url)
    if (!this.isSuperseded && this.serving) void this.tellWhy(error)
    this.isSuperseded = true
    return error
  }

  /** Whether another broker took over, or somebody else changed the database. */
  private async tellWhy(superseded: Superseded): Promise<void> {
    const found = await this.tenure.collections.lease.findOne({ _id: "lease" }).catch(() => undefined)
    const isMine = found === null || (found !== undefined && !(found.epoch > this.lease.epoch))
    this.options.superseded?.(isMine ? lostLease(this.url) : superseded)
  }

  read(log: number, position: number, most: { chunks: number; bytes: number }): Maybe<StoredChunk[]> {
    return this.serving?.folding.read(log, position, most) ?? []
  }

  async close(): Promise<void> {
    await Promise.race([this.finish(), after(CLOSE_MS, undefined, { ref: false })])
    const { serving } = this
    this.serving = undefined
    // what a server that does not answer was asked for ends with the connections
    await Promise.all([this.client.close(true), this.lease.stop(), serving?.close()])
  }

  /** Folds all and gives the lease up. Where that cannot be done, the next owner waits until the lease is over. */
  private async finish(): Promise<void> {
    if (this.isSuperseded) return
    await this.line
    try {
      if (!this.serving) return
      await this.lease.release(await this.serving.finish())
    } catch {
      // it is in the journal
    }
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}
