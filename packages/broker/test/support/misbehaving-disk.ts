import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { temporaryFolder } from "@mqtt-trio/testing"

const SOURCE = fileURLToPath(new URL("disk.c", import.meta.url))

/** Where and how the disk misbehaves; see disk.c. */
export interface DiskOptions {
  image?: string
  lieAfter?: number
  delayMs?: number
  /** The process dies before or after a commit that this file names: `before 1`. */
  die?: string
  /** While this file exists, what it names fails with the error number behind it: `sync 5`, `commit,open 5`. */
  fail?: string
}

/** True when a C compiler is there. Throws when it is missing and CI is set: there a skipped test must not pass for a green one. */
export function hasCompiler(): boolean {
  const found = process.platform === "linux" && spawnSync("gcc", ["--version"]).status === 0
  if (!found && (process.env["CI"] ?? "") !== "") throw new Error("gcc on Linux is needed on CI")
  if (!found) process.stderr.write("SKIPPED: the tests of a misbehaving disk need gcc on Linux\n")
  return found
}

/** Compiles the library into a temporary folder and returns its path. */
export function compileDisk(): string {
  const library = join(temporaryFolder(), "disk.so")
  const result = spawnSync("gcc", ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl", "-lpthread"])
  if (result.status !== 0) throw new Error(`disk.c: ${result.stderr.toString()}`)
  return library
}

/** The environment that puts the disk under a broker. */
export function diskEnvironment(library: string, options: DiskOptions): Record<string, string> {
  const { image, lieAfter, delayMs, die, fail } = options
  return {
    LD_PRELOAD: library,
    DISK_FILE: "mqtt-broker.mdb",
    ...(image !== undefined && { DISK_IMAGE: image }),
    ...(lieAfter !== undefined && { DISK_LIE_AFTER: String(lieAfter) }),
    ...(delayMs !== undefined && { DISK_DELAY_MS: String(delayMs) }),
    ...(die !== undefined && { DISK_DIE: die }),
    ...(fail !== undefined && { DISK_FAIL: fail }),
  }
}
