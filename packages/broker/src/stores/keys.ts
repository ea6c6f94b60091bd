/** Keys are big-endian numbers, so that the byte order of a store is their order. Numbers are integers from 0 to 2^53. */

/** 32 bits: a Session's number or a log's. */
export function numberKey(number: number): Buffer {
  const key = Buffer.allocUnsafe(4)
  key.writeUInt32BE(number)
  return key
}

/** A log's number and a position. */
export function logKey(log: number, position: number): Buffer {
  const key = Buffer.allocUnsafe(12)
  key.writeUInt32BE(log)
  writeUint64(key, 4, position)
  return key
}

/** A Session's number and a slot of its own. */
export function slotKey(session: number, slot: number): Buffer {
  const key = Buffer.allocUnsafe(8)
  key.writeUInt32BE(session)
  key.writeUInt32BE(slot, 4)
  return key
}

export function writeUint64(buf: Buffer, at: number, value: number): void {
  buf.writeUInt32BE(Math.floor(value / 4_294_967_296), at)
  buf.writeUInt32BE(value % 4_294_967_296, at + 4)
}

export function readUint64(buf: Buffer, at: number): number {
  return buf.readUInt32BE(at) * 4_294_967_296 + buf.readUInt32BE(at + 4)
}
