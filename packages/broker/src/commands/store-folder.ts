import { usageError, value } from "@mqtt-trio/common"
import { defaultStoreUrl, parseStoreUrl } from "../stores/store-url.js"

/** Parses `--store` of a command that needs the store's folder. Throws a usage error. */
export function parseStoreFolder(text: string): string {
  const location = parseStoreUrl(text)
  if (location.kind !== "file") throw usageError(`a ${location.kind}: store has no folder to find its broker in`, "use --store file:DIR")
  return location.folder
}

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
