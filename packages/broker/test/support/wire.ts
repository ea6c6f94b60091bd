/**
 * Packets as bytes. A part of a packet is a list of bytes, a Buffer taken as it is, or a string, which becomes a UTF-8
 * Encoded String with its two length bytes (MQTT 5.0 section 1.5.4).
 */
export type Part = readonly number[] | Buffer | string

/** A packet: first byte, Remaining Length, the parts. */
export function packet(head: number, ...parts: Part[]): Buffer {
  const body = join(parts)
  return Buffer.concat([Buffer.from([head]), varint(body.length), body])
}

/** Properties with their length before them (MQTT 5.0 section 2.2.2). */
export function properties(...parts: Part[]): Buffer {
  const body = join(parts)
  return Buffer.concat([varint(body.length), body])
}

/** Bytes written as hexadecimal digits, spaces between them for the reader. */
export function hex(digits: string): Buffer {
  return Buffer.from(digits.replaceAll(" ", ""), "hex")
}

export function word(value: number): number[] {
  return [value >> 8, value & 255]
}

export function long(value: number): number[] {
  return [...word(Math.floor(value / 65_536)), ...word(value % 65_536)]
}

/** Variable Byte Integer (section 1.5.5). */
export function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0))
    rest >>>= 7
  } while (rest > 0)
  return Buffer.from(bytes)
}

function join(parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part !== "string") return Buffer.from(part)
      const bytes = Buffer.from(part)
      return Buffer.concat([Buffer.from(word(bytes.length)), bytes])
    }),
  )
}

export interface ConnectFields {
  clientId?: string
  /** Clean Start, in 3.1.1 Clean Session. Default true. */
  clean?: boolean
  keepAlive?: number
  /** MQTT 5.0 only */
  properties?: Buffer
  will?: Will
  userName?: string
  password?: string | Buffer
}

export interface Will {
  topic: string
  payload: string
  qos?: 0 | 1 | 2
  retain?: boolean
  /** MQTT 5.0 only */
  properties?: Buffer
}

/** CONNECT (section 3.1). */
export function connect(version: 4 | 5, fields: ConnectFields = {}): Buffer {
  const { will, userName, password } = fields
  const block = (bytes: Buffer | undefined): Part => (version === 5 ? (bytes ?? properties()) : [])
  const flags =
    ((fields.clean ?? true) ? 2 : 0) |
    (will ? 4 | ((will.qos ?? 0) << 3) | (will.retain ? 32 : 0) : 0) |
    (password === undefined ? 0 : 64) |
    (userName === undefined ? 0 : 128)
  const payload: Part[] = [fields.clientId ?? ""]
  if (will) payload.push(block(will.properties), will.topic, will.payload)
  if (userName !== undefined) payload.push(userName)
  if (password !== undefined) payload.push(binary(password))
  return packet(0x10, "MQTT", [version, flags, ...word(fields.keepAlive ?? 0)], block(fields.properties), ...payload)
}

/** Binary Data with its length before it (section 1.5.6). */
function binary(data: string | Buffer): Buffer {
  const bytes = Buffer.from(data)
  return Buffer.concat([Buffer.from(word(bytes.length)), bytes])
}

/** Property of CONNECT: Session Expiry Interval (section 3.1.2.11.2). */
export function sessionExpiry(seconds: number): number[] {
  return [0x11, ...long(seconds)]
}

/** SUBSCRIBE with pairs of Topic Filter and Subscription Options (section 3.8). */
export function subscribe(version: 4 | 5, packetId: number, ...filters: [filter: string, options: number][]): Buffer {
  return packet(0x82, word(packetId), version === 5 ? [0] : [], ...filters.flatMap(([filter, options]): Part[] => [filter, [options]]))
}

export interface PublishFields {
  topic: string
  payload?: string | Buffer
  qos?: 0 | 1 | 2
  packetId?: number
  dup?: boolean
  retain?: boolean
  /** MQTT 5.0 only */
  properties?: Buffer
}

/** PUBLISH (section 3.3). */
export function publish(version: 4 | 5, fields: PublishFields): Buffer {
  const qos = fields.qos ?? 0
  const head = 0x30 | (fields.dup ? 8 : 0) | (qos << 1) | (fields.retain ? 1 : 0)
  const block = version === 5 ? (fields.properties ?? properties()) : []
  return packet(head, fields.topic, qos ? word(fields.packetId ?? 1) : [], block, Buffer.from(fields.payload ?? ""))
}

/** PUBACK, as both versions may write it when all is well (section 3.4). */
export function puback(packetId: number): Buffer {
  return packet(0x40, word(packetId))
}

export const PINGREQ = hex("c0 00")
export const PINGRESP = hex("d0 00")
export const DISCONNECT = hex("e0 00")
