import { usageError } from "../errors.js"
import { quoted } from "../exact-text.js"
import { parseInteger } from "../parsers.js"
import { parseBinary, parseText } from "../text.js"
import { parseTopicName } from "../topic.js"

/** User Properties in their order; a name may stand there more than once (MQTT 5.0 section 3.3.2.3.7). */
export type UserProperties = readonly (readonly [name: string, value: string])[]

/** MQTT 5.0 properties (2.2.2.2) that a command line can set, named as MQTT.js names them. */
export interface Properties {
  readonly sessionExpiryInterval?: number
  readonly receiveMaximum?: number
  readonly maximumPacketSize?: number
  readonly topicAliasMaximum?: number
  readonly requestResponseInformation?: boolean
  readonly requestProblemInformation?: boolean
  readonly authenticationMethod?: string
  readonly authenticationData?: Buffer
  readonly payloadFormatIndicator?: boolean
  readonly messageExpiryInterval?: number
  readonly contentType?: string
  readonly responseTopic?: string
  readonly correlationData?: Buffer
  readonly topicAlias?: number
  readonly subscriptionIdentifier?: number
  readonly willDelayInterval?: number
  readonly reasonString?: string
  readonly userProperties?: UserProperties
}

/** The packets that take properties from `-D`, as mosquitto names them. */
const PROPERTY_COMMANDS = ["connect", "publish", "subscribe", "unsubscribe", "disconnect", "auth", "will"] as const
export type PropertyCommand = (typeof PROPERTY_COMMANDS)[number]

/** One `-D COMMAND NAME VALUE [VALUE]`. */
export interface PropertyArgument {
  readonly command: PropertyCommand
  readonly name: string
  readonly value: string
  readonly properties: Properties
}

type Reader = (text: string) => Properties
interface KnownProperty {
  readonly commands: readonly PropertyCommand[]
  readonly read: Reader
}

const number = (text: string, name: string, max: number, min = 0): number => parseInteger(text, { min, max, what: name })
const UINT32 = 0xffff_ffff
const UINT16 = 0xffff

const KNOWN: Readonly<Record<string, KnownProperty>> = {
  "session-expiry-interval": {
    commands: ["connect", "disconnect"],
    read: (text) => ({ sessionExpiryInterval: number(text, "session-expiry-interval", UINT32) }),
  },
  "receive-maximum": { commands: ["connect"], read: (text) => ({ receiveMaximum: number(text, "receive-maximum", UINT16, 1) }) },
  "maximum-packet-size": { commands: ["connect"], read: (text) => ({ maximumPacketSize: number(text, "maximum-packet-size", UINT32, 1) }) },
  "topic-alias-maximum": { commands: ["connect"], read: (text) => ({ topicAliasMaximum: number(text, "topic-alias-maximum", UINT16) }) },
  "request-response-information": {
    commands: ["connect"],
    read: (text) => ({ requestResponseInformation: number(text, "request-response-information", 1) === 1 }),
  },
  "request-problem-information": {
    commands: ["connect"],
    read: (text) => ({ requestProblemInformation: number(text, "request-problem-information", 1) === 1 }),
  },
  "authentication-method": { commands: ["connect", "auth"], read: (text) => ({ authenticationMethod: parseText(text) }) },
  "authentication-data": { commands: ["connect", "auth"], read: (text) => ({ authenticationData: parseBinary(text) }) },
  "payload-format-indicator": {
    commands: ["publish", "will"],
    read: (text) => ({ payloadFormatIndicator: number(text, "payload-format-indicator", 1) === 1 }),
  },
  "message-expiry-interval": {
    commands: ["publish", "will"],
    read: (text) => ({ messageExpiryInterval: number(text, "message-expiry-interval", UINT32) }),
  },
  "content-type": { commands: ["publish", "will"], read: (text) => ({ contentType: parseText(text) }) },
  "response-topic": { commands: ["publish", "will"], read: (text) => ({ responseTopic: parseTopicName(text) }) },
  "correlation-data": { commands: ["publish", "will"], read: (text) => ({ correlationData: parseBinary(text) }) },
  "topic-alias": { commands: ["publish"], read: (text) => ({ topicAlias: number(text, "topic-alias", UINT16, 1) }) },
  "subscription-identifier": {
    commands: ["subscribe"],
    read: (text) => ({ subscriptionIdentifier: number(text, "subscription-identifier", 268_435_455, 1) }),
  },
  "will-delay-interval": { commands: ["will"], read: (text) => ({ willDelayInterval: number(text, "will-delay-interval", UINT32) }) },
  "reason-string": { commands: ["disconnect"], read: (text) => ({ reasonString: parseText(text) }) },
}

/** How many arguments a `-D` takes: three, and four for a user property. */
export function propertyWidth(following: readonly string[]): number {
  return following[1] === "user-property" ? 4 : 3
}

/** Parses the JSON array that `normalizeArguments` made of one `-D`. */
export function parsePropertyArgument(text: string): PropertyArgument {
  const [commandName, name, first, second] = textsOf(text)
  if (commandName === undefined || name === undefined || first === undefined) {
    throw usageError(`${quoted(text)} is not COMMAND NAME VALUE`, "for example: -D publish content-type text/plain")
  }
  const command = PROPERTY_COMMANDS.find((known) => known === commandName)
  if (command === undefined) throw usageError(`packet ${quoted(commandName)} is not one of ${PROPERTY_COMMANDS.join(", ")}`)
  if (name === "user-property") {
    if (second === undefined) throw usageError("a user-property needs a name and a value", `-D ${command} user-property NAME VALUE`)
    return { command, name, value: `${first}=${second}`, properties: { userProperties: [[parseText(first), parseText(second)]] } }
  }
  const known = KNOWN[name]
  if (known === undefined) throw usageError(`${quoted(name)} is not a property of MQTT 5`, `known: ${Object.keys(KNOWN).join(", ")}`)
  if (!known.commands.includes(command))
    throw usageError(`${name} does not belong to ${command}`, `it belongs to: ${known.commands.join(", ")}`)
  return { command, name, value: first, properties: known.read(first) }
}

function textsOf(text: string): string[] {
  const parsed: unknown = text.startsWith("[") ? JSON.parse(text) : text.split(" ")
  return Array.isArray(parsed) ? parsed.map(String) : []
}

/** A user property from `--user-property name=value`. */
export function parseUserProperty(text: string): Properties {
  const equals = text.indexOf("=")
  if (equals < 1) throw usageError(`${quoted(text)} is not NAME=VALUE`)
  return { userProperties: [[parseText(text.slice(0, equals)), parseText(text.slice(equals + 1))]] }
}

/** Joins properties; later ones win, user properties follow each other. Undefined when there are none. */
export function mergeProperties(parts: readonly Properties[]): Properties | undefined {
  const userProperties = parts.flatMap((part) => part.userProperties ?? [])
  const merged: Properties = Object.assign({}, ...parts, userProperties.length > 0 ? { userProperties } : {})
  return Object.keys(merged).length > 0 ? merged : undefined
}

/** What `-D` and `--user-property` give to one kind of packet, in the order of the command line. */
export function packetProperties(
  command: PropertyCommand,
  {
    values,
    places,
  }: {
    readonly values: { readonly property: readonly PropertyArgument[]; readonly userProperty: readonly Properties[] }
    readonly places: (key: "property" | "userProperty") => readonly number[]
  },
): Properties[] {
  const [named, short] = [places("property"), places("userProperty")]
  const given = [
    ...values.property.map((one, index) => ({ ...one, place: named[index] ?? 0 })),
    ...values.userProperty.map((properties, index) => ({ command, properties, place: short[index] ?? 0 })),
  ]
  return given
    .filter((one) => one.command === command)
    .toSorted((one, other) => one.place - other.place)
    .map(({ properties }) => properties)
}

/** The properties that `-D` gives to one kind of packet. */
export function propertiesFor(command: PropertyCommand, given: readonly PropertyArgument[]): Properties[] {
  return given.filter((argument) => argument.command === command).map((argument) => argument.properties)
}
