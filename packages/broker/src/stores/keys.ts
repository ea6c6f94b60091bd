/** Keys are big-endian numbers, so that the byte order of a store is their order. Numbers are integers from 0 to 2^53. */

/** The id of a Session, log, retained message or Will. */
export function idKey(id: number): Buffer {
  const key = Buffer.allocUnsafe(8)
  writeUint64(key, 0, id)
  return key
}

/** A log's id and a position. */
export function logKey(log: number, position: number): Buffer {
  const key = Buffer.allocUnsafe(16)
  writeUint64(key, 0, log)
  writeUint64(key, 8, position)
  return key
}

/** A log's id, the position of the last message, and which body is there. */
export function referenceKey(log: number, last: number, body: number): Buffer {
  const key = Buffer.allocUnsafe(24)
  writeUint64(key, 0, log)
  writeUint64(key, 8, last)
  writeUint64(key, 16, body)
  return key
}

/** A Session's id and a number of its own below 2^32: a Subscription's slot or a Packet Identifier. */
export function slotKey(session: number, slot: number): Buffer {
  const key = Buffer.allocUnsafe(12)
  writeUint64(key, 0, session)
  key.writeUInt32BE(slot, 8)
  return key
}

export function writeUint64(buf: Buffer, at: number, value: number): void {
  buf.writeUInt32BE(Math.floor(value / 4_294_967_296), at)
  buf.writeUInt32BE(value % 4_294_967_296, at + 4)
}

export function readUint64(buf: Buffer, at: number): number {
  return buf.readUInt32BE(at) * 4_294_967_296 + buf.readUInt32BE(at + 4)
}
