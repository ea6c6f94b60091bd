import { readFileSync } from "node:fs"

/** The version in a package.json; "unknown" when it has none. Throws the system's error when it cannot be read. */
export function packageVersion(manifest: URL): string {
  const value: unknown = JSON.parse(readFileSync(manifest, "utf8"))
  return typeof value === "object" && value !== null && "version" in value && typeof value.version === "string" ? value.version : "unknown"
}
