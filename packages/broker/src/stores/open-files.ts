import { readFileSync, statSync } from "node:fs"
import { setTimeout as after } from "node:timers/promises"

/** A process that was killed keeps its locks for a moment after its sockets are closed. */
const DYING_MS = 1000
const LOOK_MS = 20

/**
 * Whether another process has an LMDB file open: it locks the file's companion for as long. Only Linux tells who locks
 * what; elsewhere false. The last defence behind the folder's lock, for one that somebody removed.
 */
export async function openElsewhere(file: string): Promise<boolean> {
  for (const end = performance.now() + DYING_MS; lockedElsewhere(`${file}-lock`);) {
    if (performance.now() > end) return true
    // oxlint-disable-next-line no-await-in-loop -- waiting is the point
    await after(LOOK_MS)
  }
  return false
}

function lockedElsewhere(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found) return false
  const major = (found.dev >>> 8) & 0xfff
  const minor = (found.dev & 0xff) | ((found.dev >>> 12) & 0xfff00)
  const [high, low] = [major, minor].map((part) => part.toString(16).padStart(2, "0"))
  const place = `${high}:${low}:${found.ino}`
  return locks().some((line) => line[5] === place && line[4] !== String(process.pid))
}

/** The fields of each lock in the system. */
function locks(): string[][] {
  try {
    return readFileSync("/proc/locks", "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
  } catch {
    return [] // not Linux, or it is hidden
  }
}
