import { DEFAULT_HOST, DEFAULT_PORT, DEFAULT_WEBSOCKET_PATH, REGISTERED_PORT, REGISTERED_TLS_PORT } from "../defaults.js"
import { usageError } from "../errors.js"
import { quoted, textOf } from "../exact-text.js"
import { parseHost, parseText, textProblem } from "../text.js"

/** Where to connect to, and through what. */
export type Target =
  | { readonly kind: "unix"; readonly path: string }
  | {
      readonly kind: "tcp"
      readonly host: string
      readonly port: number
      readonly tls: boolean
      /** Path of the WebSocket; undefined for MQTT straight over TCP. */
      readonly websocketPath: string | undefined
    }

/** What a URL says: the target, who connects, and the topic that mosquitto's `-L` has at its end. */
export interface ParsedUrl {
  readonly target: Target
  readonly username: string | undefined
  readonly password: string | undefined
  readonly topic: string | undefined
}

const SCHEMES: Readonly<Record<string, { tls: boolean; websocket: boolean; port: number }>> = {
  "mqtt:": { tls: false, websocket: false, port: REGISTERED_PORT },
  "tcp:": { tls: false, websocket: false, port: REGISTERED_PORT },
  "mqtts:": { tls: true, websocket: false, port: REGISTERED_TLS_PORT },
  "ssl:": { tls: true, websocket: false, port: REGISTERED_TLS_PORT },
  "ws:": { tls: false, websocket: true, port: 80 },
  "wss:": { tls: true, websocket: true, port: 443 },
}

/**
 * Parses `scheme://[user[:password]@]host[:port][/topic]`; user, password and topic are percent-decoded, IPv6 stands in brackets.
 * Without a port: the scheme's registered one, but our own default port on our own default host.
 */
export function parseTargetUrl(text: string): ParsedUrl {
  const escaped = text.replaceAll(/[\uDC80-\uDCFF]/gu, (byte) => `%${(byte.charCodeAt(0) & 0xff).toString(16)}`)
  const url = URL.canParse(escaped) ? new URL(escaped) : undefined
  if (url?.protocol === "mqtt+unix:") return unixUrl(url, text)
  const scheme = url === undefined ? undefined : SCHEMES[url.protocol]
  if (url === undefined || scheme === undefined || url.hostname === "") {
    throw usageError(
      `URL ${quoted(hidePassword(text))} is not understood`,
      "for example mqtt://user@broker.example:1883/topic or wss://broker.example/mqtt",
    )
  }
  const host = parseHost(decode(url.hostname, text))
  const implied = host === DEFAULT_HOST && !scheme.tls && !scheme.websocket ? DEFAULT_PORT : scheme.port
  const path = url.pathname === "/" || url.pathname === "" ? undefined : url.pathname
  return {
    target: {
      kind: "tcp",
      host,
      port: url.port === "" ? implied : Number(url.port),
      tls: scheme.tls,
      websocketPath: scheme.websocket ? (path ?? DEFAULT_WEBSOCKET_PATH) + url.search : undefined,
    },
    username: userName(url, text),
    password: part(url.password, text),
    topic: scheme.websocket || path === undefined ? undefined : decode(path.slice(1) + (text.endsWith("#") ? "#" : url.hash), text),
  }
}

/** How messages name a target: a URL without user and password. */
export function describeTarget(target: Target): string {
  if (target.kind === "unix") return `mqtt+unix://${target.path}`
  const host = target.host.includes(":") ? `[${target.host}]` : target.host
  const plain = target.websocketPath === undefined ? "mqtt" : "ws"
  return `${plain}${target.tls ? "s" : ""}://${host}:${target.port}${target.websocketPath ?? ""}`
}

function unixUrl(url: URL, text: string): ParsedUrl {
  const path = parseText(decode(url.hostname + url.pathname, text))
  if (path === "") throw usageError(`URL ${quoted(text)} has no path`, "for example mqtt+unix:///run/mqtt.sock")
  return { target: { kind: "unix", path }, username: userName(url, text), password: part(url.password, text), topic: undefined }
}

function part(encoded: string, text: string): string | undefined {
  return encoded === "" ? undefined : decode(encoded, text)
}

function userName({ username }: URL, text: string): string | undefined {
  const name = part(username, text)
  const problem = name === undefined ? undefined : textProblem(name)
  if (problem !== undefined) throw usageError(`the user name of the URL ${quoted(hidePassword(text))} is not valid: ${problem}`)
  return name
}

/** Percent-decoded; bytes that are not UTF-8 stay what they are. */
function decode(encoded: string, text: string): string {
  if (/%(?![0-9a-f]{2})/i.test(encoded)) {
    throw usageError(`URL ${quoted(hidePassword(text))} has a % that is not followed by two hexadecimal digits`, "write a % itself as %25")
  }
  const bytes = encoded.replaceAll(/%(..)/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return textOf(Buffer.from(bytes, "latin1"))
}

function hidePassword(text: string): string {
  return text.replace(/(:\/\/[^/]*?:)[^/]*@/, "$1***@")
}
