import { type PathLike, closeSync, fdatasync, fstatSync, fsyncSync, openSync, unlinkSync, write } from "node:fs"
import { dirname } from "node:path"
import { promisify } from "node:util"
import { crc32 } from "node:zlib"

const datasync = promisify(fdatasync)

/** What a segment begins with, in bytes; the first record follows. */
export const HEADER_BYTES = 64
const MAGIC = 0x4a51_4d4d // "MMQJ"
const FORMAT = 1
/** A segment is filled with zeros in steps, each as long as what is there, within these bounds, in bytes. */
const LEAST_STEP = 256 << 10
const MOST_STEP = 4 << 20
const ZEROS = Buffer.alloc(MOST_STEP)

/** What the header of a segment says. */
export interface Header {
  /** rises with each use of a file */
  number: number
  /** the sequence of its first record */
  first: number
  /** nothing was to be folded when the broker ended, and nothing follows */
  clean: boolean
  /** what the store's checksums of records begin with: whoever writes the bytes of a message does not know it */
  secret: number
}

/** Puts a header at the beginning of a buffer. */
export function writeHeader(buf: Buffer, { number, first, clean, secret }: Header): void {
  buf.fill(0, 0, HEADER_BYTES)
  buf.writeUInt32LE(MAGIC, 0)
  buf.writeUInt32LE(FORMAT, 4)
  buf.writeDoubleLE(number, 8)
  buf.writeDoubleLE(first, 16)
  buf.writeUInt32LE(clean ? 1 : 0, 24)
  buf.writeUInt32LE(secret, 28)
  buf.writeUInt32LE(crc32(buf.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4)
}

/** The header of a segment; undefined: it has none that is whole. Throws when its format is newer. */
export function readHeader(buf: Buffer): Header | undefined {
  if (buf.length < HEADER_BYTES || buf.readUInt32LE(0) !== MAGIC) return undefined
  if (crc32(buf.subarray(0, HEADER_BYTES - 4)) !== buf.readUInt32LE(HEADER_BYTES - 4)) return undefined
  const format = buf.readUInt32LE(4)
  if (format > FORMAT)
    throw new Error(`the format of its journal is ${format}, this version reads up to ${FORMAT}; use a newer mqtt-broker`)
  return { number: buf.readDoubleLE(8), first: buf.readDoubleLE(16), clean: buf.readUInt32LE(24) === 1, secret: buf.readUInt32LE(28) }
}

/**
 * A file of the journal. It is filled with zeros ahead of what is written, so that fdatasync need not write where it ends; a
 * file that is used again keeps its length.
 */
export class Segment {
  /** the sequence of its last record */
  last = 0
  /** where the next record goes, in bytes */
  at = 0
  readonly inode: number
  private readonly file: number
  private filling: Promise<void> | undefined = undefined
  private fillFailed = false

  /**
   * Opens the file, or makes it.
   * @param length how long it is
   * @param most how long it may become ahead of what is written
   */
  constructor(
    readonly path: string,
    private length: number,
    private readonly most: number,
  ) {
    this.file = openSync(path, length ? "r+" : "w+", 0o600)
    this.inode = fstatSync(this.file).ino
    if (!length) this.syncName()
  }

  private syncName(): void {
    try {
      syncFolder(dirname(this.path))
    } catch (error) {
      closeSync(this.file)
      unlinkSync(this.path)
      throw error
    }
  }

  /** How long the file is, in bytes. */
  get size(): number {
    return this.length
  }

  /** Used anew, from its beginning on. */
  restart(): void {
    this.at = 0
    this.last = 0
  }

  /** Writes bytes behind those before, and resolves when the disk has them. After a failure the file must not be written any more. */
  async append(bytes: Buffer, last: number): Promise<void> {
    const end = this.at + bytes.length
    if (this.filling && end > this.length) await this.filling
    await writeAll(this.file, bytes, this.at)
    await datasync(this.file)
    if (this.fillFailed) throw new Error("zeros ahead of it could not be synced, which may have been about it")
    this.at = end
    this.last = last
    this.length = Math.max(this.length, end)
    if (this.length < this.most && this.at > this.length - Math.min(MOST_STEP, this.length) / 2) this.fill()
  }

  /** Fills the next step with zeros, beyond all that is written meanwhile. Without them the file grows with each record. */
  private fill(): void {
    this.filling ??= this.fillOnce().finally(() => {
      this.filling = undefined
    })
  }

  private async fillOnce(): Promise<void> {
    const size = Math.min(Math.max(LEAST_STEP, Math.min(this.length, MOST_STEP)), this.most - this.length)
    try {
      await this.writeZeros(size)
      this.length += size
    } catch {
      this.length = this.most
    }
  }

  /**
   * Through a descriptor of its own: of pages that it could not write the kernel tells each descriptor once, and what this
   * fdatasync is told may be about a record that is written meanwhile.
   */
  private async writeZeros(size: number): Promise<void> {
    const file = openSync(this.path, "r+")
    try {
      await writeAll(file, ZEROS.subarray(0, size), this.length)
      await datasync(file).catch((error: unknown) => {
        this.fillFailed = true
        throw error
      })
    } finally {
      closeSync(file)
    }
  }

  async close(): Promise<void> {
    await this.filling
    closeSync(this.file)
  }
}

async function writeAll(file: number, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await writeOnce(file, bytes.subarray(done), at + done)
}

function writeOnce(file: number, bytes: Buffer, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(file, bytes, 0, bytes.length, at, (error, written) => (error ? reject(error) : resolve(written)))
  })
}

/** A new file's name is on the disk when its folder is. */
export function syncFolder(folder: PathLike): void {
  if (process.platform === "win32") return // its folders cannot be opened, and need it not
  const file = openSync(folder, "r")
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
