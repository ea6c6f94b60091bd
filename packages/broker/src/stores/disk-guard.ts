import { type Stats, statfsSync, statSync } from "node:fs"
import { open, stat, statfs, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { systemCode } from "@mqtt-trio/common"

/** Free space below which nothing is written: what the database does when it cannot write is not harmless. */
const FLOOR_BYTES = 4 << 20
/** Free space that no message takes: what makes room is written there. A new store needs as much. */
export const HEAD_ROOM_BYTES = 16 << 20
/** How long a look at the disk counts, in ms. */
const FRESH_MS = 50

/**
 * Looks whether a database file can still be written: it is where it was, and there is space. A commit that cannot
 * succeed is refused here; after one that failed, the database is not asked again until a write of our own went through.
 * Nobody but who asks waits for a disk that does not answer.
 */
export class DiskGuard {
  private readonly inode: number
  private readonly lock: string
  private readonly lockInode: number | undefined
  private lookedAt = -Infinity
  private looking: Promise<void> | undefined = undefined
  private suspect = false
  private probing: Promise<void> | undefined = undefined
  private freeThen = Infinity
  private besideThen = 0
  /** how long the file was then, in bytes */
  size: number
  /** what was wrong then */
  trouble: unknown = undefined

  /** @param beside how many bytes are written beside the file, as far as is known here */
  constructor(
    private readonly file: string,
    private readonly beside = (): number => 0,
  ) {
    const { ino, size } = statSync(file)
    this.inode = ino
    this.size = size
    this.lock = `${file}-lock`
    this.lockInode = statSync(this.lock, { throwIfNoEntry: false })?.ino
  }

  /** What the file system has left, in bytes, as it was seen and as it became by what was written beside the file. */
  get free(): number {
    return this.freeThen + this.besideThen - this.beside()
  }

  /**
   * Rejects when a commit would fail.
   * @param also another file that must be where it was
   */
  async check(also?: { readonly path: string; readonly inode: number }): Promise<void> {
    if (performance.now() - this.lookedAt < FRESH_MS) return
    if (also && (await statOf(also.path))?.ino !== also.inode)
      throw new Error(
        `${JSON.stringify(also.path)} was removed, with commits in it; stop the broker, which writes what it has to the tables`,
      )
    await this.look()
  }

  /** Looks at the disk now, unless somebody does already. Rejects when a commit would fail. */
  look(): Promise<void> {
    this.looking ??= this.lookOnce()
      .then(
        () => {
          this.trouble = undefined
          this.lookedAt = performance.now()
        },
        (error: unknown) => {
          this.trouble = error
          throw error
        },
      )
      .finally(() => {
        this.looking = undefined
      })
    return this.looking
  }

  private async lookOnce(): Promise<void> {
    const beside = this.beside()
    const [file, lock, { bavail, bsize }] = await Promise.all([statOf(this.file), statOf(this.lock), statfs(dirname(this.file))])
    this.freeThen = bavail * bsize
    this.besideThen = beside
    this.size = file?.size ?? 0
    if (file?.ino !== this.inode)
      throw new Error(`${JSON.stringify(this.file)} was removed; put it back, or start the broker again without it`)
    // without it another process would write without waiting for this one
    if (lock?.ino !== this.lockInode) throw new Error(`${JSON.stringify(this.lock)} was removed; start the broker again`)
    checkFree(this.free, this.file, FLOOR_BYTES)
  }

  /** Rejects when the tables cannot take so many bytes more. `unused`: bytes of their file that they can use again. */
  async checkFold(bytes: number, unused: number): Promise<void> {
    await this.look()
    checkFree(this.free, this.file, FLOOR_BYTES + foldNeeds(2 * bytes, unused))
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
    this.lookedAt = -Infinity
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

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined
    throw error
  }
}

/** There is too little space, for now. */
export class NoSpace extends Error {}

/** What the file of tables may grow by when so much is written to them, in bytes: not all of what is unused lies so that it can be used. */
export function foldNeeds(bytes: number, unused: number): number {
  return Math.max(bytes - unused / 2, bytes / 2)
}

/** Throws when there is less space than a new store needs. */
export function checkSpace(path: string): void {
  const { bavail, bsize } = statfsSync(path)
  checkFree(bavail * bsize, path, HEAD_ROOM_BYTES)
}

/** Throws a NoSpace when less than `needed` bytes are free. Says what it takes until messages are taken again, too. */
function checkFree(free: number, path: string, needed: number): void {
  if (free >= needed) return
  const wanted = Math.max(needed, HEAD_ROOM_BYTES)
  throw new NoSpace(
    `less than ${megabytes(wanted)} MB are free where ${JSON.stringify(path)} is; free ${megabytes(wanted - free)} MB there`,
  )
}

/** In whole MB, rounded up. */
export function megabytes(bytes: number): number {
  return Math.ceil(bytes / (1 << 20))
}
