import { type Database, open, type RootDatabase } from "lmdb"

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
  if (!process.listeners("unhandledRejection").includes(passFailedCommit)) process.on("unhandledRejection", passFailedCommit)
  return {
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
  }
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
