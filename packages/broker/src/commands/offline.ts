import { existsSync, realpathSync } from "node:fs"
import { join } from "node:path"
import { quoted } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import { inUse, storeError } from "../stores/errors.js"
import { checkPrivate, DATABASE } from "../stores/folder.js"
import { lockFolder } from "../stores/folder-lock.js"
import { openElsewhere } from "../stores/open-files.js"

/** Does something to a store's folder that no broker uses meanwhile. Throws a BrokerError when one does, or when it cannot be done. */
export async function withFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  if (!existsSync(folder))
    throw new BrokerError("store-unusable", `there is no folder ${quoted(folder)}`, {
      hint: "say where the store is with --store file:DIR",
    })
  try {
    checkPrivate(realpathSync.native(folder))
  } catch (error) {
    throw storeError(folder, error)
  }
  const lock = await lockFolder(folder).catch((error: unknown) => {
    throw error instanceof BrokerError && error.code === "store-in-use" ? toStop(error) : error
  })
  try {
    if (await openElsewhere(join(folder, DATABASE))) throw toStop(inUse(folder))
    return await work()
  } catch (error) {
    throw error instanceof BrokerError ? error : storeError(folder, error)
  } finally {
    lock.close()
  }
}

function toStop(error: BrokerError): BrokerError {
  return new BrokerError("store-in-use", error.message, { hint: "stop it first", cause: error })
}
