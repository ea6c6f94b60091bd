import { malformed, PacketError, protocolError, Reason } from "./reason-codes.js"
import { readVarint } from "./varint.js"
import { validTopicName, validUtf8 } from "./utf8.js"

/** Property identifiers of MQTT 5.0 that the broker itself looks at (section 2.2.2.2). */
export const Property = {
  MESSAGE_EXPIRY_INTERVAL: 2,
  SUBSCRIPTION_IDENTIFIER: 11,
  SESSION_EXPIRY_INTERVAL: 17,
  WILL_DELAY_INTERVAL: 24,
  TOPIC_ALIAS: 35,
} as const

/** Packets that carry properties; bits, since one property may stand in several. */
const OWNER_BITS = { PUBLISH: 1, WILL: 2, CONNECT: 4, DISCONNECT: 8, SUBSCRIBE: 16, UNSUBSCRIBE: 32, ACK: 64, AUTH: 128 } as const
export type PropertyOwner = keyof typeof OWNER_BITS

type Kind = "byte" | "two" | "four" | "varint" | "string" | "binary" | "pair"

// identifier → [kind, packets that may carry it]; WILL is the will in a CONNECT
const PROPERTY_TABLE = new Map<number, readonly [kind: Kind, owners: number]>([
  [1, ["byte", OWNER_BITS.PUBLISH | OWNER_BITS.WILL]],
  [2, ["four", OWNER_BITS.PUBLISH | OWNER_BITS.WILL]],
  [3, ["string", OWNER_BITS.PUBLISH | OWNER_BITS.WILL]],
  [8, ["string", OWNER_BITS.PUBLISH | OWNER_BITS.WILL]],
  [9, ["binary", OWNER_BITS.PUBLISH | OWNER_BITS.WILL]],
  [11, ["varint", OWNER_BITS.PUBLISH | OWNER_BITS.SUBSCRIBE]],
  [17, ["four", OWNER_BITS.CONNECT | OWNER_BITS.DISCONNECT]],
  [21, ["string", OWNER_BITS.CONNECT | OWNER_BITS.AUTH]],
  [22, ["binary", OWNER_BITS.CONNECT | OWNER_BITS.AUTH]],
  [23, ["byte", OWNER_BITS.CONNECT]],
  [24, ["four", OWNER_BITS.WILL]],
  [25, ["byte", OWNER_BITS.CONNECT]],
  [28, ["string", OWNER_BITS.DISCONNECT]],
  [31, ["string", OWNER_BITS.ACK | OWNER_BITS.DISCONNECT | OWNER_BITS.AUTH]],
  [33, ["two", OWNER_BITS.CONNECT]],
  [34, ["two", OWNER_BITS.CONNECT]],
  [35, ["two", OWNER_BITS.PUBLISH]],
  [
    38,
    [
      "pair",
      OWNER_BITS.CONNECT |
        OWNER_BITS.WILL |
        OWNER_BITS.PUBLISH |
        OWNER_BITS.ACK |
        OWNER_BITS.SUBSCRIBE |
        OWNER_BITS.UNSUBSCRIBE |
        OWNER_BITS.DISCONNECT |
        OWNER_BITS.AUTH,
    ],
  ],
  [39, ["four", OWNER_BITS.CONNECT]],
])

const AUTHENTICATION_METHOD = 1 << 21
const AUTHENTICATION_DATA = 1 << 22

/** What checkProperties found; one object per packet with properties is not worth a second walk. */
export interface PropertyFacts {
  /** seconds, undefined when absent (section 3.3.2.3.3) */
  messageExpirySeconds: number | undefined
  topicAlias: number | undefined
  /** seconds, undefined when absent (section 3.14.2.2.2) */
  sessionExpirySeconds: number | undefined
  /** undefined when absent (section 3.8.2.1.2) */
  subscriptionIdentifier: number | undefined
}

/**
 * Checks the properties in `from` to `end` (without their length) against the standard: known identifiers, allowed in
 * this packet, at most once, values complete and in range. Throws a PacketError with the reason code of section 4.13.
 */
export function checkProperties(buf: Buffer, from: number, end: number, owner: PropertyOwner): PropertyFacts {
  const facts: PropertyFacts = {
    messageExpirySeconds: undefined,
    topicAlias: undefined,
    sessionExpirySeconds: undefined,
    subscriptionIdentifier: undefined,
  }
  let low = 0 // identifiers below 32 that were seen, one bit each
  let high = 0
  let at = from
  while (at < end) {
    const id = buf[at++]!
    const entry = PROPERTY_TABLE.get(id)
    if (!entry || !(entry[1] & OWNER_BITS[owner])) throw malformed(`property ${id} is not allowed in ${owner}`)
    const bit = 1 << (id & 31)
    if ((id < 32 ? low : high) & bit && id !== 38) throw protocolError(`property ${id} stands twice in ${owner}`)
    if (id < 32) low |= bit
    else high |= bit
    const next = skip(buf, at, end, entry[0])
    checkValue(buf, at, id, owner)
    if (id === Property.MESSAGE_EXPIRY_INTERVAL) facts.messageExpirySeconds = buf.readUInt32BE(at)
    if (id === Property.TOPIC_ALIAS) facts.topicAlias = buf.readUInt16BE(at)
    if (id === Property.SESSION_EXPIRY_INTERVAL) facts.sessionExpirySeconds = buf.readUInt32BE(at)
    if (id === Property.SUBSCRIPTION_IDENTIFIER) facts.subscriptionIdentifier = readVarint(buf, at, end) >>> 3
    at = next
  }
  if (owner === "CONNECT" && low & AUTHENTICATION_DATA && !(low & AUTHENTICATION_METHOD))
    throw protocolError("Authentication Data without an Authentication Method")
  return facts
}

/** A block of properties with its length; behind which offset it ends. Throws a PacketError as {@link checkProperties} does. */
export function readProperties(
  buf: Buffer,
  at: number,
  end: number,
  owner: PropertyOwner,
): { behind: number; facts: PropertyFacts | undefined } {
  const read = readVarint(buf, at, end)
  const from = at + (read & 7)
  const behindAll = from + (read >>> 3)
  if (read < 0 || behindAll > end) throw malformed(`the property length of ${owner} does not add up`)
  return { behind: behindAll, facts: behindAll > from ? checkProperties(buf, from, behindAll, owner) : undefined }
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
