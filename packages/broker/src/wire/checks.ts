import { topicFilterProblem } from "@mqtt-trio/common"
import { behindString, checkProperties, type PropertyFacts, type PropertyOwner } from "./properties.js"
import { CLIENT_REASONS, malformed, PacketError, protocolError, Reason, strangeReason } from "./reason-codes.js"
import { readVarint } from "./varint.js"
import { tooDeep, validTopicName } from "./utf8.js"
import { PacketType, type ProtocolVersion } from "./packet-types.js"

/*
 * Strict checks of the control packets, before any library sees them: what the standard calls malformed or a protocol
 * error throws a PacketError. `at` and `end` enclose the packet's body, behind the fixed header. Bits that MQTT 3.1 does
 * not use are cleared where the later versions forbid them: its clients may set them.
 */

/** Whether a CONNECT's body begins as that of MQTT 3.1. */
export function isVersion31(buf: Buffer, at: number, end: number): boolean {
  return at + 9 <= end && buf.toString("latin1", at, at + 9) === "\0\u0006MQIsdp\u0003"
}

/** Checks a CONNECT whose protocol was checked before (MQTT 5.0 and 3.1.1 section 3.1). */
export function checkConnect(buf: Buffer, at: number, end: number, { version, levels }: FilterRules): void {
  const flagsAt = at + (version === 3 ? 9 : 7)
  let o = flagsAt + 3 // flags, Keep Alive
  if (o > end) throw malformed("CONNECT is too short")
  if (version === 3) buf[flagsAt]! &= buf[flagsAt]! & 4 ? ~1 : ~0x39 // without a Will its QoS and RETAIN are disregarded
  const flags = buf[flagsAt]!
  checkConnectFlags(flags, version)
  if (version === 5) o = checkBlock(buf, o, end, "CONNECT")
  const clientId = o
  o = behindString(buf, o, end, true)
  if (version < 5 && o === clientId + 2 && (version === 3 || !(flags & 2)))
    throw new PacketError(Reason.CLIENT_IDENTIFIER_NOT_VALID, "an empty Client Identifier needs Clean Session 1 and MQTT 3.1.1")
  if (flags & 4) o = checkWill(buf, o, end, { version, levels })
  for (const flag of [128, 64]) {
    if (!(flags & flag)) continue
    if (version === 3 && o === end) buf[flagsAt]! &= ~flag // the Remaining Length takes precedence (3.1 section 3.1)
    else o = behindString(buf, o, end, flag === 128)
  }
  if (o !== end) throw malformed("CONNECT has bytes behind its payload")
}

/** The version that a CONNECT names (section 3.1.2.1). */
export function checkProtocol(buf: Buffer, at: number, end: number): ProtocolVersion {
  const behind = behindString(buf, at, end, true)
  const name = buf.toString("latin1", at + 2, behind)
  if (behind >= end) throw malformed("CONNECT is too short")
  const level = buf[behind]!
  if (name === "MQTT" && (level === 4 || level === 5)) return level
  if (name === "MQIsdp" && level === 3) return 3
  if (name === "MQTT" || name === "MQIsdp")
    throw new PacketError(Reason.UNSUPPORTED_PROTOCOL_VERSION, `protocol version ${level} is not supported`)
  throw malformed("this is not MQTT")
}

function checkConnectFlags(flags: number, version: ProtocolVersion): void {
  if (flags & 1) throw malformed("the reserved flag of CONNECT must be 0 [MQTT-3.1.2-3]")
  const willQos = (flags >> 3) & 3
  if (willQos === 3) throw malformed("Will QoS 3")
  if (!(flags & 4) && flags & 0x38) throw malformed("Will QoS or Will Retain without Will Flag")
  if (version < 5 && flags & 64 && !(flags & 128)) throw malformed("a password without a user name [MQTT-3.1.2-22]")
}

function checkWill(buf: Buffer, at: number, end: number, { version, levels }: Pick<FilterRules, "version" | "levels">): number {
  const topic = version === 5 ? checkBlock(buf, at, end, "WILL") : at
  const message = behindString(buf, topic, end, true)
  if (!validTopicName(buf, topic + 2, message)) throw new PacketError(Reason.TOPIC_NAME_INVALID, "the Will Topic is not a Topic Name")
  if (tooDeep(buf.toString("utf8", topic + 2, message), levels))
    throw new PacketError(Reason.TOPIC_NAME_INVALID, `the Will Topic has more than ${levels} levels`)
  return behindString(buf, message, end, false)
}

/** A property block with its length; returns the offset behind it. */
function checkBlock(buf: Buffer, at: number, end: number, owner: PropertyOwner): number {
  return readBlock(buf, at, end, owner).behind
}

function readBlock(buf: Buffer, at: number, end: number, owner: PropertyOwner): { behind: number; facts: PropertyFacts | undefined } {
  const read = readVarint(buf, at, end)
  const from = at + (read & 7)
  const behind = from + (read >>> 3)
  if (read < 0 || behind > end) throw malformed("the property length does not add up")
  return { behind, facts: behind > from ? checkProperties(buf, from, behind, owner) : undefined }
}

/** What topics and Topic Filters are checked by. */
export interface FilterRules {
  version: ProtocolVersion
  levels: number
  /** most Topic Filters in one packet */
  most: number
}

/** Checks a SUBSCRIBE (section 3.8). Filters that are well-formed strings but no valid Topic Filter are refused by the answer in 5.0. */
export function checkSubscribe(buf: Buffer, at: number, end: number, { version, levels, most }: FilterRules): void {
  let o = checkIdentifier(buf, at, end)
  if (version === 5) o = checkBlock(buf, o, end, "SUBSCRIBE")
  if (o === end) throw protocolError("SUBSCRIBE without a Topic Filter [MQTT-3.8.3-2]")
  for (let n = 0; o < end; n++) {
    if (n === most) throw new PacketError(Reason.QUOTA_EXCEEDED, `more than ${most} Topic Filters in one packet`)
    const behind = behindString(buf, o, end, true)
    if (behind >= end) throw malformed("a Topic Filter without options")
    checkFilter(buf.toString("utf8", o + 2, behind), levels)
    if (version === 3) buf[behind]! &= 3
    const options = buf[behind]!
    if (options & (version === 5 ? 0xc0 : 0xfc)) throw malformed("reserved bits of the Subscription Options must be 0 [MQTT-3.8.3-5]")
    if ((options & 3) === 3) throw protocolError("QoS 3 in SUBSCRIBE")
    if ((options & 0x30) === 0x30) throw protocolError("Retain Handling 3")
    if (options & 4 && buf.toString("latin1", o + 2, o + 9) === "$share/")
      throw protocolError("No Local on a Shared Subscription [MQTT-3.8.3-4]")
    o = behind + 1
  }
}

/** Checks an UNSUBSCRIBE (section 3.10). */
export function checkUnsubscribe(buf: Buffer, at: number, end: number, { version, levels, most }: FilterRules): void {
  let o = checkIdentifier(buf, at, end)
  if (version === 5) o = checkBlock(buf, o, end, "UNSUBSCRIBE")
  if (o === end) throw protocolError("UNSUBSCRIBE without a Topic Filter [MQTT-3.10.3-2]")
  for (let n = 0; o < end; n++) {
    if (n === most) throw new PacketError(Reason.QUOTA_EXCEEDED, `more than ${most} Topic Filters in one packet`)
    const behind = behindString(buf, o, end, true)
    checkFilter(buf.toString("utf8", o + 2, behind), levels)
    o = behind
  }
}

/** What a DISCONNECT of a client says. */
export interface Leave {
  reason: number
  /** Session Expiry Interval in seconds, undefined when absent */
  expirySeconds: number | undefined
}

/** Checks a DISCONNECT of a client (section 3.14). */
export function checkDisconnect(buf: Buffer, at: number, end: number, version: ProtocolVersion): Leave {
  if (version < 5 && at !== end) throw malformed("DISCONNECT must be empty")
  if (at === end) return { reason: Reason.SUCCESS, expirySeconds: undefined }
  const reason = buf[at]!
  if (!CLIENT_REASONS.get(PacketType.DISCONNECT)?.has(reason)) throw strangeReason(reason, "DISCONNECT")
  if (at + 1 === end) return { reason, expirySeconds: undefined }
  const { behind, facts } = readBlock(buf, at + 1, end, "DISCONNECT")
  if (behind !== end) throw malformed("DISCONNECT has bytes behind its properties")
  return { reason, expirySeconds: facts?.sessionExpirySeconds }
}

function checkIdentifier(buf: Buffer, at: number, end: number): number {
  if (at + 2 > end) throw malformed("the Packet Identifier is missing")
  if (buf[at] === 0 && buf[at + 1] === 0) throw malformed("Packet Identifier 0 [MQTT-2.2.1-3]")
  return at + 2
}

function checkFilter(filter: string, levels: number): void {
  const problem = topicFilterProblem(filter) ?? (tooDeep(filter, levels) ? `more than ${levels} levels` : undefined)
  if (problem) throw new PacketError(Reason.TOPIC_FILTER_INVALID, `Topic Filter ${JSON.stringify(filter.slice(0, 100))}: ${problem}`)
}
