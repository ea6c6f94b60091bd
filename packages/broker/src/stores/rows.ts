import { readUint64, writeUint64 } from "./keys.js"
import type { Cursor, Reserved } from "./store.js"

/** stands for Infinity in a stored cursor */
const UNBOUNDED_POSITION = Number.MAX_SAFE_INTEGER

/** The bytes of a row that is kept as JSON. */
export function json(row: object): Buffer {
  return Buffer.from(JSON.stringify(row))
}

/** A row of `cursors`: position, `sentBelow`, the ring of the window when it is stored. */
export function packCursor({ position, sentBelow, inflight }: Cursor): Buffer {
  const value = Buffer.allocUnsafe(16 + (inflight?.length ?? 0))
  writeUint64(value, 0, position)
  writeUint64(value, 8, Math.min(sentBelow, UNBOUNDED_POSITION))
  inflight?.copy(value, 16)
  return value
}

/** See packCursor. */
export function unpackCursor(value: Buffer): Cursor {
  const sentBelow = readUint64(value, 8)
  return {
    position: readUint64(value, 0),
    sentBelow: sentBelow === UNBOUNDED_POSITION ? Infinity : sentBelow,
    inflight: value.length > 16 ? value.subarray(16) : undefined,
  }
}

/** The row `next` of `meta`. */
export function packReserved({ position, id }: Reserved): Buffer {
  const value = Buffer.allocUnsafe(16)
  writeUint64(value, 0, position)
  writeUint64(value, 8, id)
  return value
}

/** See packReserved. */
export function unpackReserved(value: Buffer): Reserved {
  return { position: readUint64(value, 0), id: readUint64(value, 8) }
}
