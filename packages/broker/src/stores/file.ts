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
import { Journal } from "./journal/journal.js"
import { makeDurable, readJournal } from "./journal/recovery.js"
import type { Commit, Maybe, Store, StoredChunk, StoredState } from "./store.js"
import { type TableOptions, Tables } from "./tables.js"
import { Unfolded } from "./unfolded.js"
import { withUnfolded } from "./with-unfolded.js"

/** How large a segment of the journal becomes, and what may be unfolded in memory before it is folded, in bytes. */
const SEGMENT_BYTES = size("MQTT_BROKER_TEST_SEGMENT_BYTES", 64 << 20)
const FOLD_BYTES = size("MQTT_BROKER_TEST_FOLD_BYTES", 8 << 20)
/** Beyond so much that is unfolded in memory, or in one segment, a commit waits for the fold. */
const MOST_UNFOLDED_BYTES = 4 * FOLD_BYTES
const MOST_SEGMENT_BYTES = 4 * SEGMENT_BYTES
/** When a fold that failed is tried again, in ms. */
const RETRY_MS = 1000

/**
 * `file:DIR` keeps everything in that folder: each commit in a journal, one write and one fdatasync; and what is still needed
 * later in tables, an LMDB environment, into which the journal is folded in the background.
 */
export class FileStore implements Store {
  readonly url: string
  private readonly environment: Environment
  private readonly disk: DiskGuard
  private readonly tables: Tables
  private journal: Journal | undefined = undefined
  /** what the journal has and the tables have not */
  private active = new Unfolded()
  /** what is being folded, and the last sequence that is in it */
  private frozen: { unfolded: Unfolded; through: number } | undefined = undefined
  private folding: Promise<void> | undefined = undefined
  /** the last sequence that is in the tables */
  private folded = 0
  private foldError: unknown = undefined
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
    options: TableOptions,
  ) {
    const file = join(this.path, DATABASE)
    this.url = `file:${folder}`
    try {
      this.environment = openEnvironment(file)
      // LMDB takes no mode: messages are for their owner alone
      for (const one of [file, `${file}-lock`]) if (existsSync(one)) chmodSync(one, 0o600)
      this.disk = new DiskGuard(file)
      this.tables = new Tables(file, this.environment, this.disk, options)
    } catch (error) {
      throw storeError(folder, error)
    }
  }

  async load(): Promise<StoredState> {
    try {
      return await this.loadAll()
    } catch (error) {
      throw error instanceof BrokerError ? error : storeError(this.folder, await reasonOf(error))
    }
  }

  private async loadAll(): Promise<StoredState> {
    await bringUpToDate(this.environment)
    const { folded } = this.tables
    const unfolded = new Unfolded()
    const secret = await this.tables.secret()
    const end = readJournal(this.path, { folded, secret }, (commit) => unfolded.apply(commit))
    const state = this.tables.load() // it knows then which logs have rows
    this.folded = folded
    this.journal = new Journal(this.path, SEGMENT_BYTES, end)
    if (end.sequence === folded) return state
    makeDurable(this.path, end)
    this.frozen = { unfolded, through: end.sequence }
    this.foldLater()
    return withUnfolded(state, unfolded)
  }

  get trouble(): string | undefined {
    try {
      this.disk.check()
      return this.foldError === undefined ? undefined : messageOf(this.foldError)
    } catch (error) {
      return messageOf(error)
    }
  }

  commit(commit: Commit): Promise<void> {
    const done = this.line.then(() => this.write(commit))
    this.line = done.catch(() => {})
    return done
  }

  private async write(commit: Commit): Promise<void> {
    const { journal } = this
    if (!journal) throw new Error("the store is not open")
    this.disk.check(journal.file)
    while (this.active.bytes > MOST_UNFOLDED_BYTES || journal.bytes > MOST_SEGMENT_BYTES) await this.fold() // oxlint-disable-line no-await-in-loop -- until there is room
    await journal.append(commit)
    this.active.apply(commit)
    if (!this.folding && this.foldError === undefined && (this.active.bytes > FOLD_BYTES || journal.isFull)) this.foldLater()
  }

  private foldLater(): void {
    this.fold().catch(() => {
      setTimeout(() => {
        if (this.frozen) this.foldLater() // else a commit that waited has done it
      }, RETRY_MS).unref()
    })
  }

  /** Brings what is unfolded into the tables, while commits go on. Rejects when that failed; then it is still in the journal. */
  private fold(): Promise<void> {
    this.folding ??= this.foldOnce().finally(() => {
      this.folding = undefined
    })
    return this.folding
  }

  private async foldOnce(): Promise<void> {
    const { journal } = this
    if (!journal) return
    if (!this.frozen) {
      this.frozen = { unfolded: this.active, through: journal.turn() }
      this.active = new Unfolded()
    }
    const { unfolded, through } = this.frozen
    try {
      await this.tables.fold(unfolded, through, (log) => this.active.cuts.get(log) ?? 0)
    } catch (error) {
      this.foldError = error
      throw error
    }
    this.frozen = undefined
    this.folded = through
    this.foldError = undefined
    journal.release(through)
  }

  read(log: number, position: number, most: { chunks: number; bytes: number }): Maybe<StoredChunk[]> {
    return this.tables.has(log, position) ? this.readTables(log, position, most) : this.readMemory(log, position, most)
  }

  private async readTables(log: number, position: number, most: { chunks: number; bytes: number }): Promise<StoredChunk[]> {
    while (this.tables.has(log, position)) {
      // oxlint-disable-next-line no-await-in-loop -- asked again only when it changed meanwhile
      const found = await this.tables.read(log, position, most)
      if (found.length) return found
    }
    return this.readMemory(log, position, most)
  }

  private readMemory(log: number, position: number, most: { chunks: number; bytes: number }): StoredChunk[] {
    const found = this.frozen?.unfolded.read(log, position, most) ?? []
    const chunks = most.chunks - found.length
    const bytes = found.reduce((left, { value }) => left - value.length, most.bytes)
    return chunks > 0 && bytes > 0 ? [...found, ...this.active.read(log, position, { chunks, bytes })] : found
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
      await this.folding?.catch(() => {})
      while (this.journal && this.journal.last > this.folded) await this.fold() // oxlint-disable-line no-await-in-loop -- one behind the other
      await this.journal?.end()
    } catch {
      await this.journal?.close() // it is folded at the next start
    }
    this.journal = undefined
    await this.tables.close()
  }
}

/** A size in bytes; the tests make it small, so that much happens in little time. */
function size(variable: string, otherwise: number): number {
  return Number(process.env[variable] ?? otherwise)
}
