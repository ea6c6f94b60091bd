import { chmodSync, existsSync } from "node:fs"
import { join } from "node:path"
import { messageOf } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import { copyStore } from "./copy-store.js"
import { DiskGuard } from "./disk-guard.js"
import { openEnvironment, reasonOf, type Environment } from "./environment.js"
import { storeError } from "./errors.js"
import { DATABASE } from "./folder.js"
import { bringUpToDate } from "./formats.js"
import { Folding, rule } from "./folding.js"
import { Journal } from "./journal/journal.js"
import { makeDurable, readJournal } from "./journal/recovery.js"
import { Overdue, type OverdueEvents } from "./overdue.js"
import { Room, type RoomEvents } from "./room.js"
import type { Commit, Maybe, Store, StoredChunk, StoredState } from "./store.js"
import { type TableOptions, Tables } from "./tables.js"
import { Unfolded } from "./unfolded.js"
import { withUnfolded } from "./with-unfolded.js"

/** How large a segment of the journal becomes, and what may be unfolded in memory before it is folded, in bytes. */
const SEGMENT_BYTES = rule("MQTT_BROKER_TEST_SEGMENT_BYTES", 64 << 20)
const FOLD_BYTES = rule("MQTT_BROKER_TEST_FOLD_BYTES", 8 << 20)
/** Beyond so much that is unfolded in memory, or in one segment, a commit waits for the fold. */
const MOST_UNFOLDED_BYTES = 4 * FOLD_BYTES
const MOST_SEGMENT_BYTES = 4 * SEGMENT_BYTES

/** How a file store may be different. */
export interface FileOptions extends TableOptions, RoomEvents, OverdueEvents {
  /** most bytes that it may take; undefined: what the disk has */
  maxStore?: number | undefined
}

/**
 * `file:DIR` keeps everything in that folder: each commit in a journal, one write and one fdatasync; and what is still needed
 * later in tables, an LMDB environment, into which the journal is folded in the background.
 */
export class FileStore implements Store {
  readonly url: string
  private readonly environment: Environment
  private readonly disk: DiskGuard
  private readonly tables: Tables
  private readonly space: Room
  private readonly overdue: Overdue
  /** since when the commit under way waits, by the monotonic clock in ms */
  private commitSince: number | undefined = undefined
  private journal: Journal | undefined = undefined
  private folding: Folding | undefined = undefined
  /** copies of it that are being made */
  private copies: Promise<unknown> = Promise.resolve()
  /** commits, one behind the other */
  private line: Promise<void> = Promise.resolve()

  /**
   * Throws a storeError when it cannot be used.
   * @param folder its name
   * @param path where it is, with a file of tables that was checked, or none
   */
  constructor(
    private readonly folder: string,
    private readonly path: string,
    private readonly options: FileOptions,
  ) {
    const file = join(this.path, DATABASE)
    this.url = `file:${folder}`
    try {
      this.environment = openEnvironment(file)
      // LMDB takes no mode: messages are for their owner alone
      for (const one of [file, `${file}-lock`]) if (existsSync(one)) chmodSync(one, 0o600)
      this.disk = new DiskGuard(file, () => this.journal?.size ?? 0)
      this.tables = new Tables(file, this.environment, this.disk, options)
    } catch (error) {
      throw storeError(folder, error)
    }
    const space = {
      free: () => this.disk.free,
      used: () => this.disk.size + (this.journal?.size ?? 0),
      unfolded: () => this.folding?.bytes ?? 0,
      unused: () => this.tables.unusedBytes,
    }
    this.space = new Room(space, options.maxStore, options)
    this.overdue = new Overdue(folder, () => ({ commitSince: this.commitSince, foldSince: this.folding?.since }), options)
  }

  async load(): Promise<StoredState> {
    try {
      return await this.loadAll()
    } catch (error) {
      throw error instanceof BrokerError ? error : storeError(this.folder, await reasonOf(error))
    }
  }

  private async loadAll(): Promise<StoredState> {
    await this.disk.look().catch(() => {}) // `trouble` says so
    await bringUpToDate(this.environment)
    const { folded } = this.tables
    const unfolded = new Unfolded()
    const secret = await this.tables.secret()
    const end = readJournal(this.path, { folded, secret }, (commit) => unfolded.apply(commit))
    const state = this.tables.load() // it knows then which logs have rows
    const journal = new Journal(this.path, SEGMENT_BYTES, end)
    this.journal = journal
    if (end.sequence > folded) makeDurable(this.path, end)
    const rules = {
      bytes: FOLD_BYTES,
      mostBytes: MOST_UNFOLDED_BYTES,
      journalFull: () => journal.isFull,
      journalOverfull: () => journal.bytes > MOST_SEGMENT_BYTES,
    }
    const frozen = end.sequence > folded ? { unfolded, through: end.sequence } : undefined
    this.folding = new Folding({ journal, tables: this.tables, rules }, folded, frozen)
    return frozen ? withUnfolded(state, unfolded) : state
  }

  get trouble(): string | undefined {
    const { trouble } = this.disk
    return trouble === undefined ? this.folding?.trouble : messageOf(trouble)
  }

  hasRoom(bytes: number): boolean {
    if (this.space.has(bytes)) return true
    this.disk.look().catch(() => {}) // no commit may come that looks
    this.folding?.hasten()
    this.journal?.giveBack()
    return false
  }

  commit(commit: Commit): Promise<void> {
    const done = this.line.then(() => this.write(commit))
    this.line = done.catch(() => {})
    return done
  }

  private async write(commit: Commit): Promise<void> {
    const { journal, folding } = this
    if (!journal || !folding) throw new Error("the store is not open")
    this.commitSince = performance.now()
    try {
      await this.disk.check(journal.file)
      await folding.commit(commit)
    } finally {
      this.commitSince = undefined
    }
  }

  read(log: number, position: number, most: { chunks: number; bytes: number }): Maybe<StoredChunk[]> {
    return this.folding?.read(log, position, most) ?? []
  }

  async backup(folder: string): Promise<void> {
    const { journal, tables } = this
    if (!journal) throw new Error("the store is not open")
    const copy = copyStore({ journal, tables }, folder)
    this.copies = Promise.allSettled([this.copies, copy])
    await copy
  }

  async close(): Promise<void> {
    await this.line
    await this.copies
    try {
      await this.folding?.foldAll()
      await this.journal?.end()
    } catch {
      await this.journal?.close() // it is folded at the next start
    }
    this.folding?.stop()
    this.overdue.stop()
    this.space.close()
    this.journal = undefined
    await this.tables.close()
  }
}
