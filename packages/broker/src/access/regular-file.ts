import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs"

/** More than any file of users, rights or certificates has: it would be read into memory whole. */
const MOST_BYTES = 64 << 20

/** What a file has. Throws an Error for what is no regular file: reading a pipe or a device may never end. */
export function readRegularFile(path: string): Buffer {
  const fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)) // a pipe is opened without waiting for its other end
  try {
    const stats = fstatSync(fd)
    if (stats.isDirectory()) throw new Error("it is a folder")
    if (!stats.isFile()) throw new Error("it is not a regular file")
    if (stats.size > MOST_BYTES) throw new Error(`it has more than ${MOST_BYTES >> 20} MB`)
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}
