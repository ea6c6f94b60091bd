import { spawnSync } from "node:child_process"
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { temporaryFolder } from "@mqtt-trio/testing"
import type { End } from "./mortal-store.js"

const SOURCES = ["disk.c", "disk-image.c", "disk-orders.c", "disk-calls.c"].map((name) => fileURLToPath(new URL(name, import.meta.url)))

/** Where and how the disk misbehaves; see disk.c. */
export interface DiskOptions {
  /** The folder that is kept as a power cut would leave the store. */
  image?: string
  /** What of the writes that were not synced is in the image. Default: nothing. */
  tear?: "half" | "random"
  lieAfter?: number
  delayMs?: number
  /** The process dies at the point that this file names: `before 1`, `fold-after 2`. */
  die?: string
  /** While this file exists, what it names fails with the error number behind it, or hangs with -1: `sync 5`, `commit,open -1`. */
  fail?: string
}

/** Thresholds of the journal so small that a short test sees folds come and go, and a new segment with each of them. */
export function tinyJournal(foldBytes: number): Record<string, string> {
  return {
    MQTT_BROKER_TEST_FOLD_BYTES: String(foldBytes),
    MQTT_BROKER_TEST_SEGMENT_BYTES: String(4 * foldBytes),
    MQTT_BROKER_TEST_COPIED_BYTES: "0",
  }
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
  const flags = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"]
  const result = spawnSync("gcc", [...flags, "-o", library, ...SOURCES, "-ldl", "-lpthread"])
  if (result.status !== 0) throw new Error(`disk.c: ${result.stderr.toString()}`)
  return library
}

/** The environment that puts the disk under a broker. */
export function diskEnvironment(library: string, options: DiskOptions): Record<string, string> {
  const { image, tear, lieAfter, delayMs, die, fail } = options
  return {
    LD_PRELOAD: library,
    ...(image !== undefined && { DISK_IMAGE: image }),
    ...(tear !== undefined && { DISK_TEAR: tear }),
    ...(lieAfter !== undefined && { DISK_LIE_AFTER: String(lieAfter) }),
    ...(delayMs !== undefined && { DISK_DELAY_MS: String(delayMs) }),
    ...(die !== undefined && { DISK_DIE: die }),
    ...(fail !== undefined && { DISK_FAIL: fail }),
  }
}

/** Makes the folder of a store whose process ended and its image alike again, as the next life of the process needs them. */
export function afterEnd(end: End, { store, image }: { store: string; image: string }): void {
  const [from, to] = end === "power" ? [image, store] : [store, image]
  rmSync(to, { recursive: true, force: true })
  mkdirSync(to, { mode: 0o700 })
  for (const name of existsSync(from) ? readdirSync(from) : []) {
    if (name.startsWith(".new-")) rmSync(join(from, name))
    if (/^(mqtt-broker\.mdb|journal\.\d+)$/.test(name)) copyFileSync(join(from, name), join(to, name))
  }
}
