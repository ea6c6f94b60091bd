import { getSystemErrorMap } from "node:util"
import { type Database, open, type RootDatabase } from "lmdb"
import { keepLocked } from "./locked.js"

export type Table = Database<Buffer, Buffer>

/** The LMDB environment of a file store. */
export interface Environment {
  root: RootDatabase<Buffer, Buffer>
  /** of a log that has them alone, or whose block is small */
  chunks: Table
  /** chunks whose block is a body */
  references: Table
  /** blocks that several logs have */
  bodies: Table
  /** how many references a body has */
  sharers: Table
  /** chunks of format 1 */
  logs: Table
  sessions: Table
  subscriptions: Table
  cursors: Table
  incoming: Table
  retained: Table
  wills: Table
  meta: Table
}

/** The tables of messages. */
export type MessageTables = Pick<Environment, "root" | "chunks" | "references" | "bodies" | "sharers">

export type TableName = Exclude<keyof Environment, "root">

/** Opens it, or makes it when it is not there. */
export function openEnvironment(file: string): Environment {
  const binary = { encoding: "binary", keyEncoding: "binary" } as const
  // without overlappingSync the promise of a write resolves after fdatasync, not before
  const root: RootDatabase<Buffer, Buffer> = open({ path: file, ...binary, overlappingSync: false, maxDbs: 16, noMemInit: true })
  watchWrites(root)
  if (!process.listeners("unhandledRejection").includes(passFailedCommit)) {
    process.on("unhandledRejection", passFailedCommit)
    process.on("rejectionHandled", () => {}) // the binding does it, late; without this Node.js prints a warning
  }
  // made in one transaction: each of its own would wait for the disk
  return root.transactionSync(() => ({
    root,
    chunks: root.openDB("chunks", binary),
    references: root.openDB("references", binary),
    bodies: root.openDB("bodies", binary),
    sharers: root.openDB("sharers", binary),
    logs: root.openDB("logs", binary),
    sessions: root.openDB("sessions", binary),
    subscriptions: root.openDB("subscriptions", binary),
    cursors: root.openDB("cursors", binary),
    incoming: root.openDB("incoming", binary),
    retained: root.openDB("retained", binary),
    wills: root.openDB("wills", binary),
    meta: root.openDB("meta", binary),
  }))
}

/** Opens it in another thread, to read what is committed. */
export function openToRead(file: string): MessageTables {
  const binary = { encoding: "binary", keyEncoding: "binary" } as const
  const root: RootDatabase<Buffer, Buffer> = open({ path: file, ...binary, readOnly: true, maxDbs: 16, noMemInit: true })
  return {
    root,
    chunks: root.openDB("chunks", binary),
    references: root.openDB("references", binary),
    bodies: root.openDB("bodies", binary),
    sharers: root.openDB("sharers", binary),
  }
}

/** Transactions that wrote, in this process: who waits for some sees by it that they go on. */
export const transactions = { ended: 0 }

/** Those who wait for a transaction: told when one could not begin, of which the binding tells nobody. */
const waiting = new Set<(error: unknown) => void>()
/** A promise of the binding; rejects also when its transaction could not begin. */
export function orNotBegun<T>(written: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    waiting.add(reject)
    void written.then(resolve, reject).finally(() => waiting.delete(reject))
  })
}

/** How the binding writes: told when a transaction ended, 0 to 2: as it should, else an error number. */
interface Writer {
  startWriting(address: number, ended: (status: number) => unknown): void
}

/**
 * Stands between the two halves of the binding. It prints the stack of an error that is told to us as well; and when a
 * transaction cannot begin it tells nobody, and keeps a lock: then the environment is left as it is and a new one is opened.
 */
function watchWrites(root: RootDatabase<Buffer, Buffer>): void {
  const writer: Writer = Reflect.get(root, "env")
  let isTold = false
  root.on("aftercommit", () => {
    isTold = true
  })
  const startWriting = writer.startWriting.bind(writer)
  const value: Writer["startWriting"] = (address, ended) =>
    startWriting(address, (status) => {
      const failed = status < 0 || status > 2
      isTold = false
      const result = failed ? silently(() => ended(status)) : ended(status)
      transactions.ended++
      if (failed && !isTold) cannotBegin(root, status)
      return result
    })
  Object.defineProperty(writer, "startWriting", { value })
}

function cannotBegin(root: RootDatabase<Buffer, Buffer>, status: number): void {
  root.close = async () => {}
  keepLocked(root)
  const [name, words] = getSystemErrorMap().get(-status) ?? [`MDB ${status}`, "LMDB refuses it"]
  const error = new Error(`a transaction cannot begin: ${words} (${name})`)
  for (const tell of waiting) tell(error)
}

/** Without what it prints. */
function silently<T>(work: () => T): T {
  const { error } = console
  console.error = () => {} // oxlint-disable-line no-console -- the binding's, for as long as it is called
  try {
    return work()
  } finally {
    console.error = error // oxlint-disable-line no-console
  }
}

/** How many bytes of the file belong to no tree: they are written again before the file grows. 0 when it cannot be read now. */
export function unusedBytes({ root, ...tables }: Environment): number {
  try {
    const main: { lastPageNumber?: number; pageSize?: number; free?: object } = root.getStats()
    const trees = [main, main.free ?? {}, ...Object.values(tables).map((table) => table.getStats())]
    const used = trees.reduce((sum: number, tree) => sum + pagesOf(tree), META_PAGES)
    return ((main.lastPageNumber ?? 0) + 1 - used) * (main.pageSize ?? 0)
  } catch {
    return 0
  }
}

const META_PAGES = 2

/** Of what the binding counts of a tree. */
function pagesOf(tree: { treeBranchPageCount?: number; treeLeafPageCount?: number; overflowPages?: number }): number {
  const { treeBranchPageCount = 0, treeLeafPageCount = 0, overflowPages = 0 } = tree
  return treeBranchPageCount + treeLeafPageCount + overflowPages
}

/** A failed commit rejects a promise inside the binding that nobody can reach: that one is passed over, no other. */
function passFailedCommit(reason: unknown): void {
  if (!(reason instanceof Error && "commitError" in reason)) throw reason
}

/** Why a commit failed. LMDB's binding says so by a second promise, whose rejection nobody else handles. */
export async function reasonOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !("commitError" in error)) return error
  try {
    await error.commitError
  } catch (reason) {
    return reason
  }
  return error
}
