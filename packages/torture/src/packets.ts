import type { StoredQos } from "./checker/stream.js"

/** MQTT 3.1.1 packets as bytes, written by hand: the instrument shares no code with the broker that it tests. */

/** First byte of the packets that are told apart (MQTT 3.1.1 section 2.2.1). */
export const PACKET = {
  connack: 0x20,
  publish: 0x30,
  puback: 0x40,
  pubrec: 0x50,
  pubrel: 0x62,
  pubcomp: 0x70,
  suback: 0x90,
  unsuback: 0xb0,
  pingresp: 0xd0,
} as const

const PAYLOAD_HEAD = 12
const PAYLOAD_MARK = 0x746f7274
const FILL_LIMIT = 120

/** What a payload of the torture carries. */
export interface PayloadContent {
  stream: number
  n: number
  intact: boolean
}

export interface PublishFields {
  topic: string
  qos: StoredQos
  dup: boolean
  packetId: number
  payload: Buffer
}

/** CONNECT with Keep Alive 0. */
export function connectPacket(clientId: string, cleanSession = false): Buffer {
  return packet(0x10, Buffer.concat([Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, cleanSession ? 2 : 0, 0, 0]), text(clientId)]))
}

export function subscribePacket(packetId: number, filters: readonly { filter: string; qos: number }[]): Buffer {
  const entries = filters.map(({ filter, qos }) => Buffer.concat([text(filter), Buffer.from([qos])]))
  return packet(0x82, Buffer.concat([word(packetId), ...entries]))
}

export function publishPacket(fields: PublishFields): Buffer {
  const head = 0x30 | (fields.dup ? 8 : 0) | (fields.qos << 1)
  return packet(head, Buffer.concat([text(fields.topic), word(fields.packetId), fields.payload]))
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP: four bytes. */
export function acknowledgementPacket(head: number, packetId: number): Buffer {
  return Buffer.from([head, 2, packetId >> 8, packetId & 255])
}

export function pingreqPacket(): Buffer {
  return Buffer.from([0xc0, 0])
}

export function disconnectPacket(): Buffer {
  return Buffer.from([0xe0, 0])
}

/** A payload that says which message it is; its length and filling follow from that. */
export function payloadOf(stream: number, n: number): Buffer {
  const fill = (stream * 31 + n * 7) % FILL_LIMIT
  const bytes = Buffer.alloc(PAYLOAD_HEAD + fill, n & 255)
  bytes.writeUInt32BE(PAYLOAD_MARK, 0)
  bytes.writeUInt32BE(stream, 4)
  bytes.writeUInt32BE(n, 8)
  return bytes
}

/** Reads what `payloadOf` wrote; `undefined` when the payload is a stranger's. */
export function readPayload(bytes: Buffer): PayloadContent | undefined {
  if (bytes.length < PAYLOAD_HEAD || bytes.readUInt32BE(0) !== PAYLOAD_MARK) return undefined
  const [stream, n] = [bytes.readUInt32BE(4), bytes.readUInt32BE(8)]
  const fill = (stream * 31 + n * 7) % FILL_LIMIT
  const intact = bytes.length === PAYLOAD_HEAD + fill && (fill === 0 || bytes[bytes.length - 1] === (n & 255))
  return { stream, n, intact }
}

/** A packet of any length: its first byte, the Remaining Length, its body. */
export function packet(head: number, body: Buffer): Buffer {
  const length: number[] = []
  let rest = body.length
  do {
    length.push((rest & 127) | (rest > 127 ? 128 : 0))
    rest >>= 7
  } while (rest > 0)
  return Buffer.concat([Buffer.from([head, ...length]), body])
}

/** A UTF-8 Encoded String: its length in two bytes, its bytes. */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([word(bytes.length), bytes])
}

function word(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255])
}
