import { join } from "node:path"
import { inUse } from "./errors.js"
import { DATABASE } from "./folder.js"
import { openElsewhere } from "./open-files.js"
import type { Store } from "./store.js"
import type { TableOptions } from "./tables.js"
import type { StoreLocation } from "./store-url.js"

/** Opens the store; LMDB is loaded only when it is needed. Throws a BrokerError. */
export async function openStore(location: StoreLocation, options: TableOptions = {}): Promise<Store> {
  if (location.kind === "file") {
    if (await openElsewhere(join(location.folder, DATABASE))) throw inUse(location.folder)
    return new (await import("./file.js")).FileStore(location.folder, options)
  }
  return new (await import("./memory.js")).MemoryStore()
}
