/** How the value of a property is laid out, by its identifier (MQTT 5.0 section 2.2.2.2). */
const BYTE = [0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a]
const WORD = [0x13, 0x21, 0x22, 0x23]
const LONG = [0x02, 0x11, 0x18, 0x27]
const VARINT = [0x0b]
const PAIR = [0x26]

/** A property as it came: its identifier and the bytes of its value. */
export interface Property {
  id: number
  value: Buffer
}

/** A PUBLISH, taken apart. */
export interface Publication {
  dup: boolean
  qos: number
  retain: boolean
  topic: string
  packetId: number
  properties: Property[]
  payload: Buffer
}

/** The number in a Variable Byte Integer and the offset behind it. */
export function readVarint(bytes: Buffer, at: number): [value: number, behind: number] {
  let value = 0
  for (let n = 0; n < 4; n++) {
    const byte = bytes[at + n] ?? 0
    value += (byte & 127) * 128 ** n
    if (byte < 128) return [value, at + n + 1]
  }
  throw new RangeError("a Variable Byte Integer of more than four bytes")
}

/** The offset of a packet's body. */
export function bodyAt(packet: Buffer): number {
  return readVarint(packet, 1)[1]
}

/** The property block at `at` and the offset behind it. */
export function readProperties(bytes: Buffer, at: number): [list: Property[], behind: number] {
  const [length, from] = readVarint(bytes, at)
  const list: Property[] = []
  let o = from
  while (o < from + length) {
    const id = bytes[o] ?? 0
    const size = valueSize(id, bytes, o + 1)
    list.push({ id, value: bytes.subarray(o + 1, o + 1 + size) })
    o += 1 + size
  }
  return [list, from + length]
}

function valueSize(id: number, bytes: Buffer, at: number): number {
  if (BYTE.includes(id)) return 1
  if (WORD.includes(id)) return 2
  if (LONG.includes(id)) return 4
  if (VARINT.includes(id)) return readVarint(bytes, at)[1] - at
  const first = 2 + bytes.readUInt16BE(at)
  return PAIR.includes(id) ? first + 2 + bytes.readUInt16BE(at + first) : first
}

/** Session Present, Reason Code and properties of a CONNACK of MQTT 5.0 (section 3.2). */
export function readConnack(packet: Buffer): { present: number; reason: number; properties: Property[] } {
  if (packet[0] !== 0x20) throw new Error(`no CONNACK: ${packet.toString("hex")}`)
  const at = bodyAt(packet)
  return { present: packet[at] ?? -1, reason: packet[at + 1] ?? -1, properties: readProperties(packet, at + 2)[0] }
}

/** The codes of a SUBACK or UNSUBACK with its Packet Identifier (sections 3.9 and 3.11). */
export function readCodes(packet: Buffer, version: 4 | 5): { packetId: number; codes: number[] } {
  const at = bodyAt(packet)
  const from = version === 5 ? readProperties(packet, at + 2)[1] : at + 2
  return { packetId: packet.readUInt16BE(at), codes: [...packet.subarray(from)] }
}

export function readPublish(packet: Buffer, version: 4 | 5): Publication {
  const head = packet[0] ?? 0
  if (head >> 4 !== 3) throw new Error(`no PUBLISH: ${packet.toString("hex")}`)
  const at = bodyAt(packet)
  const qos = (head >> 1) & 3
  const behindTopic = at + 2 + packet.readUInt16BE(at)
  const behindId = behindTopic + (qos ? 2 : 0)
  const [list, from] = version === 5 ? readProperties(packet, behindId) : [[], behindId]
  return {
    dup: (head & 8) > 0,
    qos,
    retain: (head & 1) > 0,
    topic: packet.toString("utf8", at + 2, behindTopic),
    packetId: qos ? packet.readUInt16BE(behindTopic) : 0,
    properties: list,
    payload: packet.subarray(from),
  }
}
