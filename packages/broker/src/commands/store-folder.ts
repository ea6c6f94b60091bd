import { usageError, value } from "@mqtt-trio/common"
import { defaultStoreUrl, parseStoreUrl, type StoreLocation } from "../stores/store-url.js"

/** Parses `--store` of a command that needs the store's folder. Throws a usage error. */
export function parseStoreFolder(text: string): string {
  const location = parseStoreUrl(text)
  if (location.kind !== "file")
    throw usageError(
      `a ${location.kind}: store has no folder to find its broker in`,
      location.kind === "mongodb" ? "use the database's own tools" : "use --store file:DIR",
    )
  return location.folder
}

/** Where the broker that runs on a store is reached by local tools: a folder with its socket. Throws a BrokerError. */
export async function adminFolder(location: RunningStore): Promise<string> {
  return location.kind === "file" ? location.folder : (await import("../stores/mongodb/find-owner.js")).adminFolderOf(location)
}

/** A store whose broker can be found. */
type RunningStore = Exclude<StoreLocation, { kind: "memory" }>

function parseRunningStore(text: string): RunningStore {
  const location = parseStoreUrl(text)
  if (location.kind === "memory")
    throw usageError("a memory: store has no place to find its broker in", "use --store file:DIR or mongodb://…")
  return location
}

/** `--store` of a command that asks the running broker. */
export const RUNNING_STORE = value({
  flags: "--store <url>",
  help: "the running broker's store: file:DIR or mongodb://…",
  group: "Store",
  env: "MQTT_BROKER_STORE",
  parse: parseRunningStore,
  fallback: parseRunningStore(defaultStoreUrl()),
  defaultText: "file: in this user's data folder",
})

/** `--store` of a command about one folder; `help` says whose it is. */
export function storeOption(help: string) {
  return value({
    flags: "--store <url>",
    help,
    group: "Store",
    env: "MQTT_BROKER_STORE",
    parse: parseStoreFolder,
    fallback: parseStoreFolder(defaultStoreUrl()),
    defaultText: "file: in this user's data folder",
  })
}
