import { malformed } from "./reason-codes.js"
import { readVarint } from "./varint.js"

/** Where the packet that was looked at lies; one instance serves all packets, so that none makes an object (MQTT 5.0 section 2.1.1). */
export class FixedHeader {
  /** where the body begins */
  body = 0
  /** behind the packet */
  end = 0

  /** Looks at the packet that begins at `at`. False: its fixed header is not complete. Throws a PacketError when it is malformed. */
  read(buf: Buffer, at: number): boolean {
    const length = readVarint(buf, at + 1, buf.length)
    if (length === -2) throw malformed("the Remaining Length is longer than four bytes or not in its shortest form")
    if (length === -1) return false
    this.body = at + 1 + (length & 7)
    this.end = this.body + (length >>> 3)
    return true
  }
}

/** Bytes of the packet that begins `buf`; Infinity while its fixed header is not complete. */
export function packetSize(buf: Buffer): number {
  const read = readVarint(buf, 1, buf.length)
  return read < 0 ? Infinity : 1 + (read & 7) + (read >>> 3)
}
