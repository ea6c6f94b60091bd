import { isIP } from "node:net"
import { resolve } from "node:path"
import { describeTarget, flag, list, messageOf, parseTargetUrl, quoted, type Target, usageError, value } from "@mqtt-trio/common"
import type { ListenOptions } from "../server/listeners/listeners.js"
import type { AddressRange } from "../server/listeners/proxy-protocol.js"

const SCHEMES = ["mqtt:", "mqtts:", "ws:", "wss:", "mqtt+unix:"]

/** Options of the broker's doors, beside --port and --host. */
export const LISTEN_OPTIONS = {
  listen: several({
    flags: "--listen <url>",
    help: "where to listen: mqtt://, mqtts://, ws://, wss://HOST:PORT, mqtt+unix://PATH; repeatable",
    group: "Network",
    env: "MQTT_BROKER_LISTEN",
    parse: parseListenUrl,
  }),
  wsOrigin: several({
    flags: "--ws-origin <origin>",
    help: "pages that may open a WebSocket: https://HOST[:PORT]; repeatable; without it all may",
    group: "Network",
    env: "MQTT_BROKER_WS_ORIGIN",
    parse: parseOrigin,
  }),
  proxyProtocol: several(
    {
      flags: "--proxy-protocol <address>",
      help: "proxies that say in a PROXY header for whom they connect: ADDRESS[/BITS]; repeatable",
      group: "Network",
      env: "MQTT_BROKER_PROXY_PROTOCOL",
      parse: parseRange,
    },
    /\s*,\s*|\s+/,
  ),
  tlsCert: value({
    flags: "--tls-cert <file>",
    help: "certificate of mqtts: and wss: in PEM, with those between it and its authority",
    group: "TLS",
    env: "MQTT_BROKER_TLS_CERT",
    parse: String,
  }),
  tlsKey: value({ flags: "--tls-key <file>", help: "its private key in PEM", group: "TLS", env: "MQTT_BROKER_TLS_KEY", parse: String }),
  tlsCa: value({
    flags: "--tls-ca <file>",
    help: "authorities of the certificates that clients show, for --tls-require-cert",
    group: "TLS",
    env: "MQTT_BROKER_TLS_CA",
    parse: String,
  }),
  tlsRequireCert: flag({
    flags: "--tls-require-cert",
    help: "refuse clients over TLS that show no certificate of --tls-ca",
    group: "TLS",
    env: "MQTT_BROKER_TLS_REQUIRE_CERT",
  }),
  tlsUser: flag({
    flags: "--tls-user",
    help: "the user is the Common Name of the client's certificate",
    group: "TLS",
    env: "MQTT_BROKER_TLS_USER",
  }),
} as const

/** What of the options decides about the doors. */
export interface ListenValues {
  readonly host: string
  readonly port: number
  readonly anonymous: boolean
  readonly listen: readonly Target[]
  readonly wsOrigin: readonly string[]
  readonly tlsCert: string | undefined
  readonly tlsKey: string | undefined
  readonly tlsCa: string | undefined
  readonly tlsRequireCert: boolean
  readonly tlsUser: boolean
  readonly proxyProtocol: readonly AddressRange[]
}

/** Where the values come from. */
export interface ListenSources {
  readonly given: (key: "host" | "port") => boolean
  readonly nameOf: (key: "listen" | "wsOrigin" | "tlsRequireCert" | "tlsCa" | "tlsUser") => string
}

/**
 * Where to listen. --port and --host are the short form of one mqtt: listener: the only one, or one more where they are
 * given beside --listen. Throws a usage error where the options do not fit each other.
 */
export function listenOptions(values: ListenValues, { given, nameOf }: ListenSources): ListenOptions {
  const { host, port, listen, wsOrigin } = values
  const short: Target = { kind: "tcp", host, port, tls: false, websocketPath: undefined }
  const shortForm = listen.length === 0 || given("host") || given("port")
  const targets = shortForm ? [short, ...listen] : listen
  checkPlaces(targets)
  const tls = tlsFiles(values, targets, nameOf)
  if (wsOrigin.length > 0 && !targets.some((one) => one.kind === "tcp" && one.websocketPath !== undefined))
    throw usageError(`${nameOf("wsOrigin")} is given, and nothing listens for WebSocket`, "add --listen ws://127.0.0.1:8080/mqtt")
  return { targets, tls, origins: wsOrigin, proxies: values.proxyProtocol }
}

/** Throws a usage error when two listeners want the same place; which addresses a name has is not looked up. */
function checkPlaces(targets: readonly Target[]): void {
  for (const [index, one] of targets.entries()) {
    const other = targets.slice(0, index).find((earlier) => isSamePlace(earlier, one))
    if (other !== undefined)
      throw usageError(
        `two listeners want the same place: ${JSON.stringify(describeTarget(other))} and ${JSON.stringify(describeTarget(one))}`,
        "each needs a port or a path of its own; beside --listen, --port and --host are one more listener",
      )
  }
}

/** Whether the system refuses the second. All addresses are one's own and those of all others. */
function isSamePlace(one: Target, other: Target): boolean {
  if (one.kind === "unix" || other.kind === "unix")
    return one.kind === "unix" && other.kind === "unix" && resolve(one.path) === resolve(other.path)
  const [first, second] = [one.host.toLowerCase(), other.host.toLowerCase()]
  const sameHost = first === second || covers(first, second) || covers(second, first)
  return one.port === other.port && one.port !== 0 && sameHost
}

/** "::" takes IPv4 too. */
function covers(all: string, host: string): boolean {
  return isIP(host) > 0 && (all === "::" || (all === "0.0.0.0" && isIP(host) === 4))
}

function tlsFiles(
  { tlsCert: cert, tlsKey: key, tlsCa: ca, tlsRequireCert, tlsUser }: ListenValues,
  targets: readonly Target[],
  nameOf: ListenSources["nameOf"],
): ListenOptions["tls"] {
  const secure = targets.find((one) => one.kind === "tcp" && one.tls)
  if (secure === undefined) {
    if (cert !== undefined || key !== undefined || ca !== undefined || tlsRequireCert || tlsUser)
      throw usageError("options of TLS are given, and nothing listens with TLS", "add --listen mqtts://127.0.0.1:8883")
    return undefined
  }
  if (cert === undefined || key === undefined)
    throw usageError(
      `${nameOf("listen")} ${JSON.stringify(describeTarget(secure))} needs a certificate and its key`,
      "add --tls-cert FILE and --tls-key FILE",
    )
  if (tlsRequireCert && ca === undefined)
    throw usageError(`${nameOf("tlsRequireCert")} needs the authority of the clients' certificates`, "add --tls-ca FILE")
  if (!tlsRequireCert && ca !== undefined)
    throw usageError(`${nameOf("tlsCa")} is given, and clients are asked for no certificate`, "add --tls-require-cert")
  if (tlsUser && !tlsRequireCert)
    throw usageError(
      `${nameOf("tlsUser")} takes the user from the client's certificate, and clients are asked for none`,
      "add --tls-require-cert",
    )
  return { cert, key, clientCa: ca, certificateUser: tlsUser }
}

/** An option that may be repeated; its environment variable has all values with spaces, or what else it says, between them. */
function several<T>(declared: Parameters<typeof list<T>>[0], between = /\s+/): ReturnType<typeof list<T>> {
  const spec = list(declared)
  return { ...spec, read: (texts) => spec.read(texts.flatMap((text) => text.trim().split(between)).map(withoutCommas)) }
}

function withoutCommas(text: string): string {
  if (/,[a-z+]+:\/\//i.test(text))
    throw usageError(`${quoted(text)} has a comma between URLs`, "several have spaces between them, or the option is given several times")
  return text
}

function parseRange(text: string): AddressRange {
  const [address = "", bits] = text.split("/")
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  const wide = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Infinity
  if (wide <= most && !address.includes("%") && text.split("/").length <= 2 && most >= 0) return { address, bits: wide }
  throw usageError(
    `proxy ${quoted(text)} is not an IP address, alone or with a number of bits`,
    "for example 192.168.1.5, 10.0.0.0/8 or fd00::/8",
  )
}

const LISTENERS = "for example mqtts://0.0.0.0:8883, ws://127.0.0.1:8080/mqtt, mqtt+unix:///run/mqtt.sock"

/** With a hint for listeners: what clients may write in a URL is more. */
function parseUrl(text: string): ReturnType<typeof parseTargetUrl> {
  try {
    return parseTargetUrl(text)
  } catch (error) {
    throw usageError(messageOf(error), LISTENERS)
  }
}

function parseListenUrl(text: string): Target {
  const wrong = (why: string): Error => usageError(`listener ${JSON.stringify(text)} ${why}`, LISTENERS)
  if (!SCHEMES.some((scheme) => text.toLowerCase().startsWith(scheme))) throw wrong(`is none of ${SCHEMES.join(" ")}`)
  const { target, username, password, topic } = parseUrl(text)
  if (username !== undefined || password !== undefined) throw wrong("has a user or password")
  if (topic !== undefined) throw wrong("has a path")
  if (/[?#]/.test(text)) throw wrong("has a query")
  return target
}

function parseOrigin(text: string): string {
  const origin = URL.canParse(text) ? new URL(text).origin : "null"
  if (origin === "null" || origin !== text.toLowerCase().replace(/\/$/, ""))
    throw usageError(`origin ${JSON.stringify(text)} is not that of a page`, "for example https://example.org or http://localhost:3000")
  return origin
}
