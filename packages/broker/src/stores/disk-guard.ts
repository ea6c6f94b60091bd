import { statfsSync, statSync } from "node:fs"
import { open, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"

/** Free space below which commits are refused before the database sees them: its own failed writes are not harmless. */
const MARGIN_BYTES = 16 << 20
/** How long a look at the disk counts, in ms. */
const FRESH_MS = 50

/**
 * Looks whether a database file can still be written: it is where it was, and there is space. A commit that cannot
 * succeed is refused here; after one that failed, the database is not asked again until a write of our own went through.
 */
export class DiskGuard {
  private readonly inode: number
  private readonly lock: string
  private readonly lockInode: number | undefined
  private lookedAt = 0
  private suspect = false
  private probing: Promise<void> | undefined = undefined

  constructor(private readonly file: string) {
    this.inode = statSync(file).ino
    this.lock = `${file}-lock`
    this.lockInode = inodeOf(this.lock)
  }

  /**
   * Throws when a commit would fail.
   * @param also another file that must be where it was
   */
  check(also?: { readonly path: string; readonly inode: number }): void {
    if (performance.now() - this.lookedAt < FRESH_MS) return
    if (also && inodeOf(also.path) !== also.inode)
      throw new Error(
        `${JSON.stringify(also.path)} was removed, with commits in it; stop the broker, which writes what it has to the tables`,
      )
    if (inodeOf(this.file) !== this.inode)
      throw new Error(`${JSON.stringify(this.file)} was removed; put it back, or start the broker again without it`)
    // without it another process would write without waiting for this one
    if (inodeOf(this.lock) !== this.lockInode) throw new Error(`${JSON.stringify(this.lock)} was removed; start the broker again`)
    checkSpace(this.file)
    this.lookedAt = performance.now()
  }

  /** Set after a failed commit: resolves when a write of our own went through, rejects when it did not. */
  get recovery(): Promise<void> | undefined {
    if (!this.suspect) return undefined
    this.probing ??= this.probe().finally(() => {
      this.probing = undefined
    })
    return this.probing
  }

  /** A commit failed. */
  failed(): void {
    this.suspect = true
    this.lookedAt = 0
  }

  private async probe(): Promise<void> {
    const path = join(dirname(this.file), "probe")
    const file = await open(path, "w", 0o600)
    try {
      await file.write(Buffer.alloc(4096))
      await file.datasync()
    } finally {
      await file.close()
      await unlink(path)
    }
    this.suspect = false
  }
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino
}

/** Throws when there is less space than a commit needs, and `more` bytes. */
export function checkSpace(path: string, more = 0): void {
  const { bavail, bsize } = statfsSync(path)
  const needed = MARGIN_BYTES + more
  const missing = needed - bavail * bsize
  if (missing > 0)
    throw new Error(`less than ${megabytes(needed)} MB are free where ${JSON.stringify(path)} is; free ${megabytes(missing)} MB there`)
}

function megabytes(bytes: number): number {
  return Math.ceil(bytes / (1 << 20))
}
