import { readFileSync } from "node:fs"

/** The version in this package's package.json, two folders above the code that runs. */
export const VERSION: string = versionOf(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")))

function versionOf(manifest: unknown): string {
  if (typeof manifest === "object" && manifest !== null && "version" in manifest && typeof manifest.version === "string")
    return manifest.version
  return "unknown"
}
