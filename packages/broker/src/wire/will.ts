import { RETAIN } from "./packet-types.js"
import { behindString, Property } from "./properties.js"
import { findLong } from "./publish.js"
import { readVarint, varintLength, writeVarint } from "./varint.js"

/** The Will of a CONNECT. */
export interface WillMessage {
  /** as a PUBLISH packet: topic, payload and properties byte for byte as they came [MQTT-3.1.3-10] */
  packet: Buffer
  /** Will Delay Interval in seconds (MQTT 5.0 section 3.1.3.2.2) */
  delaySeconds: number
}

/** The Will in a CONNECT that passed the strict checks; undefined: it has none. */
export function readWill(connect: Buffer, v5: boolean): WillMessage | undefined {
  const end = connect.length
  const flagsAt = behindString(connect, 1 + (readVarint(connect, 1, end) & 7), end, false) + 1
  const flags = connect[flagsAt]!
  if (!(flags & 4)) return undefined
  const clientIdAt = v5 ? behindBlock(connect, flagsAt + 3) : flagsAt + 3
  const willAt = behindString(connect, clientIdAt, end, false)
  const topicAt = v5 ? behindBlock(connect, willAt) : willAt
  const messageAt = behindString(connect, topicAt, end, false)
  const { properties, delaySeconds } = willProperties(connect, v5 ? willAt + (readVarint(connect, willAt, end) & 7) : topicAt, topicAt)
  const qos = (flags >> 3) & 3
  const variable = Buffer.concat([
    connect.subarray(topicAt, messageAt),
    Buffer.from(qos ? [0, 1] : []),
    ...(v5 ? [varint(properties.length), properties] : []),
    connect.subarray(messageAt + 2, behindString(connect, messageAt, end, false)),
  ])
  const header = 0x30 | (qos << 1) | (flags & 32 ? RETAIN : 0)
  return { packet: Buffer.concat([Buffer.from([header]), varint(variable.length), variable]), delaySeconds }
}

/** What lies between `at` and `end` but the Will Delay Interval, which is none of the message's. */
function willProperties(buf: Buffer, at: number, end: number): { properties: Buffer; delaySeconds: number } {
  const delayAt = findLong(buf, at, end, Property.WILL_DELAY_INTERVAL)
  if (delayAt < 0) return { properties: buf.subarray(at, end), delaySeconds: 0 }
  return {
    properties: Buffer.concat([buf.subarray(at, delayAt - 1), buf.subarray(delayAt + 4, end)]),
    delaySeconds: buf.readUInt32BE(delayAt),
  }
}

function behindBlock(buf: Buffer, at: number): number {
  const read = readVarint(buf, at, buf.length)
  return at + (read & 7) + (read >>> 3)
}

function varint(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(varintLength(value))
  writeVarint(bytes, 0, value)
  return bytes
}
