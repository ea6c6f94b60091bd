import { mkdirSync, readdirSync } from "node:fs"
import { dirname } from "node:path"
import { systemCode } from "@mqtt-trio/common"

/**
 * Makes a folder for its owner alone, and those above it that are missing. Throws the system's error. One level at a
 * time: mkdirSync's own recursion never ends in a folder that refuses new entries with ENOENT, such as /proc.
 */
export function makeFolder(folder: string): void {
  if (made(folder)) return
  const parent = dirname(folder)
  if (parent !== folder) makeFolder(parent)
  mkdirSync(folder, { mode: 0o700 })
}

function made(folder: string): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 })
    return true
  } catch (error) {
    const code = systemCode(error)
    if (code === "EEXIST") {
      readdirSync(folder) // ENOTDIR when it is a file
      return true
    }
    if (code === "ENOENT") return false
    throw error
  }
}
