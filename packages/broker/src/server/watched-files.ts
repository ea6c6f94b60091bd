import { unwatchFile, watchFile } from "node:fs"

/** How often files are looked at, and how long they must have been left alone before they are read again, in ms. */
const LOOK_MS = 1000
const SETTLE_MS = 500

/** Calls `changed` when one of the files was, and all are left alone again; returns what ends that. */
export function watchFiles(files: readonly string[], changed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  // looking again and again also sees what a link, or a mounted folder, now leads to
  const look = (): void => {
    clearTimeout(timer)
    timer = setTimeout(changed, SETTLE_MS)
  }
  for (const file of files) watchFile(file, { interval: LOOK_MS }, look)
  return () => {
    clearTimeout(timer)
    for (const file of files) unwatchFile(file, look)
  }
}
