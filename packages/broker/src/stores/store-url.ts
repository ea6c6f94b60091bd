import { isAbsolute, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import envPaths from "env-paths"
import { usageError } from "@mqtt-trio/common"

/** Where the queues are kept. */
export type StoreLocation = { kind: "memory" } | { kind: "file"; folder: string } | ({ kind: "mongodb" } & DatabasePlace)

/** A database of a MongoDB server. */
export interface DatabasePlace {
  /** the URL as it was given, for the driver: it may have a password */
  connection: string
  /** without what is nobody's business, for people */
  shown: string
  /** its name */
  database: string
}

const DEFAULT_DATABASE = "mqtt"
/** scheme, credentials, hosts, database, options */
const MONGODB_URL = /^(mongodb(?:\+srv)?):\/\/(?:[^@/]*@)?((?:[^@/?,:][^@/?,]*)(?:,[^@/?,:][^@/?,]*)*)(?:\/([^/?]*))?(?:\?.*)?$/

/** The default: a folder of this user's, where the platform keeps application data. */
export function defaultStoreUrl(): string {
  return `file:${join(envPaths("mqtt-broker", { suffix: "" }).data, "store")}`
}

/** A location as a URL. */
export function storeUrl(location: StoreLocation): string {
  if (location.kind === "mongodb") return location.shown
  return location.kind === "file" ? `file:${location.folder}` : "memory:"
}

/** Parses `--store`: `memory:`, `file:DIR` with a path relative to the working directory, or a URL of MongoDB. Throws a usage error. */
export function parseStoreUrl(text: string): StoreLocation {
  if (text === "memory:" || text === "memory") return { kind: "memory" }
  if (text.startsWith("mongodb")) return parseDatabaseUrl(text)
  if (text.startsWith("file:///")) return { kind: "file", folder: fileURLToPath(text) }
  const path = text.startsWith("file:") ? text.slice("file:".length) : ""
  if (path === "" || path.startsWith("//"))
    throw usageError(`store ${JSON.stringify(text)} is not a store's URL`, "use file:DIR, mongodb://HOST:PORT/DATABASE, or memory:")
  return { kind: "file", folder: isAbsolute(path) ? path : resolve(path) }
}

function parseDatabaseUrl(connection: string): StoreLocation {
  const [, scheme = "", hosts = "", path = ""] = MONGODB_URL.exec(connection) ?? []
  const database = decoded(path) || DEFAULT_DATABASE
  // what was given is not repeated: it may have a password
  if (hosts && !/^[^/\\. "$*<>:|?\0]{1,63}$/.test(database))
    throw usageError(
      `${JSON.stringify(path)} in the store's URL is not the name of a database`,
      'use at most 63 characters, without blanks and / \\ . " $ * < > : | ?',
    )
  if (!hosts)
    throw usageError(
      "the store is not a URL of MongoDB",
      "use mongodb://HOST:PORT/DATABASE; special characters of a user name or a password are written as %XX",
    )
  return { kind: "mongodb", connection, shown: `${scheme}://${hosts}/${encodeURIComponent(database)}`, database }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return "/"
  }
}
