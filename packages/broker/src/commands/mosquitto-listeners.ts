import { resolve } from "node:path"
import type { Target } from "@mqtt-trio/common"

/** A line of a mosquitto.conf that says something. */
export interface MosquittoLine {
  /** Where it stands: `FILE:LINE`. */
  readonly at: string
  readonly name: string
  readonly value: string
}

/** A listener of mosquitto with the lines that are about it alone. */
export interface Listener {
  /** The line that makes it; undefined for the one that is there when nothing is said. */
  line: MosquittoLine | undefined
  port: string
  /** Without one it listens on every address. */
  host: string | undefined
  readonly own: MosquittoLine[]
}

/** TLS of a listener: the lines of its files, and whether clients must show a certificate. */
export interface ListenerTls {
  readonly cert: MosquittoLine
  readonly key: MosquittoLine
  /** authorities of the certificates that clients must show */
  readonly clientCa: MosquittoLine | undefined
}

/** What a listener is here. */
export interface Door {
  readonly listener: Listener
  readonly target: Target
  readonly tls: ListenerTls | undefined
}

const MOSQUITTO_PORT = "1883"
const EVERY_ADDRESS = "::"
/** Where mosquitto listens when its file names no listener. */
const LOCAL_ADDRESS = "127.0.0.1"
/** mosquitto takes every path; this is the one that clients use who are not told another. */
const WEBSOCKET_PATH = "/mqtt"

/** What applies to the listener above it. */
const LISTENER_LINES =
  /^(bind_interface|http_dir|listener_allow_anonymous|max_connections|max_qos|max_topic_alias|mount_point|protocol|socket_domain|use_username_as_clientid|websockets_.*|cafile|capath|certfile|ciphers.*|crlfile|dhparamfile|keyfile|require_certificate|tls_.*|use_.*_as_username|psk_hint)$/
/** The same where per_listener_settings says so. */
const SECURITY_LINES = /^(allow_anonymous|password_file|acl_file|psk_file|(auth_)?plugin)$/
/** Without it the listener would be open wider, or to everybody who reads along. */
const HAS_NONE = /^(bind_interface|crlfile|mount_point|psk_hint)$/

/** The listeners in their order; the default one is there when it is asked for, or when there is no other. */
export function listenersOf(lines: readonly MosquittoLine[]): { there: Listener[]; absent: Listener[] } {
  const perListener = lines.some(({ name, value }) => name === "per_listener_settings" && value === "true")
  const byDefault: Listener = { line: undefined, port: MOSQUITTO_PORT, host: undefined, own: [] }
  const listeners = [byDefault]
  for (const line of lines) {
    const { name, value } = line
    if (name === "listener") {
      const [port = "", host] = value.split(/\s+/)
      listeners.push({ line, port, host, own: [] })
    } else if (name === "port" || name === "bind_address") {
      byDefault[name === "port" ? "port" : "host"] = value
      byDefault.line = line
    } else if (LISTENER_LINES.test(name) || (perListener && SECURITY_LINES.test(name))) {
      listeners.at(-1)?.own.push(line)
    }
  }
  if (byDefault.line || listeners.length === 1) return { there: listeners, absent: [] }
  return { there: listeners.slice(1), absent: [byDefault] }
}

/** The last line of a name, which is the one that counts. */
export function lastOf(lines: readonly MosquittoLine[], name: string): MosquittoLine | undefined {
  return lines.findLast((line) => line.name === name)
}

/** What a listener is here, or why it is nothing. */
export function doorOf(listener: Listener): Door | string {
  const { own, port } = listener
  const none = own.find(({ name }) => HAS_NONE.test(name))
  if (none) return `its ${none.name} has none`
  if (listener.host === undefined && lastOf(own, "socket_domain")?.value === "ipv6") return "its socket_domain has none"
  const protocol = lastOf(own, "protocol")?.value ?? "mqtt"
  if (protocol !== "mqtt" && protocol !== "websockets") return "its protocol has none"
  const tls = tlsOf(own)
  if (typeof tls === "string") return tls
  if (port === "0") return socketOf(listener, protocol, tls)
  const websocketPath = protocol === "websockets" ? WEBSOCKET_PATH : undefined
  return { listener, tls, target: { kind: "tcp", host: addressOf(listener), port: Number(port), tls: tls !== undefined, websocketPath } }
}

function socketOf(listener: Listener, protocol: string, tls: ListenerTls | undefined): Door | string {
  if (listener.host === undefined || protocol !== "mqtt" || tls) return "a socket has one for MQTT alone, without TLS and WebSocket"
  return { listener, tls: undefined, target: { kind: "unix", path: resolve(listener.host) } }
}

function addressOf({ line, host, own }: Listener): string {
  if (host !== undefined) return host
  if (!line) return LOCAL_ADDRESS
  return lastOf(own, "socket_domain")?.value === "ipv4" ? "0.0.0.0" : EVERY_ADDRESS
}

function tlsOf(own: readonly MosquittoLine[]): ListenerTls | undefined | string {
  const [cert, key] = [lastOf(own, "certfile"), lastOf(own, "keyfile")]
  if (!cert && !key) return undefined
  if (!cert || !key) return "a certfile and a keyfile belong together"
  const clientCa = lastOf(own, "require_certificate")?.value === "true" ? lastOf(own, "cafile") : undefined
  if (!clientCa && lastOf(own, "require_certificate")?.value === "true") return "its require_certificate has one with a cafile alone"
  return { cert, key, clientCa }
}
