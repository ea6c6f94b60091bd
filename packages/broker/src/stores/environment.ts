import { type Database, open, type RootDatabase } from "lmdb"

export type Table = Database<Buffer, Buffer>

/** The LMDB environment of a file store. */
export interface Environment {
  root: RootDatabase<Buffer, Buffer>
  logs: Table
  sessions: Table
  subscriptions: Table
  cursors: Table
  incoming: Table
  retained: Table
  wills: Table
  meta: Table
}

/** Opens it, or makes it when it is not there. */
export function openEnvironment(file: string): Environment {
  const binary = { encoding: "binary", keyEncoding: "binary" } as const
  // without overlappingSync the promise of a write resolves after fdatasync, not before
  const root: RootDatabase<Buffer, Buffer> = open({ path: file, ...binary, overlappingSync: false, maxDbs: 16, noMemInit: true })
  return {
    root,
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
