import { join } from "node:path"
import { CliError, describeTarget, keyOf, type OptionSpec, type OptionTable, type Target } from "@mqtt-trio/common"
import { isLocal } from "../server/loopback.js"
import { type Door, doorOf, lastOf, type Listener, listenersOf, type MosquittoLine } from "./mosquitto-listeners.js"

/** What a mosquitto.conf is here. */
export interface Converted {
  /** Options of `mqtt-broker start`. */
  readonly values: Readonly<Record<string, OptionText>>
  /** What has no counterpart, a line each, in the order of the file; without values, which may be secret. */
  readonly left: readonly string[]
}

type OptionText = string | number | boolean | readonly string[]

/** Who may do what at a listener: the lines that decide. */
interface Security {
  readonly anonymous: boolean
  /** why it is not open to everybody */
  readonly closedBy: MosquittoLine | undefined
  readonly passwordFile: MosquittoLine | undefined
  readonly aclFile: MosquittoLine | undefined
  /** keeps some clients, or all, from something, and has no counterpart: without it the broker must not let in others than this machine */
  readonly lost: MosquittoLine | undefined
}

/** Other rights than those of an ACL file. */
const RIGHTS = /^(auth_plugin|plugin|global_plugin|plugin_(load|use)|clientid_prefixes)$/

const NO_DOOR: Pick<Door, "listener"> = { listener: { line: undefined, port: "", host: undefined, own: [] } }

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
  "require_certificate false",
  "tls_version tlsv1.2",
  "use_identity_as_username false",
  "use_subject_as_username false",
  "use_username_as_clientid false",
])
/** Lines that Conversion reads by their names, before it looks at each. */
const READ_BY_NAME = /^(listener|port|bind_address|allow_anonymous|listener_allow_anonymous|persistence|persistence_location|log_type)$/

/** Turns a mosquitto.conf into options of `table`. Nothing becomes more open than it was, but for what `left` names. */
export function fromMosquitto(lines: readonly MosquittoLine[], table: OptionTable): Converted {
  const conversion = new Conversion(lines, table)
  return { values: conversion.values, left: lines.flatMap((line) => conversion.problems.get(line) ?? []) }
}

class Conversion {
  readonly values: Record<string, OptionText> = {}
  readonly problems = new Map<MosquittoLine, string>()
  /** lines whose meaning is in the values, or in a problem of another line */
  private readonly done = new Set<MosquittoLine>()
  private readonly global: readonly MosquittoLine[]

  constructor(
    lines: readonly MosquittoLine[],
    private readonly table: OptionTable,
  ) {
    const { there, absent } = listenersOf(lines)
    const owned = new Set([...there, ...absent].flatMap(({ own }) => own))
    this.global = lines.filter((line) => !owned.has(line))
    for (const listener of absent) this.refuse(listener, undefined)
    const doors = this.doors(there)
    this.listen(doors)
    this.secure(doors)
    this.store()
    this.limitConnections(doors)
    for (const line of [...doors.flatMap(({ listener }) => listener.own), ...this.global]) this.convert(line)
    this.logLevel(this.global.filter(({ name }) => name === "log_type"))
  }

  /** The listeners that are something here: all have the TLS files, users and rights of the first of them. */
  private doors(listeners: readonly Listener[]): Door[] {
    const doors: Door[] = []
    for (const listener of listeners) {
      const door = doorOf(listener)
      const why = typeof door === "string" ? door : (this.unlike(doors, door) ?? this.unlistenable(door))
      if (typeof door === "string" || why !== undefined) this.refuse(listener, why)
      else doors.push(door)
    }
    return doors
  }

  private unlike(before: readonly Door[], door: Door): string | undefined {
    const [first] = before
    const secure = before.find(({ tls }) => tls)
    if (door.tls && secure && tlsKey(secure) !== tlsKey(door)) return "all listeners have the same TLS files here, and its are others"
    if (first && securityKey(this.securityOf(first)) !== securityKey(this.securityOf(door)))
      return "all listeners have the same users and rights here, and its are others"
    return undefined
  }

  /** What keeps --listen, and --ws-origin where pages are limited, from saying the same. */
  private unlistenable({ target, listener }: Door): string | undefined {
    if (!this.takes("listen", [urlOf(target)])) return "--listen does not take it"
    const origins = originsOf(listener)
    if (isWebSocket(target) && origins.length > 0 && !this.takes("ws-origin", origins))
      return "--ws-origin does not take its websockets_origin"
    return undefined
  }

  private refuse({ line, own }: Listener, why: string | undefined): void {
    if (line) this.leave(line, `no counterpart${why === undefined ? "" : `: ${why}`}`)
    for (const one of own) if (!isAlreadySo(one)) this.leave(one, "its listener has no counterpart")
  }

  private listen(doors: readonly Door[]): void {
    const short = doors.find(({ target }) => target.kind === "tcp" && !target.tls && target.websocketPath === undefined)
    if (short?.target.kind === "tcp") Object.assign(this.values, { port: short.target.port, host: short.target.host })
    const others = doors.filter((door) => door !== short)
    if (others.length > 0) this.values["listen"] = others.map(({ target }) => urlOf(target))
    this.listenForPages(doors.filter(({ target }) => isWebSocket(target)))
    this.secureTransport(doors.filter(({ tls }) => tls))
  }

  private listenForPages(doors: readonly Door[]): void {
    const own = doors.flatMap(({ listener }) => listener.own)
    for (const line of own.filter(({ name, value }) => name === "protocol" && value === "websockets"))
      this.leave(line, "clients have to use the path /mqtt, mosquitto takes every one")
    const origins = [...new Set(doors.flatMap(({ listener }) => originsOf(listener)))]
    if (origins.length > 0) this.values["ws-origin"] = origins
    this.take(own.filter(({ name }) => name === "websockets_origin"))
  }

  private secureTransport(doors: readonly Door[]): void {
    const [first] = doors
    if (!first?.tls) return
    const { cert, key, clientCa } = first.tls
    Object.assign(this.values, { "tls-cert": cert.value, "tls-key": key.value })
    if (clientCa) Object.assign(this.values, { "tls-ca": clientCa.value, "tls-require-cert": true })
    const own = doors.flatMap(({ listener }) => listener.own)
    const files = clientCa ? /^(certfile|keyfile|cafile|require_certificate)$/ : /^(certfile|keyfile)$/
    this.take(own.filter(({ name }) => files.test(name)))
    for (const line of own) if (line.name === "cafile" && !clientCa) this.leave(line, "no counterpart without require_certificate")
    if (!certificateUser(first)) return
    this.values["tls-user"] = true
    this.take(doors.flatMap((door) => certificateUser(door) ?? []))
  }

  private securityOf({ listener: { line, own } }: Pick<Door, "listener">): Security {
    const applied = [...this.global, ...own]
    const said = lastOf(own, "listener_allow_anonymous") ?? lastOf(applied, "allow_anonymous")
    const [passwordFile, aclFile] = [lastOf(applied, "password_file"), lastOf(applied, "acl_file")]
    // the rules are about names that nobody has here
    const unnamed = own.find(({ name, value }) => name === "use_subject_as_username" && value === "true")
    return {
      anonymous: said ? said.value === "true" : !line,
      closedBy: said ?? line,
      passwordFile,
      aclFile,
      lost: applied.find(({ name }) => RIGHTS.test(name)) ?? (aclFile && unnamed),
    }
  }

  /** Users, rights, and who comes in without being one. */
  private secure(doors: readonly Door[]): void {
    const [first] = doors
    const { anonymous, closedBy, passwordFile, aclFile, lost } = this.securityOf(first ?? NO_DOOR)
    const local = doors.every(({ target }) => isLocal(target))
    const kept = local || !lost
    if (first && !lost && anonymous && (passwordFile || !local)) this.values["anonymous"] = true
    if (kept && passwordFile) this.values["password-file"] = passwordFile.value
    if (aclFile) this.values["acl-file"] = aclFile.value
    const all = [...this.global, ...doors.flatMap(({ listener }) => listener.own)]
    this.take(all.filter(({ name }) => (passwordFile && name === "password_file") || (aclFile && name === "acl_file")))
    const reason = anonymous ? lost : closedBy
    const unnamed = doors.some((door) => isLocal(door.target) && !certificateUser(door))
    if (lost && !kept) this.leave(lost, "no counterpart: without it nobody is let in; see anonymous")
    else if (!passwordFile && reason && unnamed)
      this.leave(reason, "no counterpart: everybody on this machine may connect and do everything")
    if (!kept && passwordFile) this.leave(passwordFile, "left out, because something else that limits its users has no counterpart")
  }

  private store(): void {
    const location = lastOf(this.global, "persistence_location")?.value
    if (lastOf(this.global, "persistence")?.value !== "true") this.values["store"] = "memory:"
    else if (location !== undefined) this.values["store"] = `file:${join(location, "mqtt-broker")}`
  }

  /** mosquitto counts them at each listener. */
  private limitConnections(doors: readonly Door[]): void {
    const given = doors.flatMap(({ listener }) => listener.own.filter(({ name }) => name === "max_connections"))
    if (doors.length < 2 || given.length === 0) return
    const numbers = doors.map(({ listener }) => Number(lastOf(listener.own, "max_connections")?.value ?? -1))
    const total = numbers.every((number) => number > 0) ? numbers.reduce((all, number) => all + number, 0) : 0
    if (this.takes("max-connections", [String(total)])) {
      this.values["max-connections"] = total
      this.take(given)
    } else for (const line of given) this.leave(line, "all listeners are counted together; the default stays")
  }

  private convert(line: MosquittoLine): void {
    const { name, value } = line
    const limit = LIMITS[name]
    if (READ_BY_NAME.test(name) || this.done.has(line) || this.problems.has(line)) return
    if (isAlreadySo(line)) return
    if (limit === undefined) this.leave(line, "no counterpart")
    else if (value === "0" || value === "-1") this.leave(line, "no limit is not possible; the default stays")
    else if (this.takes(limit, [value])) this.values[limit] = /^\d+$/.test(value) ? Number(value) : value
    else this.leave(line, `${limit} does not take its value; the default stays`)
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

  private option(key: string): OptionSpec<unknown> | undefined {
    return Object.values(this.table).find((spec) => keyOf(spec) === key)
  }

  /** Whether there is such an option, and it takes the values. */
  private takes(key: string, texts: readonly string[]): boolean {
    try {
      return this.option(key)?.read(texts) !== undefined
    } catch (error) {
      if (error instanceof CliError) return false
      throw error
    }
  }

  private take(lines: readonly MosquittoLine[]): void {
    for (const line of lines) this.done.add(line)
  }

  private leave(line: MosquittoLine, why: string): void {
    this.problems.set(line, `${line.at}: ${line.name}: ${why}`)
  }
}

function isAlreadySo({ name, value }: MosquittoLine): boolean {
  return ALREADY_SO.has(`${name} ${value}`)
}

function urlOf(target: Target): string {
  if (target.kind === "tcp") return describeTarget(target)
  return `mqtt+unix://${target.path.split("/").map(encodeURIComponent).join("/")}`
}

function isWebSocket(target: Target): boolean {
  return target.kind === "tcp" && target.websocketPath !== undefined
}

function originsOf({ own }: Listener): string[] {
  return own.flatMap(({ name, value }) => (name === "websockets_origin" ? value.split(/\s+/) : []))
}

/** The line that makes the name in a client's certificate its user name. */
function certificateUser({ listener: { own }, tls }: Door): MosquittoLine | undefined {
  if (!tls?.clientCa) return undefined
  const line = lastOf(own, "use_identity_as_username")
  return line?.value === "true" ? line : undefined
}

function tlsKey(door: Door): string {
  const { cert, key, clientCa } = door.tls ?? {}
  return JSON.stringify([cert?.value, key?.value, clientCa?.value, certificateUser(door) !== undefined])
}

function securityKey({ anonymous, passwordFile, aclFile, lost }: Security): string {
  return JSON.stringify([anonymous, passwordFile?.value, aclFile?.value, lost?.name, lost?.value])
}
