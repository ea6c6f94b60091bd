import { isAbsolute, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import envPaths from "env-paths"
import { usageError } from "@mqtt-trio/common"

/** Where the queues are kept. */
export type StoreLocation = { kind: "memory" } | { kind: "file"; folder: string }

/** The default: a folder of this user's, where the platform keeps application data. */
export function defaultStoreUrl(): string {
  return `file:${join(envPaths("mqtt-broker", { suffix: "" }).data, "store")}`
}

/** A location as a URL. */
export function storeUrl(location: StoreLocation): string {
  return location.kind === "file" ? `file:${location.folder}` : "memory:"
}

/** Parses `--store`: `memory:`, or `file:DIR` with a path relative to the working directory. Throws a usage error. */
export function parseStoreUrl(text: string): StoreLocation {
  if (text === "memory:" || text === "memory") return { kind: "memory" }
  if (text.startsWith("file:///")) return { kind: "file", folder: fileURLToPath(text) }
  const path = text.startsWith("file:") ? text.slice("file:".length) : ""
  if (path === "" || path.startsWith("//"))
    throw usageError(`store ${JSON.stringify(text)} is not a store's URL`, "use file:DIR or memory:")
  return { kind: "file", folder: isAbsolute(path) ? path : resolve(path) }
}
