import { topicFilterProblem } from "@mqtt-trio/common"
import { behindString, type PropertyOwner, readProperties } from "./properties.js"
import { CLIENT_REASONS, malformed, PacketError, protocolError, Reason, strangeReason } from "./reason-codes.js"
import { tooDeep, validTopicName } from "./utf8.js"
import { PacketType, type ProtocolVersion, type QoS, toQoS } from "./packet-types.js"

/*
 * The control packets of a client, read strictly: what the standard calls malformed or a protocol error throws a
 * PacketError. `at` and `end` enclose the packet's body, behind the fixed header. Bits that MQTT 3.1 does
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

/** What a CONNECT says that it speaks. */
export interface Protocol {
  version: ProtocolVersion
  /** The client is a bridge of MQTT 3.1 or 3.1.1: it wants No Local and Retain As Published, which these versions cannot say. */
  bridge: boolean
}

/** The bit of the protocol level by which a bridge of mosquitto, and of those who took it over, says what it is. */
const BRIDGE = 0x80

/** The version that a CONNECT names (section 3.1.2.1). */
export function checkProtocol(buf: Buffer, at: number, end: number): Protocol {
  const behind = behindString(buf, at, end, true)
  const name = buf.toString("latin1", at + 2, behind)
  if (behind >= end) throw malformed("CONNECT is too short")
  const level = buf[behind]!
  if (name === "MQTT" && level === 5) return { version: level, bridge: false }
  const version = level & ~BRIDGE
  if ((name === "MQTT" && version === 4) || (name === "MQIsdp" && version === 3)) return { version, bridge: level !== version }
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

function checkBlock(buf: Buffer, at: number, end: number, owner: PropertyOwner): number {
  return readProperties(buf, at, end, owner).behind
}

/** What topics and Topic Filters are checked by. */
export interface FilterRules {
  version: ProtocolVersion
  levels: number
  /** most Topic Filters in one packet */
  most: number
}

/** The same for a SUBSCRIBE; `bridge`: as in Protocol. */
export interface SubscribeRules extends FilterRules {
  bridge: boolean
}

/** One Topic Filter of a SUBSCRIBE with its options (MQTT 5.0 section 3.8.3.1). */
export interface RequestedSubscription {
  filter: string
  qos: QoS
  noLocal: boolean
  retainAsPublished: boolean
  /** Retain Handling: 0 always, 1 for a new Subscription, 2 never */
  retainHandling: number
}

export interface SubscribePacket {
  /** Packet Identifier */
  id: number
  /** Subscription Identifier, 0: none */
  subscriptionIdentifier: number
  subscriptions: RequestedSubscription[]
}

/** Reads and checks a SUBSCRIBE (section 3.8). */
export function readSubscribe(buf: Buffer, at: number, end: number, rules: SubscribeRules): SubscribePacket {
  const { version, levels, most, bridge } = rules
  const id = readIdentifier(buf, at, end)
  const { behind: first, facts } = version === 5 ? readProperties(buf, at + 2, end, "SUBSCRIBE") : { behind: at + 2, facts: undefined }
  if (first === end) throw protocolError("SUBSCRIBE without a Topic Filter [MQTT-3.8.3-2]")
  const subscriptions: RequestedSubscription[] = []
  for (let o = first; o < end;) {
    if (subscriptions.length === most) throw new PacketError(Reason.QUOTA_EXCEEDED, `more than ${most} Topic Filters in one packet`)
    const behind = behindString(buf, o, end, true)
    if (behind >= end) throw malformed("a Topic Filter without options")
    const filter = buf.toString("utf8", o + 2, behind)
    checkFilter(filter, levels)
    if (version === 3) buf[behind]! &= 3
    const options = buf[behind]!
    if (options & (version === 5 ? 0xc0 : 0xfc)) throw malformed("reserved bits of the Subscription Options must be 0 [MQTT-3.8.3-5]")
    const qos = toQoS(options & 3)
    if (qos === undefined) throw protocolError("QoS 3 in SUBSCRIBE")
    if ((options & 0x30) === 0x30) throw protocolError("Retain Handling 3")
    const shared = filter.startsWith("$share/")
    if (options & 4 && shared) throw protocolError("No Local on a Shared Subscription [MQTT-3.8.3-4]")
    const noLocal = (options & 4) !== 0 || (bridge && !shared)
    subscriptions.push({ filter, qos, noLocal, retainAsPublished: bridge || (options & 8) !== 0, retainHandling: options >> 4 })
    o = behind + 1
  }
  return { id, subscriptionIdentifier: facts?.subscriptionIdentifier ?? 0, subscriptions }
}

export interface UnsubscribePacket {
  /** Packet Identifier */
  id: number
  filters: string[]
}

/** Reads and checks an UNSUBSCRIBE (section 3.10). */
export function readUnsubscribe(buf: Buffer, at: number, end: number, { version, levels, most }: FilterRules): UnsubscribePacket {
  const id = readIdentifier(buf, at, end)
  let o = version === 5 ? checkBlock(buf, at + 2, end, "UNSUBSCRIBE") : at + 2
  if (o === end) throw protocolError("UNSUBSCRIBE without a Topic Filter [MQTT-3.10.3-2]")
  const filters: string[] = []
  while (o < end) {
    if (filters.length === most) throw new PacketError(Reason.QUOTA_EXCEEDED, `more than ${most} Topic Filters in one packet`)
    const behind = behindString(buf, o, end, true)
    const filter = buf.toString("utf8", o + 2, behind)
    checkFilter(filter, levels)
    filters.push(filter)
    o = behind
  }
  return { id, filters }
}

/** What a DISCONNECT of a client says. */
export interface DisconnectPacket {
  reason: number
  /** Session Expiry Interval in seconds, undefined when absent */
  expirySeconds: number | undefined
}

/** Reads and checks a DISCONNECT of a client (section 3.14). */
export function readDisconnect(buf: Buffer, at: number, end: number, version: ProtocolVersion): DisconnectPacket {
  if (version < 5 && at !== end) throw malformed("DISCONNECT must be empty")
  if (at === end) return { reason: Reason.SUCCESS, expirySeconds: undefined }
  const reason = buf[at]!
  if (!CLIENT_REASONS.get(PacketType.DISCONNECT)?.has(reason)) throw strangeReason(reason, "DISCONNECT")
  if (at + 1 === end) return { reason, expirySeconds: undefined }
  const { behind, facts } = readProperties(buf, at + 1, end, "DISCONNECT")
  if (behind !== end) throw malformed("DISCONNECT has bytes behind its properties")
  return { reason, expirySeconds: facts?.sessionExpirySeconds }
}

function readIdentifier(buf: Buffer, at: number, end: number): number {
  if (at + 2 > end) throw malformed("the Packet Identifier is missing")
  const id = buf.readUInt16BE(at)
  if (id === 0) throw malformed("Packet Identifier 0 [MQTT-2.2.1-3]")
  return id
}

function checkFilter(filter: string, levels: number): void {
  const problem = topicFilterProblem(filter) ?? (tooDeep(filter, levels) ? `more than ${levels} levels` : undefined)
  if (problem) throw new PacketError(Reason.TOPIC_FILTER_INVALID, `Topic Filter ${JSON.stringify(filter.slice(0, 100))}: ${problem}`)
}
