import { crc32 } from "node:zlib"
import type { TableName } from "./environment.js"

/** What stands before a row's bytes in a table. */
export const CHECKSUM_BYTES = 4

/** A row as it lies in a table: a CRC32 and its bytes. The checksum covers table and key too: it is no row of another place. */
export function withChecksum(table: TableName, key: Buffer, ...parts: readonly Buffer[]): Buffer {
  const row = Buffer.concat([NO_CHECKSUM, ...parts])
  row.writeUInt32LE(crc32(row.subarray(CHECKSUM_BYTES), beginning(table, key)), 0)
  return row
}

const NO_CHECKSUM = Buffer.alloc(CHECKSUM_BYTES)

/** The bytes of a row; undefined: they are not those that were written there. */
export function checked(table: TableName, key: Buffer, row: Buffer): Buffer | undefined {
  if (row.length < CHECKSUM_BYTES) return undefined
  const bytes = row.subarray(CHECKSUM_BYTES)
  return crc32(bytes, beginning(table, key)) === row.readUInt32LE(0) ? bytes : undefined
}

function beginning(table: TableName, key: Buffer): number {
  return crc32(key, crc32(table))
}
