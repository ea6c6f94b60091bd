import { isUtf8 } from "node:buffer"
import { Binary } from "mongodb"
import type { Frames } from "../../wire/frames.js"
import { DUP, type QoS, qosOf, RETAIN } from "../../wire/packet-types.js"
import { framesOf, payloadOf, propertiesOf, topicOf } from "../../wire/publish.js"
import { varintLength, writeVarint } from "../../wire/varint.js"
import { Damage } from "../errors.js"
import type { MessageDocument } from "./documents.js"

/** A message of a block as a document. */
export function documentOf(src: Frames, k: number): MessageDocument {
  const header = src.headerOf(k)
  return {
    topic: topicOf(src, k),
    payload: readable(payloadOf(src, k)),
    qos: qosOf(header),
    retain: (header & RETAIN) !== 0,
    dup: (header & DUP) !== 0,
    version: src.isV5(k) ? 5 : 4,
    ...(src.isV5(k) && propertiesOf(src, k).length > 0 && { properties: new Binary(propertiesOf(src, k)) }),
    at: new Date(src.createdAt),
  }
}

/** The PUBLISH packet of a document, as a block. */
export function messageOf(document: MessageDocument): Frames {
  const { qos, retain, dup, version } = document
  const topic = Buffer.from(document.topic)
  const payload = bytesOf(document.payload)
  const properties = version === 5 ? bytesOf(document.properties ?? "") : undefined
  const inner = properties ? varintLength(properties.length) + properties.length : 0
  const length = 2 + topic.length + (qos ? 2 : 0) + inner + payload.length
  const packet = Buffer.alloc(1 + varintLength(length) + length)
  packet[0] = headerOf(qos, retain, dup)
  let at = writeVarint(packet, 1, length)
  at = packet.writeUInt16BE(topic.length, at)
  at += topic.copy(packet, at) + (qos ? 2 : 0)
  if (properties) {
    at = writeVarint(packet, at, properties.length)
    at += properties.copy(packet, at)
  }
  payload.copy(packet, at)
  return framesOf(packet, version === 5)
}

/** What is said of a message that is not what was written. */
export function damaged(id: string | number): Damage {
  return new Damage(`the message in the document with _id ${JSON.stringify(id)} is damaged; mend the document, or remove it`)
}

/** Throws Damage when somebody made something else of a document. */
export function checkMessage({ _id, topic, payload, qos, at, properties }: MessageDocument & { _id: string | number }): void {
  const areBytes = [payload, properties ?? ""].every((one) => typeof one === "string" || one instanceof Binary)
  if (typeof topic !== "string" || !areBytes || ![0, 1, 2].includes(qos) || !(at instanceof Date)) throw damaged(_id)
}

function headerOf(qos: QoS, retain: boolean, dup: boolean): number {
  return 0x30 | (qos << 1) | (retain ? RETAIN : 0) | (dup ? DUP : 0)
}

/** Text where it is text that any tool shows and any server takes. */
function readable(bytes: Buffer): string | Binary {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  if (isUtf8(bytes) && !/[\0-\x08\x0e-\x1f\x7f]/.test(bytes.toString())) return bytes.toString()
  return new Binary(bytes)
}

/** The bytes of a payload, or of any binary value. */
export function bytesOf(value: string | Binary): Buffer {
  return typeof value === "string" ? Buffer.from(value) : Buffer.from(value.buffer.buffer, value.buffer.byteOffset, value.length())
}
