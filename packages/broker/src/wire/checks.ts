import { topicFilterProblem } from "@mqtt-trio/common"
import { behindString, checkProperties } from "./properties.js"
import { malformed, PacketError, protocolError, Reason } from "./reason-codes.js"
import { readVarint } from "./varint.js"
import { tooDeep, validTopicName } from "./utf8.js"
import type { ProtocolVersion } from "./packet-types.js"

/*
 * Strict checks of the control packets, before any library sees them: what the standard calls malformed or a protocol
 * error throws a PacketError. `at` and `end` enclose the packet's body, behind the fixed header.
 */

/** Checks a CONNECT whose protocol was checked before (MQTT 5.0 and 3.1.1 section 3.1). */
export function checkConnect(buf: Buffer, at: number, end: number, { version, levels }: FilterRules): void {
  let o = at + (version === 3 ? 9 : 7)
  if (o + 3 > end) throw malformed("CONNECT is too short")
  const flags = buf[o]!
  checkConnectFlags(flags, version)
  o += 3 // flags, Keep Alive
  if (version === 5) o = checkBlock(buf, o, end, "CONNECT")
  const clientId = o
  o = behindString(buf, o, end, true)
  if (version < 5 && o === clientId + 2 && (version === 3 || !(flags & 2)))
    throw new PacketError(Reason.CLIENT_IDENTIFIER_NOT_VALID, "an empty Client Identifier needs Clean Session 1 and MQTT 3.1.1")
  if (flags & 4) o = checkWill(buf, o, end, { version, levels })
  if (flags & 128) o = behindString(buf, o, end, true)
  if (flags & 64) o = behindString(buf, o, end, false)
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
function checkBlock(buf: Buffer, at: number, end: number, owner: Parameters<typeof checkProperties>[3]): number {
  const read = readVarint(buf, at, end)
  const from = at + (read & 7)
  const to = from + (read >>> 3)
  if (read < 0 || to > end) throw malformed("the property length does not add up")
  if (to > from) checkProperties(buf, from, to, owner)
  return to
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
    const options = buf[behind]!
    if ((options & 3) === 3) throw malformed("QoS 3 in SUBSCRIBE")
    if (options & (version === 5 ? 0xc0 : 0xfc)) throw malformed("reserved bits of the Subscription Options must be 0")
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

/** Checks a DISCONNECT of a client (section 3.14); returns its Reason Code. */
export function checkDisconnect(buf: Buffer, at: number, end: number, version: ProtocolVersion): number {
  if (version < 5 && at !== end) throw malformed("DISCONNECT must be empty")
  if (at === end) return Reason.SUCCESS
  if (at + 1 < end && checkBlock(buf, at + 1, end, "DISCONNECT") !== end) throw malformed("DISCONNECT has bytes behind its properties")
  return buf[at]!
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
