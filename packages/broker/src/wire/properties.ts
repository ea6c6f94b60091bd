import { malformed, PacketError, protocolError, Reason } from "./reason-codes.js"
import { readVarint } from "./varint.js"
import { validTopicName, validUtf8 } from "./utf8.js"

/** Property identifiers of MQTT 5.0 that the broker itself looks at (section 2.2.2.2). */
export const Property = {
  MESSAGE_EXPIRY_INTERVAL: 2,
  SUBSCRIPTION_IDENTIFIER: 11,
  TOPIC_ALIAS: 35,
} as const

type Kind = "byte" | "two" | "four" | "varint" | "string" | "binary" | "pair"

// identifier → [kind, packets that may carry it]; WILL is the will in a CONNECT
const TABLE = new Map<number, readonly [Kind, string]>([
  [1, ["byte", "PUBLISH WILL"]],
  [2, ["four", "PUBLISH WILL"]],
  [3, ["string", "PUBLISH WILL"]],
  [8, ["string", "PUBLISH WILL"]],
  [9, ["binary", "PUBLISH WILL"]],
  [11, ["varint", "PUBLISH SUBSCRIBE"]],
  [17, ["four", "CONNECT DISCONNECT"]],
  [21, ["string", "CONNECT AUTH"]],
  [22, ["binary", "CONNECT AUTH"]],
  [23, ["byte", "CONNECT"]],
  [24, ["four", "WILL"]],
  [25, ["byte", "CONNECT"]],
  [28, ["string", "DISCONNECT"]],
  [31, ["string", "ACK DISCONNECT AUTH"]],
  [33, ["two", "CONNECT"]],
  [34, ["two", "CONNECT"]],
  [35, ["two", "PUBLISH"]],
  [38, ["pair", "CONNECT WILL PUBLISH ACK SUBSCRIBE UNSUBSCRIBE DISCONNECT AUTH"]],
  [39, ["four", "CONNECT"]],
])

const AUTHENTICATION_METHOD = 1n << 21n
const AUTHENTICATION_DATA = 1n << 22n

/** What checkProperties found in a PUBLISH; one object per packet with properties is not worth a second walk. */
export interface PropertyFacts {
  /** seconds, undefined when absent (section 3.3.2.3.3) */
  messageExpirySeconds: number | undefined
  topicAlias: number | undefined
}

export type PropertyOwner = "CONNECT" | "WILL" | "PUBLISH" | "ACK" | "SUBSCRIBE" | "UNSUBSCRIBE" | "DISCONNECT" | "AUTH"

/**
 * Checks the properties in `from` to `end` (without their length) against the standard: known identifiers, allowed in
 * this packet, at most once, values complete and in range. Throws a PacketError with the reason code of section 4.13.
 */
export function checkProperties(buf: Buffer, from: number, end: number, owner: PropertyOwner): PropertyFacts {
  const facts: PropertyFacts = { messageExpirySeconds: undefined, topicAlias: undefined }
  let seen = 0n
  let at = from
  while (at < end) {
    const id = buf[at++]!
    const entry = TABLE.get(id)
    if (!entry || !entry[1].split(" ").includes(owner)) throw malformed(`property ${id} is not allowed in ${owner}`)
    const bit = 1n << BigInt(id)
    if (seen & bit && id !== 38) throw protocolError(`property ${id} stands twice in ${owner}`)
    seen |= bit
    const next = skip(buf, at, end, entry[0])
    checkValue(buf, at, id, owner)
    if (id === Property.MESSAGE_EXPIRY_INTERVAL) facts.messageExpirySeconds = buf.readUInt32BE(at)
    if (id === Property.TOPIC_ALIAS) facts.topicAlias = buf.readUInt16BE(at)
    at = next
  }
  if (owner === "CONNECT" && seen & AUTHENTICATION_DATA && !(seen & AUTHENTICATION_METHOD))
    throw protocolError("Authentication Data without an Authentication Method")
  return facts
}

function skip(buf: Buffer, at: number, end: number, kind: Kind): number {
  const next = behind(buf, at, end, kind)
  if (next > end) throw malformed("a property reaches past the end of the properties")
  return next
}

function behind(buf: Buffer, at: number, end: number, kind: Kind): number {
  switch (kind) {
    case "byte":
      return at + 1
    case "two":
      return at + 2
    case "four":
      return at + 4
    case "varint": {
      const read = readVarint(buf, at, end)
      if (read < 0) throw malformed("a property holds an ill-formed Variable Byte Integer")
      return at + (read & 7)
    }
    case "string":
      return behindString(buf, at, end, true)
    case "binary":
      return behindString(buf, at, end, false)
    case "pair":
      return behindString(buf, behindString(buf, at, end, true), end, true)
  }
}

/** The offset behind a length-prefixed field that starts at `at`. Throws when it passes `end` or is not valid UTF-8. */
export function behindString(buf: Buffer, at: number, end: number, utf8: boolean): number {
  if (at + 2 > end) throw malformed("a field's length is missing")
  const next = at + 2 + buf.readUInt16BE(at)
  if (next > end) throw malformed("a field reaches past the end of the packet")
  if (utf8 && !validUtf8(buf, at + 2, next)) throw malformed("a string is not well-formed UTF-8 or holds U+0000")
  return next
}

function checkValue(buf: Buffer, at: number, id: number, owner: PropertyOwner): void {
  switch (id) {
    case 1: // Payload Format Indicator
    case 23: // Request Problem Information
    case 25: // Request Response Information
      if (buf[at]! > 1) throw protocolError(`property ${id} must be 0 or 1`)
      break
    case 33: // Receive Maximum
      if (buf.readUInt16BE(at) === 0) throw protocolError("Receive Maximum must not be 0")
      break
    case 39: // Maximum Packet Size
      if (buf.readUInt32BE(at) === 0) throw protocolError("Maximum Packet Size must not be 0")
      break
    case 35:
      if (buf.readUInt16BE(at) === 0) throw new PacketError(Reason.TOPIC_ALIAS_INVALID, "Topic Alias must not be 0")
      break
    case 11: // a client may not send one in PUBLISH [MQTT-3.3.4-6], nor 0 in SUBSCRIBE
      if (owner === "PUBLISH") throw protocolError("a client must not send a Subscription Identifier in PUBLISH")
      if (buf[at] === 0) throw protocolError("Subscription Identifier must not be 0")
      break
    case 8: // Response Topic
      if (!validTopicName(buf, at + 2, at + 2 + buf.readUInt16BE(at)))
        throw protocolError("Response Topic must be a Topic Name without wildcards")
      break
    default:
      break
  }
}
