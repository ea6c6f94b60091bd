import { PacketType } from "./packet-types.js"

/** Reason codes of MQTT 5.0 that the broker sends or looks at (section 2.4). */
export const Reason = {
  SUCCESS: 0x00,
  NO_MATCHING_SUBSCRIBERS: 0x10,
  NO_SUBSCRIPTION_EXISTED: 0x11,
  UNSPECIFIED_ERROR: 0x80,
  MALFORMED_PACKET: 0x81,
  PROTOCOL_ERROR: 0x82,
  UNSUPPORTED_PROTOCOL_VERSION: 0x84,
  CLIENT_IDENTIFIER_NOT_VALID: 0x85,
  BAD_USER_NAME_OR_PASSWORD: 0x86,
  NOT_AUTHORIZED: 0x87,
  SERVER_UNAVAILABLE: 0x88,
  SERVER_SHUTTING_DOWN: 0x8b,
  BAD_AUTHENTICATION_METHOD: 0x8c,
  KEEP_ALIVE_TIMEOUT: 0x8d,
  SESSION_TAKEN_OVER: 0x8e,
  TOPIC_FILTER_INVALID: 0x8f,
  TOPIC_NAME_INVALID: 0x90,
  PACKET_IDENTIFIER_NOT_FOUND: 0x92,
  RECEIVE_MAXIMUM_EXCEEDED: 0x93,
  TOPIC_ALIAS_INVALID: 0x94,
  PACKET_TOO_LARGE: 0x95,
  QUOTA_EXCEEDED: 0x97,
  SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: 0x9e,
} as const

const RECEIVED_REASONS = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
const COMPLETED_REASONS = new Set([0x00, 0x92])

/**
 * The Reason Codes that are taken from a client, by packet type: those of its section (MQTT 5.0 sections 3.4.2.1, 3.5.2.1,
 * 3.6.2.1 and 3.7.2.1, 0x10 included, which is success whoever sends it), of section 3.14.2.1 those that a client sends.
 */
export const CLIENT_REASONS = new Map<number, ReadonlySet<number>>([
  [PacketType.PUBACK, RECEIVED_REASONS],
  [PacketType.PUBREC, RECEIVED_REASONS],
  [PacketType.PUBREL, COMPLETED_REASONS],
  [PacketType.PUBCOMP, COMPLETED_REASONS],
  [PacketType.DISCONNECT, new Set([0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99])],
])

export type ReasonCode = (typeof Reason)[keyof typeof Reason]

/**
 * A packet that the standard forbids, or a refusal: the connection ends with this reason.
 * In MQTT 5.0 the code travels in CONNACK or DISCONNECT; older versions only see the connection close (3.1.1 section 4.8).
 */
export class PacketError extends Error {
  override readonly name = "PacketError"
  constructor(
    readonly reason: ReasonCode,
    message: string,
  ) {
    super(message)
  }
}

export const malformed = (message: string): PacketError => new PacketError(Reason.MALFORMED_PACKET, message)
/** A Reason Code that this packet must not carry ([MQTT-3.4.2-1] and its sisters). */
export const strangeReason = (code: number, packet: string): PacketError =>
  malformed(`a client must not send Reason Code 0x${code.toString(16).padStart(2, "0")} in ${packet}`)
export const protocolError = (message: string): PacketError => new PacketError(Reason.PROTOCOL_ERROR, message)
