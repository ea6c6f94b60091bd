import { spawnSync } from "node:child_process"
import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs"
import { join } from "node:path"
import { systemCode } from "@mqtt-trio/common"
import { onCleanUp, temporaryFolder } from "@mqtt-trio/testing"

/** Whether {@link smallDisk} can be had. */
export const mayMount = process.getuid?.() === 0 && spawnSync("unshare", ["-m", "true"]).status === 0

/** The root of a file system of its own with so much space. */
export function smallDisk(megabytes: number): string {
  const folder = temporaryFolder()
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=700`, "tmpfs", folder])
  if (status !== 0) throw new Error("a small disk cannot be mounted")
  onCleanUp(() => void spawnSync("umount", ["-l", folder]))
  return folder
}

const PAGE = Buffer.alloc(4096)

/** Fills a small disk until so many bytes are free. Returns what makes it as empty as before. */
export function fillDisk(folder: string, free: number): () => void {
  const ballast = join(folder, "ballast")
  const file = openSync(ballast, "w")
  const isMore = (): boolean => {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize > free
  }
  try {
    while (isMore()) writeSync(file, PAGE)
  } catch (error) {
    if (systemCode(error) !== "ENOSPC") throw error // somebody else was faster
  } finally {
    closeSync(file)
  }
  return () => rmSync(ballast)
}

/** From now on it has so much space. */
export function resizeDisk(folder: string, megabytes: number): void {
  const { status } = spawnSync("mount", ["-o", `remount,size=${megabytes}m`, folder])
  if (status !== 0) throw new Error("a small disk cannot be mounted anew")
}
