import { bytesOf, messageOf, usageError, type UserProperties } from "@mqtt-trio/common"
import type { ReceivedMessage } from "@mqtt-trio/client"
import type { Arrival } from "./clock.js"
import { jsonMessage } from "./json-message.js"
import { padNumber, padText, payloadField, type Field } from "./padding.js"
import { strftime, zoneOffset } from "./strftime.js"

/** Renders one message. */
export type Format = (message: ReceivedMessage, arrival: Arrival) => Buffer

export interface FormatOptions {
  /** JSON of `%j` and `%J` over several lines. */
  readonly pretty: boolean
  /** Told when a payload is not the JSON that `%J` needs. */
  readonly complain: (text: string) => void
}

type Part = (message: ReceivedMessage, arrival: Arrival) => Buffer

const PARAMETERS = "%ACDEFIjJlmpPqRrStUxX"
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\", "0": "\0", a: "\u0007", e: "\u001b", n: "\n", r: "\r", t: "\t", v: "\v" }
const NO_BYTES = Buffer.alloc(0)

/**
 * Compiles the format language of mosquitto_sub's `-F`: `%` parameters with `-`, `0`, width and precision, `@` conversions of
 * strftime (`@N` nanoseconds), `\` escapes. Also `%:x` and `% x` (any of `: - , _` and space) to separate bytes in hexadecimal.
 * Throws a usage error for what the language does not have.
 */
export function compileFormat(format: string, options: FormatOptions): Format {
  const parts: Part[] = []
  const literal = (text: string): void => {
    const bytes = bytesOf(text)
    parts.push(() => bytes)
  }
  let index = 0
  while (index < format.length) {
    const char = format[index] ?? ""
    if (char === "%") index = compileParameter(format, index, options, parts)
    else if (char === "@") {
      parts.push(timePart(following(format, index)))
      index += 2
    } else if (char === "\\") {
      const escaped = ESCAPES[following(format, index)]
      if (escaped === undefined)
        throw usageError(`--format: \\${following(format, index)} is not an escape`, "known: \\\\ \\0 \\a \\e \\n \\r \\t \\v")
      literal(escaped)
      index += 2
    } else {
      const text = /^[^%@\\]+/.exec(format.slice(index))?.[0] ?? char
      literal(text)
      index += text.length
    }
  }
  return (message, arrival) => Buffer.concat(parts.map((part) => part(message, arrival)))
}

function following(format: string, index: number): string {
  const next = format[index + 1]
  if (next === undefined) throw usageError(`--format ends in the middle of a sequence: ${JSON.stringify(format.slice(index))}`)
  return next
}

function compileParameter(format: string, start: number, options: FormatOptions, parts: Part[]): number {
  const match = /^%(-?)(0?)(\d*)(?:\.(\d*))?([:,_ ]|-(?=[xX]))?(.)/su.exec(format.slice(start))
  if (match === null) throw usageError(`--format ends in the middle of a sequence: ${JSON.stringify(format.slice(start))}`)
  const [all, left, zero, width, precision, separator, name = ""] = match
  const known = PARAMETERS.includes(name) && (separator === undefined || name === "x" || name === "X")
  if (!known)
    throw usageError(
      `--format: ${JSON.stringify(all)} is not a parameter`,
      `known: ${PARAMETERS.split("")
        .map((one) => `%${one}`)
        .join(" ")}`,
    )
  const field: Field = {
    left: left === "-",
    zero: zero === "0",
    width: Number(width),
    precision: precision === undefined ? undefined : Number(precision),
    separator: separator ?? "",
  }
  parts.push(parameter(name, field, options))
  return start + all.length
}

function parameter(name: string, field: Field, options: FormatOptions): Part {
  switch (name) {
    case "%":
      return () => Buffer.from("%")
    case "A":
      return ({ properties }) => padNumber(properties?.topicAlias, field)
    case "C":
      return ({ properties }) => padText(properties?.contentType, field)
    case "D":
      return ({ properties }) => properties?.correlationData ?? NO_BYTES
    case "E":
      return ({ properties }) => padNumber(properties?.messageExpiryInterval, field)
    case "F":
      return ({ properties }) =>
        padNumber(properties?.payloadFormatIndicator === undefined ? undefined : Number(properties.payloadFormatIndicator), field)
    case "I":
      return (_message, { date }) => padText(`${strftime("F", date)}T${strftime("T", date)}${zoneOffset(date)}`, field)
    case "l":
      return ({ payload }) => padNumber(payload.length, field)
    case "m":
      return ({ messageId }) => padNumber(messageId, field)
    case "p":
      return ({ payload }) => payloadField(payload, "raw", field)
    case "P":
      return ({ properties }) => Buffer.from(userProperties(properties?.userProperties))
    case "q":
      return ({ qos }) => Buffer.from(String(qos))
    case "R":
      return ({ properties }) => (properties?.responseTopic === undefined ? NO_BYTES : padText(properties.responseTopic, field))
    case "r":
      return ({ retain }) => Buffer.from(retain ? "1" : "0")
    case "S":
      return ({ properties }) => padNumber([properties?.subscriptionIdentifier].flat()[0], field)
    case "t":
      return ({ topic }) => padText(topic, field)
    case "U":
      return (_message, { date, nanoseconds }) => Buffer.from(`${strftime("s", date)}.${nine(nanoseconds)}`)
    case "x":
      return ({ payload }) => payloadField(payload, "hex", field)
    case "X":
      return ({ payload }) => payloadField(payload, "HEX", field)
    default:
      return jsonPart(name === "J", options)
  }
}

function jsonPart(parsed: boolean, { pretty, complain }: FormatOptions): Part {
  return (message, arrival) => {
    try {
      return Buffer.from(jsonMessage(message, arrival, { encoding: parsed ? "json" : undefined, nameEncoding: false, pretty }))
    } catch (error) {
      complain(`the payload on ${JSON.stringify(message.topic)} is not JSON: ${messageOf(error)}`)
      return NO_BYTES
    }
  }
}

function timePart(conversion: string): Part {
  if (conversion === "@") return () => Buffer.from("@")
  if (conversion === "N") return (_message, { nanoseconds }) => Buffer.from(nine(nanoseconds))
  return (_message, { date }) => Buffer.from(strftime(conversion, date))
}

function userProperties(properties: UserProperties = []): string {
  return properties.map(([name, text]) => `${name}:${text}`).join(" ")
}

function nine(nanoseconds: number): string {
  return String(nanoseconds).padStart(9, "0")
}
