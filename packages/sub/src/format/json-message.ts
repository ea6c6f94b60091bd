import { isUtf8 } from "node:buffer"
import type { UserProperties } from "@mqtt-trio/common"
import type { ReceivedMessage } from "@mqtt-trio/client"
import type { Arrival } from "./clock.js"
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
    payload,
  }
  return style.pretty ? prettyJson(object) : compactJson(object)
}

function encodePayload(payload: Buffer, wanted: PayloadEncoding | undefined): [unknown, PayloadEncoding] {
  const encoding = wanted ?? (isUtf8(payload) ? "utf8" : "base64")
  if (encoding !== "json") return [payload.length === 0 ? null : payload.toString(encoding), encoding]
  if (payload.length === 0) return [null, encoding]
  if (!isUtf8(payload)) throw new SyntaxError("not UTF-8")
  return [JSON.parse(payload.toString()), encoding]
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

function compactJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(compactJson).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  return `{${membersOf(value)
    .map(([key, item]) => `${JSON.stringify(key)}:${compactJson(item)}`)
    .join(",")}}`
}

function membersOf(value: object): [unknown, unknown][] {
  return value instanceof Map ? [...value] : Object.entries(value)
}

/** JSON over several lines in the layout of mosquitto's `--pretty`: tabs, a tab after the colon, arrays of scalars on one line. */
function prettyJson(value: unknown, depth = 0): string {
  if (Array.isArray(value)) return `[${value.map((item) => prettyJson(item, depth + 1)).join(", ")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const indent = "\t".repeat(depth + 1)
  const members = membersOf(value).map(([key, item]) => `${indent}${JSON.stringify(key)}:\t${prettyJson(item, depth + 1)}`)
  const body = members.length === 0 ? "" : `${members.join(",\n")}\n`
  return `{\n${body}${"\t".repeat(depth)}}`
}
