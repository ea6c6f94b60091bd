/** MQTT Control Packet types: the high four bits of a packet's first byte (MQTT 5.0 section 2.1.2). */
export const PacketType = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const

/** Flags in the low four bits of a PUBLISH's first byte (section 3.3.1). */
export const DUP = 8
export const RETAIN = 1

/** MQTT protocol levels that the broker speaks: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
export type ProtocolVersion = 3 | 4 | 5

export type QoS = 0 | 1 | 2

/** The QoS in two bits, undefined for the value that is none. */
export function toQoS(bits: number): QoS | undefined {
  return bits === 0 || bits === 1 || bits === 2 ? bits : undefined
}

/** The QoS in the first byte of a PUBLISH that was checked (section 3.3.1.2). */
export function qosOf(header: number): QoS {
  return toQoS((header >> 1) & 3) ?? 2
}

/** First bytes of the acknowledgements (sections 3.4 to 3.7). */
export const PUBACK = 0x40
export const PUBREC = 0x50
export const PUBREL = 0x62
export const PUBCOMP = 0x70
