import { isIP } from "node:net"
import { describeTarget, flag, list, parseTargetUrl, quoted, type Target, usageError, value } from "@mqtt-trio/common"
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

/**
 * Where to listen. --port and --host are the short form of one mqtt: listener: the only one, or one more where they are
 * given beside --listen. Throws a usage error where the options do not fit each other.
 */
export function listenOptions(values: ListenValues, given: (key: "host" | "port") => boolean): ListenOptions {
  const { host, port, listen, wsOrigin } = values
  const short: Target = { kind: "tcp", host, port, tls: false, websocketPath: undefined }
  const shortForm = listen.length === 0 || given("host") || given("port")
  const targets = shortForm ? [short, ...listen] : listen
  const tls = tlsFiles(values, targets)
  if (wsOrigin.length > 0 && !targets.some((one) => one.kind === "tcp" && one.websocketPath !== undefined))
    throw usageError("--ws-origin is given, and nothing listens for WebSocket", "add --listen ws://127.0.0.1:8080/mqtt")
  return { targets, tls, origins: wsOrigin, proxies: values.proxyProtocol }
}

function tlsFiles(
  { tlsCert: cert, tlsKey: key, tlsCa: ca, tlsRequireCert, tlsUser }: ListenValues,
  targets: readonly Target[],
): ListenOptions["tls"] {
  const secure = targets.find((one) => one.kind === "tcp" && one.tls)
  if (secure === undefined) {
    if (cert !== undefined || key !== undefined || ca !== undefined || tlsRequireCert || tlsUser)
      throw usageError("options of TLS are given, and nothing listens with TLS", "add --listen mqtts://127.0.0.1:8883")
    return undefined
  }
  if (cert === undefined || key === undefined)
    throw usageError(
      `--listen ${JSON.stringify(describeTarget(secure))} needs a certificate and its key`,
      "add --tls-cert FILE and --tls-key FILE",
    )
  if (tlsRequireCert && ca === undefined)
    throw usageError("--tls-require-cert needs the authority of the clients' certificates", "add --tls-ca FILE")
  if (!tlsRequireCert && ca !== undefined)
    throw usageError("--tls-ca is given, and clients are asked for no certificate", "add --tls-require-cert")
  if (tlsUser && !tlsRequireCert)
    throw usageError("--tls-user takes the user from the client's certificate, and clients are asked for none", "add --tls-require-cert")
  return { cert, key, clientCa: ca, certificateUser: tlsUser }
}

/** An option that may be repeated; its environment variable has all values with spaces, or what else it says, between them. */
function several<T>(declared: Parameters<typeof list<T>>[0], between = /\s+/): ReturnType<typeof list<T>> {
  const spec = list(declared)
  return { ...spec, read: (texts) => spec.read(texts.flatMap((text) => text.trim().split(between))) }
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

function parseListenUrl(text: string): Target {
  const wrong = (why: string): Error =>
    usageError(
      `listener ${JSON.stringify(text)} ${why}`,
      "for example mqtts://0.0.0.0:8883, ws://127.0.0.1:8080/mqtt, mqtt+unix:///run/mqtt.sock",
    )
  if (!SCHEMES.some((scheme) => text.toLowerCase().startsWith(scheme))) throw wrong(`is none of ${SCHEMES.join(" ")}`)
  const { target, username, password, topic } = parseTargetUrl(text)
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
