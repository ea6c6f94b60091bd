import { join } from "node:path"
import { BrokerError } from "../errors.js"
import { inUse, storeError } from "../stores/errors.js"
import { DATABASE } from "../stores/folder.js"
import { lockFolder } from "../stores/folder-lock.js"
import { openElsewhere } from "../stores/open-files.js"

/** Does something to a store's folder that no broker uses meanwhile. Throws a BrokerError when one does, or when it cannot be done. */
export async function withFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const lock = await lockFolder(folder)
  try {
    if (await openElsewhere(join(folder, DATABASE))) throw inUse(folder)
    return await work()
  } catch (error) {
    throw error instanceof BrokerError ? error : storeError(folder, error)
  } finally {
    lock.close()
  }
}
