import { isUtf8 } from "node:buffer"
import type { UserProperties } from "@mqtt-trio/common"
import type { ReceivedMessage } from "@mqtt-trio/client"
import type { Arrival } from "./clock.js"
import { compactJson, prettyJson } from "./json-text.js"
import { strftime, zoneOffset } from "./strftime.js"

/** How the payload stands in the JSON of a message: as text, as bytes, or as the JSON that it is itself. */
export type PayloadEncoding = "utf8" | "hex" | "base64" | "json"

export interface JsonStyle {
  /** `undefined`: text where the payload is valid UTF-8, else base64. */
  readonly encoding: PayloadEncoding | undefined
  /** Name the encoding always; else only where it is not text. */
  readonly nameEncoding: boolean
  readonly pretty: boolean
}

/** Properties of PUBLISH by the names that mosquitto gives them. */
const PROPERTY_NAMES: Readonly<Record<string, string>> = {
  payloadFormatIndicator: "payload-format-indicator",
  messageExpiryInterval: "message-expiry-interval",
  topicAlias: "topic-alias",
  responseTopic: "response-topic",
  correlationData: "correlation-data",
  subscriptionIdentifier: "subscription-identifier",
  contentType: "content-type",
  userProperties: "user-properties",
}

/** A message as one JSON object with mosquitto's keys. Throws a SyntaxError when the payload shall be JSON and is not. */
export function jsonMessage(message: ReceivedMessage, { date, nanoseconds }: Arrival, style: JsonStyle): string {
  const microseconds = String(Math.floor(nanoseconds / 1000)).padStart(6, "0")
  const [payload, encoding] = encodePayload(message.payload, style.encoding)
  const object = {
    tst: `${strftime("F", date)}T${strftime("T", date)}.${microseconds}Z${zoneOffset(date)}`,
    topic: message.topic,
    qos: message.qos,
    retain: message.retain ? 1 : 0,
    payloadlen: message.payload.length,
    ...(message.qos > 0 ? { mid: message.messageId } : {}),
    ...(message.properties === undefined || Object.keys(message.properties).length === 0
      ? {}
      : { properties: namedProperties(message.properties) }),
    ...(style.nameEncoding || encoding === "base64" || encoding === "hex" ? { payloadEncoding: encoding } : {}),
  }
  const text = `${inOrder(object).slice(0, -1)},"payload":${payload}}`
  return style.pretty ? prettyJson(text) : text
}

/** The payload as JSON text; what is JSON itself keeps its numbers and the order of its members. */
function encodePayload(payload: Buffer, wanted: PayloadEncoding | undefined): [json: string, PayloadEncoding] {
  const encoding = wanted ?? (isUtf8(payload) ? "utf8" : "base64")
  if (payload.length === 0) return ["null", encoding]
  if (encoding !== "json") return [JSON.stringify(payload.toString(encoding)), encoding]
  if (!isUtf8(payload)) throw new SyntaxError("not UTF-8")
  const text = payload.toString()
  JSON.parse(text)
  return [compactJson(text), encoding]
}

function namedProperties(properties: NonNullable<ReceivedMessage["properties"]>): Record<string, unknown> {
  const { userProperties = [] } = properties
  return Object.fromEntries(
    Object.entries(properties).map(([key, value]) => [
      PROPERTY_NAMES[key] ?? key,
      key === "userProperties" ? userMembers(userProperties) : propertyValue(value),
    ]),
  )
}

/** One object, as mosquitto prints it; where a name stands twice no object can hold them: then one for each pair. Maps keep the order. */
function userMembers(pairs: UserProperties): Map<string, string> | Map<string, string>[] {
  const together = new Map(pairs)
  return together.size === pairs.length ? together : pairs.map((pair) => new Map([pair]))
}

function propertyValue(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return isUtf8(value) ? value.toString() : value.toString("base64")
  return typeof value === "boolean" ? Number(value) : value
}

/** JSON text in which Maps are objects whose members keep their order. */
function inOrder(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inOrder).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const members = value instanceof Map ? [...value] : Object.entries(value)
  return `{${members.map(([key, item]) => `${JSON.stringify(key)}:${inOrder(item)}`).join(",")}}`
}
