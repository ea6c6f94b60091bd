import { statSync } from "node:fs"
import { join } from "node:path"
import { checkFile } from "./check-file.js"
import { checkSpace } from "./disk-guard.js"
import { inUse, storeError } from "./errors.js"
import { DATABASE, prepareFolder } from "./folder.js"
import { openElsewhere } from "./open-files.js"
import type { MongoOptions } from "./mongodb/mongo-store.js"
import type { Store } from "./store.js"
import type { StoreLocation } from "./store-url.js"
import type { FileOptions } from "./file.js"

export interface StoreOptions extends FileOptions, MongoOptions {
  /** told when the space of what was removed was given back, in bytes */
  compacted?(sizes: { before: number; after: number }): void
  /** told when that could not be done */
  notCompacted?(error: unknown): void
}

/** Opens the store; what only one kind needs is loaded only then. Throws a BrokerError. */
export async function openStore(location: StoreLocation, options: StoreOptions = {}): Promise<Store> {
  if (location.kind === "memory") return new (await import("./memory.js")).MemoryStore()
  if (location.kind === "mongodb") return (await import("./mongodb/mongo-store.js")).MongoStore.open(location, options)
  const { folder } = location
  if (await openElsewhere(join(folder, DATABASE))) throw inUse(folder)
  const path = prepareFolder(folder)
  try {
    await lookOver(path, options)
  } catch (error) {
    throw storeError(folder, error)
  }
  return new (await import("./file.js")).FileStore(folder, path, options)
}

/** Before LMDB sees the file of tables: whether it is whole, and whether most of it is free. */
async function lookOver(path: string, options: StoreOptions): Promise<void> {
  const size = checkFile(join(path, DATABASE))
  if (!size) return
  // LMDB writes to it through a mapping, and dies when the disk has no space for what was not there
  if (!statSync(join(path, `${DATABASE}-lock`), { throwIfNoEntry: false })?.blocks) checkSpace(path)
  const { compact, isMostlyFree } = await import("./compact.js")
  if (!isMostlyFree(size)) return
  try {
    options.compacted?.({ before: size.bytes, after: await compact(path, size) })
  } catch (error) {
    options.notCompacted?.(error)
  }
}
