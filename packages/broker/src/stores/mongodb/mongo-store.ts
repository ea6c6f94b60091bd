import type { MongoClient } from "mongodb"
import { messageOf } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"
import { Folding, rule } from "../folding.js"
import type { Commit, Maybe, Store, StoredChunk, StoredState } from "../store.js"
import type { DatabasePlace } from "../store-url.js"
import { Unfolded } from "../unfolded.js"
import { withUnfolded } from "../with-unfolded.js"
import { AedesLayout } from "./aedes-layout.js"
import { collectionsOf, connect } from "./database.js"
import { databaseError, Superseded } from "./errors.js"
import { MongoJournal } from "./journal.js"
import { Lease, type Owner } from "./lease.js"
import { takeOver } from "./recovery.js"
import { MongoTables } from "./tables.js"
import type { Tenure } from "./tenure.js"

/** What is unfolded in memory before it is folded, in bytes, and how long after it came at the latest, in ms. */
const FOLD_BYTES = rule("MQTT_BROKER_TEST_FOLD_BYTES", 4 << 20)
const FOLD_MS = rule("MQTT_BROKER_TEST_FOLD_MS", 500)
const MOST_UNFOLDED_BYTES = 32 << 20

/** What the store of a database tells. */
export interface MongoOptions {
  /** how long its owner may be away before another broker takes over, in ms */
  leaseMs?: number
  /** told once, when another broker owns the database: this one stands by */
  standsBy?: (owner: Owner) => void
  /** ends the standing by */
  signal?: AbortSignal | undefined
  /** told when another broker took over: from then on nothing is acknowledged */
  superseded?: (error: BrokerError) => void
  /** told why something failed that is tried again */
  failing?: (why: string) => void
}

const LEASE_MS = 10_000
/** So much of it the lease holds; in the rest the next owner starts. */
const HELD_SHARE = 0.85

/**
 * `mongodb://…` keeps everything in a database: each commit is a document of its journal, and what is still needed later is in
 * collections that a person can read, into which the journal is folded in the background. One broker owns it at a time.
 */
export class MongoStore implements Store {
  private journal: MongoJournal | undefined = undefined
  private tables: MongoTables | undefined = undefined
  private folding: Folding | undefined = undefined
  private lastError: unknown = undefined
  private isSuperseded = false
  /** commits, one behind the other */
  private line: Promise<void> = Promise.resolve()
  private readonly tenure: Tenure
  private readonly shown: AedesLayout

  private constructor(
    private readonly place: DatabasePlace,
    private readonly client: MongoClient,
    private readonly lease: Lease,
    private readonly options: MongoOptions,
  ) {
    const db = client.db(place.database)
    const { epoch, owner, followsRelease } = lease
    const superseded = (): Error => new Superseded(place.shown)
    this.tenure = { db, collections: collectionsOf(db), epoch, owner, followsRelease, superseded }
    this.shown = new AedesLayout(db)
  }

  get url(): string {
    return this.place.shown
  }

  /** Resolves when this broker owns the database; until then it stands by. Throws a BrokerError, or what the signal says. */
  static async open(place: DatabasePlace, options: MongoOptions = {}): Promise<MongoStore> {
    const { signal, standsBy, leaseMs = LEASE_MS } = options
    let client: MongoClient | undefined
    try {
      client = await connect(place.connection)
      const db = client.db(place.database)
      const lease = await Lease.acquire(db, collectionsOf(db).lease, {
        length: leaseMs * HELD_SHARE,
        waits: (owner) => standsBy?.(owner),
        signal,
      })
      return new MongoStore(place, client, lease, options)
    } catch (error) {
      await client?.close().catch(() => {})
      throw signal?.aborted === true ? error : databaseError(place.shown, error)
    }
  }

  async load(): Promise<StoredState> {
    this.lease.keep(
      () => this.lost(),
      (why) => this.options.failing?.(`the lease of the database cannot be renewed: ${why}`),
    )
    try {
      return await this.loadAll()
    } catch (error) {
      throw error instanceof BrokerError ? error : databaseError(this.url, error)
    }
  }

  private async loadAll(): Promise<StoredState> {
    const { tenure, options } = this
    const { collections } = tenure
    await collections.packets.createIndex({ log: 1, _id: 1 })
    // as aedes-persistence-mongodb makes it
    await collections.retained.createIndex({ topic: 1 }, { unique: true, name: "query_topic" })
    const { commits, documents, last, state } = await takeOver(tenure)
    const unfolded = new Unfolded()
    for (const commit of commits) unfolded.apply(commit)
    await this.shown.open()
    const unreadable = (error: unknown): void => options.failing?.(`messages cannot be read now: ${messageOf(error)}`)
    const tables = (this.tables = new MongoTables(tenure, this.shown, unreadable))
    const stored = await tables.load(state.rowsFrom)
    const kept = documents.map(({ _id }) => _id)
    this.journal = new MongoJournal(tenure, last, kept)
    const frozen = last > state.folded ? { unfolded, through: last } : undefined
    const rules = { bytes: FOLD_BYTES, mostBytes: MOST_UNFOLDED_BYTES, ms: FOLD_MS }
    this.folding = new Folding({ journal: this.journal, tables, rules }, state.folded, frozen)
    return frozen ? withUnfolded(stored, unfolded) : stored
  }

  get trouble(): string | undefined {
    return this.lastError === undefined ? this.folding?.trouble : messageOf(this.lastError)
  }

  commit(commit: Commit): Promise<void> {
    const done = this.line.then(() => this.write(commit))
    this.line = done.catch(() => {})
    return done
  }

  private async write(commit: Commit): Promise<void> {
    const { folding } = this
    if (!folding) throw new Error("the store is not open")
    if (this.isSuperseded) await never()
    try {
      await folding.commit(commit)
      this.lastError = undefined
    } catch (error) {
      this.lastError = error
      if (error instanceof Superseded) {
        this.lost()
        await never()
      }
      throw error
    }
  }

  private lost(): void {
    if (this.isSuperseded) return
    this.isSuperseded = true
    this.options.superseded?.(new Superseded(this.url))
  }

  read(log: number, position: number, most: { chunks: number; bytes: number }): Maybe<StoredChunk[]> {
    return this.folding?.read(log, position, most) ?? []
  }

  async close(): Promise<void> {
    if (!this.isSuperseded) {
      await this.line
      try {
        await this.folding?.foldAll()
        await this.journal?.settled()
        await this.lease.release()
      } catch {
        // the next owner waits until the lease is over
      }
    }
    this.folding = undefined
    await this.lease.stop()
    await this.tables?.close()
    await this.shown.close()
    await this.client.close()
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}
