import { join } from "node:path"
import { CliError, keyOf, type OptionTable } from "@mqtt-trio/common"
import { isLoopback } from "../server/loopback.js"

/** A line of a mosquitto.conf that says something. */
export interface MosquittoLine {
  /** Where it stands: `FILE:LINE`. */
  readonly at: string
  readonly name: string
  readonly value: string
}

/** What a mosquitto.conf is here. */
export interface Converted {
  /** Options of `mqtt-broker start`. */
  readonly values: Readonly<Record<string, string | number | boolean>>
  /** What has no counterpart, a line each, in the order of the file; without values, which may be secret. */
  readonly left: readonly string[]
}

/** A listener of mosquitto with the lines that are about it alone. */
interface Listener {
  /** The line that makes it; undefined for the one that is there when nothing is said. */
  line: MosquittoLine | undefined
  port: string
  /** Without one it listens on every address. */
  host: string | undefined
  readonly own: MosquittoLine[]
}

const MOSQUITTO_PORT = "1883"
const EVERY_ADDRESS = "::"
/** Where mosquitto listens when its file names no listener. */
const LOCAL_ADDRESS = "127.0.0.1"

/** What applies to the listener above it. */
const LISTENER_LINES =
  /^(bind_interface|http_dir|max_connections|max_qos|max_topic_alias|mount_point|protocol|socket_domain|use_username_as_clientid|websockets_.*|cafile|capath|certfile|ciphers.*|crlfile|dhparamfile|keyfile|require_certificate|tls_.*|use_.*_as_username|psk_hint)$/
/** What makes a listener one that this broker would open wider, or to everybody who reads along. */
const NOT_PLAIN = /^(bind_interface|certfile|keyfile|psk_hint)$/
/** What keeps some clients, or all, from something: without it the broker must not be open to everybody. */
const RIGHTS = /^(acl_file|auth_plugin|plugin|global_plugin|plugin_(load|use)|clientid_prefixes|mount_point)$/

/** Numbers that mean the same; mosquitto's 0 and -1 are no limit, which is not possible here. */
const LIMITS: Readonly<Record<string, string>> = {
  max_connections: "max-connections",
  max_packet_size: "max-packet",
  max_inflight_messages: "max-inflight",
  max_queued_bytes: "max-queue",
}

/** Each type of log with the level that has it. */
const LOG_LEVELS: Readonly<Record<string, string>> = {
  none: "silent",
  error: "error",
  warning: "warn",
  notice: "info",
  information: "info",
  debug: "debug",
  all: "debug",
}
const LEVELS_UPWARDS = ["silent", "error", "warn", "info", "debug"]

/** What this broker does anyway. */
const ALREADY_SO = new Set([
  "per_listener_settings false",
  "per_listener_settings true",
  "protocol mqtt",
  "log_dest stderr",
  "log_timestamp true",
  "connection_messages true",
  "retain_available true",
  "allow_zero_length_clientid true",
  "set_tcp_nodelay true",
  "socket_domain ipv4",
])

/** Turns a mosquitto.conf into options of `table`. Nothing becomes more open than it was, but for what `left` names. */
export function fromMosquitto(lines: readonly MosquittoLine[], table: OptionTable): Converted {
  const conversion = new Conversion(lines, table)
  return { values: conversion.values, left: lines.flatMap((line) => conversion.problems.get(line) ?? []) }
}

class Conversion {
  readonly values: Record<string, string | number | boolean> = {}
  readonly problems = new Map<MosquittoLine, string>()

  constructor(
    private readonly lines: readonly MosquittoLine[],
    private readonly table: OptionTable,
  ) {
    const listeners = listenersOf(lines)
    const chosen = listeners.find((one) => isPlain(one) && (one.line !== undefined || listeners.length === 1))
    for (const listener of listeners.filter((one) => one !== chosen)) this.refuse(listener)
    const owned = new Set(listeners.flatMap(({ own }) => own))
    const global = lines.filter((line) => !owned.has(line))
    if (chosen) this.listen(chosen, global)
    this.store(global)
    for (const line of [...(chosen?.own ?? []), ...global]) this.convert(line)
    this.logLevel(global.filter(({ name }) => name === "log_type"))
  }

  private refuse({ line, own }: Listener): void {
    if (line) this.leave(line, "only one listener without TLS and WebSocket has a counterpart")
    for (const one of own) this.leave(one, "its listener has no counterpart")
  }

  private listen({ port, host, line, own }: Listener, global: readonly MosquittoLine[]): void {
    const applied = [...global, ...own]
    const everywhere = own.some(({ name, value }) => name === "socket_domain" && value === "ipv4") ? "0.0.0.0" : EVERY_ADDRESS
    const address = host ?? (line ? everywhere : LOCAL_ADDRESS)
    this.set("port", port, line)
    this.set("host", address, line)
    const said = applied.findLast(({ name }) => name === "allow_anonymous")
    const anonymous = said ? said.value === "true" : !line
    const rights = applied.find(({ name }) => RIGHTS.test(name))
    const reason = anonymous ? rights : (said ?? line)
    if (!isLoopback(address) && anonymous && !rights) this.values["anonymous"] = true
    else if (isLoopback(address) && reason) this.leave(reason, "no counterpart: everybody on this machine may connect and do everything")
    else if (reason === rights && reason) this.leave(reason, "no counterpart: without it nobody is let in; see anonymous")
  }

  private store(global: readonly MosquittoLine[]): void {
    const last = (name: string): string | undefined => global.findLast((line) => line.name === name)?.value
    const location = last("persistence_location")
    if (last("persistence") !== "true") this.values["store"] = "memory:"
    else if (location !== undefined) this.values["store"] = `file:${join(location, "mqtt-broker")}`
  }

  private convert(line: MosquittoLine): void {
    const { name, value } = line
    const limit = LIMITS[name]
    if (/^(listener|port|bind_address|allow_anonymous|persistence|persistence_location|log_type)$/.test(name)) return
    if (ALREADY_SO.has(`${name} ${value}`) || this.problems.has(line)) return
    if (limit === undefined) this.leave(line, "no counterpart")
    else if (value === "0" || value === "-1") this.leave(line, "no limit is not possible; the default stays")
    else this.set(limit, value, line)
  }

  private logLevel(lines: readonly MosquittoLine[]): void {
    const levels = lines.flatMap((line) => {
      const level = LOG_LEVELS[line.value]
      if (level === undefined) this.leave(line, "no counterpart")
      return level ?? []
    })
    const most = levels.toSorted((a, b) => LEVELS_UPWARDS.indexOf(b) - LEVELS_UPWARDS.indexOf(a))[0]
    if (most !== undefined) this.values["log-level"] = most
  }

  /** Takes a value that the option takes. */
  private set(key: string, text: string, line: MosquittoLine | undefined): void {
    try {
      Object.values(this.table)
        .find((spec) => keyOf(spec) === key)
        ?.read([text])
      this.values[key] = /^\d+$/.test(text) ? Number(text) : text
    } catch (error) {
      if (!(error instanceof CliError) || !line) throw error
      this.leave(line, `${key} does not take its value; the default stays`)
    }
  }

  private leave(line: MosquittoLine, why: string): void {
    this.problems.set(line, `${line.at}: ${line.name}: ${why}`)
  }
}

/** The listeners in their order, first the default one: it is there when it is asked for, or when there is no other. */
function listenersOf(lines: readonly MosquittoLine[]): Listener[] {
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
    } else if (LISTENER_LINES.test(name) || (perListener && name === "allow_anonymous")) {
      listeners.at(-1)?.own.push(line)
    }
  }
  return byDefault.line || listeners.length === 1 ? listeners : [...listeners.slice(1), byDefault]
}

function isPlain({ port, own }: Listener): boolean {
  return port !== "0" && !own.some(({ name, value }) => NOT_PLAIN.test(name) || (name === "protocol" && value !== "mqtt"))
}
