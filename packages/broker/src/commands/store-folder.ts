import { usageError } from "@mqtt-trio/common"
import { parseStoreUrl } from "../stores/store-url.js"

/** Parses `--store` of a command that needs the store's folder. Throws a usage error. */
export function parseStoreFolder(text: string): string {
  const location = parseStoreUrl(text)
  if (location.kind !== "file") throw usageError("a memory: store has no folder to find its broker in", "use --store file:DIR")
  return location.folder
}
