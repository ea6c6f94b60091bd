import { crc32 } from "node:zlib"

/** What stands before a row's bytes in a table. */
export const CHECKSUM_BYTES = 4

/** A row as it lies in a table: a CRC32 and its bytes. */
export function withChecksum(...parts: readonly Buffer[]): Buffer {
  const row = Buffer.concat([NO_CHECKSUM, ...parts])
  row.writeUInt32LE(crc32(row.subarray(CHECKSUM_BYTES)), 0)
  return row
}

const NO_CHECKSUM = Buffer.alloc(CHECKSUM_BYTES)

/** The bytes of a row; undefined: they are not those that were written. */
export function checked(row: Buffer): Buffer | undefined {
  if (row.length < CHECKSUM_BYTES) return undefined
  const bytes = row.subarray(CHECKSUM_BYTES)
  return crc32(bytes) === row.readUInt32LE(0) ? bytes : undefined
}
