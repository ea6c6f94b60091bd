import { copyBytes, Frames, Trait } from "./frames.js"
import { DUP, type QoS, RETAIN } from "./packet-types.js"
import { Property } from "./properties.js"
import { readVarint, varintLength, writeVarint } from "./varint.js"

/** How one receiver gets a message (MQTT 5.0 section 3.3). */
export interface Encoding {
  v5: boolean
  qos: QoS
  /** 0 at QoS 0 */
  identifier: number
  dup: boolean
  retain: boolean
  /** how long the message waited, in whole seconds: taken off its Message Expiry Interval [MQTT-3.3.2-6] */
  waitedSeconds: number
  /** of all matching Subscriptions [MQTT-3.3.4-4]; undefined: none */
  subscriptionIdentifiers: readonly number[] | undefined
}

/** Where the parts of a PUBLISH lie in its block: offsets. */
interface Parts {
  topicAt: number
  topicEnd: number
  propertiesAt: number
  propertiesEnd: number
  payloadAt: number
  end: number
}

function partsOf(src: Frames, k: number): Parts {
  const start = src.startOf(k)
  const end = src.endOf(k)
  const topicEnd = src.identifierAt(k)
  const topicAt = topicStart(src, k)
  let propertiesAt = topicEnd + (src.buf[start]! & 6 ? 2 : 0)
  let propertiesEnd = propertiesAt
  if (src.isV5(k)) {
    const read = readVarint(src.buf, propertiesAt, end)
    propertiesAt += read & 7
    propertiesEnd = propertiesAt + (read >>> 3)
  }
  return { topicAt, topicEnd, propertiesAt, propertiesEnd, payloadAt: propertiesEnd, end }
}

/** Where the Topic Name begins, behind its length. */
function topicStart(src: Frames, k: number): number {
  const start = src.startOf(k)
  return start + 1 + (readVarint(src.buf, start + 1, src.endOf(k)) & 7) + 2
}

/** The message's Topic Name. */
export function topicOf(src: Frames, k: number): string {
  const { topicAt, topicEnd } = partsOf(src, k)
  return src.buf.toString("utf8", topicAt, topicEnd)
}

/** Whether two messages of a block have the same Topic Name. */
export function sameTopic(src: Frames, k: number, other: number): boolean {
  const { buf } = src
  return buf.compare(buf, topicStart(src, other), src.identifierAt(other), topicStart(src, k), src.identifierAt(k)) === 0
}

/** The message's payload: a view of the block. */
export function payloadOf(src: Frames, k: number): Buffer {
  const { payloadAt, end } = partsOf(src, k)
  return src.buf.subarray(payloadAt, end)
}

/** The properties of a message of MQTT 5.0, without their length: a view of the block. */
export function propertiesOf(src: Frames, k: number): Buffer {
  const { propertiesAt, propertiesEnd } = partsOf(src, k)
  return src.buf.subarray(propertiesAt, propertiesEnd)
}

/** The Message Expiry Interval in seconds as it was published, Infinity without one (section 3.3.2.3.3). */
export function expirySecondsOf(src: Frames, k: number): number {
  if (!(src.traits & Trait.EXPIRY) || !src.isV5(k)) return Infinity
  const { propertiesAt, propertiesEnd } = partsOf(src, k)
  const at = findExpiry(src.buf, propertiesAt, propertiesEnd)
  return at < 0 ? Infinity : src.buf.readUInt32BE(at)
}

/** One PUBLISH packet made anew for a receiver whose version, QoS or properties differ from what was published. */
export function encodeFor(src: Frames, k: number, to: Encoding): Buffer {
  const from = partsOf(src, k)
  const kept = to.v5 ? from.propertiesEnd - from.propertiesAt : 0
  let properties = kept
  for (const id of to.subscriptionIdentifiers ?? []) properties += 1 + varintLength(id)
  const topic = from.topicEnd - from.topicAt
  const length = 2 + topic + (to.qos ? 2 : 0) + (to.v5 ? varintLength(properties) + properties : 0) + (from.end - from.payloadAt)
  const out = Buffer.allocUnsafe(1 + varintLength(length) + length)
  out[0] = 0x30 | (to.qos << 1) | (to.dup ? DUP : 0) | (to.retain ? RETAIN : 0)
  let at = writeVarint(out, 1, length)
  copyBytes(src.buf, out, at, from.topicAt - 2, from.topicEnd)
  at += 2 + topic
  if (to.qos) at = out.writeUInt16BE(to.identifier, at)
  if (to.v5) {
    at = writeVarint(out, at, properties)
    copyBytes(src.buf, out, at, from.propertiesAt, from.propertiesAt + kept)
    if (kept) countDown(out, at, at + kept, to.waitedSeconds)
    at += kept
    for (const id of to.subscriptionIdentifiers ?? []) {
      out[at++] = Property.SUBSCRIPTION_IDENTIFIER
      at = writeVarint(out, at, id)
    }
  }
  copyBytes(src.buf, out, at, from.payloadAt, from.end)
  return out
}

/** A block of one PUBLISH packet, which passed the strict checks. */
export function framesOf(packet: Buffer, v5: boolean): Frames {
  const frames = new Frames(packet, 1)
  const at = 1 + (readVarint(packet, 1, packet.length) & 7)
  const topicEnd = at + 2 + packet.readUInt16BE(at)
  frames.add(topicEnd, packet.length, v5)
  const header = packet[0]!
  frames.traits = (v5 ? Trait.V5 : Trait.V3) | (header & RETAIN ? Trait.RETAIN : 0) | ((header & 6) === 4 ? Trait.QOS2 : 0)
  const { propertiesAt, propertiesEnd } = partsOf(frames, 0)
  if (v5 && findExpiry(packet, propertiesAt, propertiesEnd) >= 0) frames.traits |= Trait.EXPIRY
  return frames
}

/** The whole block in another encoding: made once, shared by all receivers that want it. `waitedSeconds` are taken off what expires. */
export function convert(src: Frames, v5: boolean, qos: QoS, waitedSeconds = 0): Frames {
  const parts: Buffer[] = []
  const out = new Frames(src.buf, src.n)
  for (let k = 0; k < src.n; k++) {
    const retain = (src.headerOf(k) & RETAIN) === RETAIN
    const part = encodeFor(src, k, { v5, qos, identifier: 0, dup: false, retain, waitedSeconds, subscriptionIdentifiers: undefined })
    const from = partsOf(src, k)
    const topicEnd = out.end + 1 + (readVarint(part, 1, part.length) & 7) + 2 + (from.topicEnd - from.topicAt)
    parts.push(part)
    out.add(topicEnd, out.end + part.length, v5)
  }
  out.buf = Buffer.concat(parts)
  out.traits = (v5 ? Trait.V5 | (src.traits & Trait.EXPIRY) : Trait.V3) | (src.traits & Trait.RETAIN) | (qos === 2 ? Trait.QOS2 : 0)
  for (let k = 0; k < src.n; k++) if (src.isKept(k)) out.markKept(k)
  return out
}

function countDown(buf: Buffer, at: number, end: number, seconds: number): void {
  const expiryAt = seconds > 0 ? findExpiry(buf, at, end) : -1
  if (expiryAt >= 0) buf.writeUInt32BE(Math.max(0, buf.readUInt32BE(expiryAt) - seconds), expiryAt)
}

/** Offset of the Message Expiry Interval among a PUBLISH's checked properties, -1 without one. */
function findExpiry(buf: Buffer, at: number, end: number): number {
  return findLong(buf, at, end, Property.MESSAGE_EXPIRY_INTERVAL)
}

/** Offset of the value of a property of four bytes among the checked properties of a PUBLISH or a Will, -1 without one. */
export function findLong(buf: Buffer, at: number, end: number, wanted: number): number {
  while (at < end) {
    const id = buf[at++]!
    if (id === wanted) return at
    if (id === 1) at += 1
    else if (id === Property.TOPIC_ALIAS) at += 2
    else if (id === Property.MESSAGE_EXPIRY_INTERVAL || id === Property.WILL_DELAY_INTERVAL) at += 4
    else if (id === Property.SUBSCRIPTION_IDENTIFIER) at += readVarint(buf, at, end) & 7
    else {
      at += 2 + buf.readUInt16BE(at)
      if (id === 38) at += 2 + buf.readUInt16BE(at)
    }
  }
  return -1
}
