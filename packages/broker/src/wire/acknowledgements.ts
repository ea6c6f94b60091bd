import { malformed, type ReasonCode, strangeReason } from "./reason-codes.js"
import { readProperties } from "./properties.js"

/** Size of a PUBACK that says success: fixed header and Packet Identifier (MQTT 5.0 section 3.4). */
export const ACK_SIZE = 4

/** Writes a PUBACK, PUBREC, PUBREL or PUBCOMP without reason code and properties; the same bytes in every version. */
export function writeAck(buf: Buffer, at: number, header: number, identifier: number): number {
  buf[at] = header
  buf[at + 1] = 2
  buf[at + 2] = identifier >> 8
  buf[at + 3] = identifier & 255
  return at + ACK_SIZE
}

/** One acknowledgement with a reason code: MQTT 5.0 only. */
export function ackWithReason(header: number, identifier: number, reason: ReasonCode): Buffer {
  return Buffer.from([header, 3, identifier >> 8, identifier & 255, reason])
}

/** Whether the acknowledgement whose body lies between `at` and `end` carries a Reason Code of 0x80 or above. */
export function ackFailed(buf: Buffer, at: number, end: number): boolean {
  return end - at > 2 && buf[at + 2]! >= 0x80
}

/**
 * Reads the Packet Identifier of an acknowledgement whose body lies between `at` and `end`, and checks its form.
 * `reasons`: the Reason Codes that it may carry, undefined before MQTT 5.0. Throws a PacketError.
 */
export function readAck(buf: Buffer, at: number, end: number, reasons: ReadonlySet<number> | undefined): number {
  const length = end - at
  if (length < 2 || (length > 2 && !reasons)) throw malformed("an acknowledgement has the wrong length")
  const identifier = (buf[at]! << 8) | buf[at + 1]!
  if (identifier === 0) throw malformed("Packet Identifier 0 in an acknowledgement")
  if (length > 2 && !reasons?.has(buf[at + 2]!)) throw strangeReason(buf[at + 2]!, "an acknowledgement")
  if (length > 3) {
    const { behind } = readProperties(buf, at + 3, end, "ACK")
    if (behind !== end) throw malformed("an acknowledgement has bytes behind its properties")
  }
  return identifier
}
