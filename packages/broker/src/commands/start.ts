import { isatty } from "node:tty"
import {
  applyOptions,
  DEFAULT_HOST,
  DEFAULT_PORT,
  describeTarget,
  escapeLine,
  flag,
  helpText,
  integer,
  jsonLine,
  listenForStop,
  messageOf,
  oneOf,
  type OptionValues,
  parseByteSize,
  parseDurationMs,
  parseHost,
  parsePort,
  positiveDuration,
  type ResolvedOptions,
  type Target,
  usageError,
  value,
} from "@mqtt-trio/common"
import type { Command } from "commander"
import type { Broker, BrokerOptions } from "../server/broker.js"
import type { ListenOptions } from "../server/listeners/listeners.js"
import { SIZE_OPTIONS, usableMemory } from "./size-options.js"
import { isLocal } from "../server/loopback.js"
import { defaultStoreUrl, parseStoreUrl } from "../stores/store-url.js"
import { CONFIG_OPTION, resolveWithFile } from "./config-file.js"
import { PASSWORD_FILE_OPTION } from "./access-options.js"
import { ACL_FILE_OPTION } from "./acl-options.js"
import { LISTEN_OPTIONS, listenOptions } from "./listen.js"
import { RATE_OPTIONS, rateOf } from "./rate-options.js"

export const START_OPTIONS = {
  config: CONFIG_OPTION,
  port: value({
    flags: "-p, --port <port>",
    help: "TCP port, 0 for any free one",
    group: "Network",
    env: "MQTT_BROKER_PORT",
    parse: (text) => parsePort(text, true),
    fallback: DEFAULT_PORT,
  }),
  host: value({
    flags: "--host <address>",
    help: "address to listen on",
    group: "Network",
    env: "MQTT_BROKER_HOST",
    parse: parseHost,
    fallback: DEFAULT_HOST,
  }),
  listen: LISTEN_OPTIONS.listen,
  wsOrigin: LISTEN_OPTIONS.wsOrigin,
  proxyProtocol: LISTEN_OPTIONS.proxyProtocol,
  tlsCert: LISTEN_OPTIONS.tlsCert,
  tlsKey: LISTEN_OPTIONS.tlsKey,
  tlsCa: LISTEN_OPTIONS.tlsCa,
  tlsRequireCert: LISTEN_OPTIONS.tlsRequireCert,
  tlsUser: LISTEN_OPTIONS.tlsUser,
  passwordFile: PASSWORD_FILE_OPTION,
  aclFile: ACL_FILE_OPTION,
  anonymous: flag({
    flags: "--anonymous",
    help: "let clients in without a user name: from other machines, or beside those of --password-file",
    group: "Users and rights",
    env: "MQTT_BROKER_ANONYMOUS",
  }),
  store: value({
    flags: "--store <url>",
    help: "where queues are kept: file:DIR, mongodb://HOST:PORT/DATABASE, or memory: for nothing that lasts",
    group: "Store",
    env: "MQTT_BROKER_STORE",
    parse: parseStoreUrl,
    fallback: parseStoreUrl(defaultStoreUrl()),
    defaultText: "file: in this user's data folder",
  }),
  lease: value({
    flags: "--lease <duration>",
    help: "how long a broker on MongoDB may be away before another one, which stands by, takes over",
    group: "Store",
    env: "MQTT_BROKER_LEASE",
    parse: parseLeaseMs,
    fallback: 10_000,
    defaultText: "10s",
  }),
  maxPacket: value({
    flags: "--max-packet <size>",
    help: "largest packet that is accepted",
    group: "Limits",
    env: "MQTT_BROKER_MAX_PACKET",
    parse: packetSize,
    fallback: 1_048_576,
    defaultText: "1MB",
  }),
  maxInflight: value({
    flags: "--max-inflight <n>",
    help: "unacknowledged messages per client of MQTT 3.1 and 3.1.1",
    group: "Limits",
    env: "MQTT_BROKER_MAX_INFLIGHT",
    parse: integer("the number of messages in flight", 1, 4096),
    fallback: 100,
  }),
  maxConnections: value({
    flags: "--max-connections <n>",
    help: "clients that are connected at a time",
    group: "Limits",
    env: "MQTT_BROKER_MAX_CONNECTIONS",
    parse: integer("the number of connections", 1, 1_000_000),
    fallback: 10_000,
  }),
  maxConnectionsPerAddress: value({
    flags: "--max-connections-per-address <n>",
    help: "the same from one address, or one /64 of IPv6; without it as many as there may be",
    group: "Limits",
    env: "MQTT_BROKER_MAX_CONNECTIONS_PER_ADDRESS",
    parse: integer("the number of connections per address", 1, 1_000_000),
  }),
  connectTimeout: value({
    flags: "--connect-timeout <time>",
    help: "how long a connection may take to send its CONNECT",
    group: "Limits",
    env: "MQTT_BROKER_CONNECT_TIMEOUT",
    parse: positiveDuration("s", "connect timeout"),
    fallback: 10_000,
    defaultText: "10s",
  }),
  maxSessions: value({
    flags: "--max-sessions <n>",
    help: "sessions, connected or not",
    group: "Limits",
    env: "MQTT_BROKER_MAX_SESSIONS",
    parse: integer("the number of sessions", 1),
    fallback: 100_000,
  }),
  maxSubscriptions: value({
    flags: "--max-subscriptions <n>",
    help: "subscriptions of one session",
    group: "Limits",
    env: "MQTT_BROKER_MAX_SUBSCRIPTIONS",
    parse: integer("the number of subscriptions", 1),
    fallback: 10_000,
  }),
  maxTopicLevels: value({
    flags: "--max-topic-levels <n>",
    help: "levels of a topic or topic filter",
    group: "Limits",
    env: "MQTT_BROKER_MAX_TOPIC_LEVELS",
    parse: integer("the number of topic levels", 1, 100),
    fallback: 100,
  }),
  maxRate: RATE_OPTIONS.maxRate,
  maxByteRate: RATE_OPTIONS.maxByteRate,
  maxQueue: value({
    flags: "--max-queue <size>",
    help: "what may wait for one session; the oldest messages go first",
    group: "Limits",
    env: "MQTT_BROKER_MAX_QUEUE",
    parse: parseByteSize,
    fallback: 1_073_741_824,
    defaultText: "1GB",
  }),
  maxRetained: value({
    flags: "--max-retained <n>",
    help: "retained messages; further topics get none",
    group: "Limits",
    env: "MQTT_BROKER_MAX_RETAINED",
    parse: integer("the number of retained messages", 0),
    fallback: 1_000_000,
  }),
  maxRetainedSize: value({
    flags: "--max-retained-size <size>",
    help: "bytes of all retained messages together",
    group: "Limits",
    env: "MQTT_BROKER_MAX_RETAINED_SIZE",
    parse: parseByteSize,
    fallback: 268_435_456,
    defaultText: "256MB",
  }),
  maxMemory: SIZE_OPTIONS.maxMemory,
  maxStore: SIZE_OPTIONS.maxStore,
  logLevel: value({
    flags: "--log-level <level>",
    help: "error, warn, info, debug or silent",
    group: "Output",
    env: "MQTT_BROKER_LOG_LEVEL",
    parse: oneOf("log level", ["error", "warn", "info", "debug", "silent"]),
    fallback: "info" as const,
  }),
  json: flag({ flags: "--json", help: "the ready line and the log as JSON", group: "Output", env: "MQTT_BROKER_JSON" }),
} as const

export type StartOptions = OptionValues<typeof START_OPTIONS>

const HELP = {
  name: "mqtt-broker start",
  summary: "Starts the broker and runs it until SIGINT or SIGTERM. One line on stdout says that it is ready.",
  usage: "[options]",
  examples: [
    ["mqtt-broker start", "port 5112 of this machine, queues in this user's data folder"],
    ["mqtt-broker start --port 1883 --store file:./queues", "another port, queues in a folder here"],
    ["mqtt-broker start --config broker.toml", "all of it in a file; mqtt-broker check --config broker.toml looks it over"],
    ["mqtt-broker start --host 0.0.0.0 --anonymous --store memory:", "open to everybody, nothing kept"],
  ],
} as const

export function registerStart(program: Command): void {
  const command = program.command("start").description("start the broker")
  command.configureHelp({ formatHelp: () => helpText(HELP, START_OPTIONS) })
  applyOptions(command, START_OPTIONS)
  command.action(async () => runStart(await resolveWithFile(command, START_OPTIONS)))
}

const AS_ROOT =
  "the broker runs as root, which it does not need: run it as a user of its own, with User= and StateDirectory= of systemd, or docker run --user"

/** Runs the broker until SIGINT or SIGTERM; SIGHUP reads the files of users, rights and TLS again. One line on stdout says that it is ready. */
export async function runStart(resolved: ResolvedOptions<typeof START_OPTIONS>): Promise<void> {
  const options = resolved.values
  let broker: Broker | undefined
  const stop = listenForStop(
    ["SIGINT", "SIGTERM", "SIGHUP"],
    reloadAtHangUp(() => broker?.reload()),
  )
  const [{ Broker }, { EventLog }, { LineSink }, { endAnyway }, { isLocked }] = await Promise.all([
    import("../server/broker.js"),
    import("../server/event-log.js"),
    import("../server/line-sink.js"),
    import("../server/end-anyway.js"),
    import("../stores/locked.js"),
  ])
  const listen = checkStart(resolved)
  const log = new EventLog(options.logLevel, options.json)
  // whoever waits for it, or does not, the broker serves and stops
  const ready = new LineSink(1, { failed: (error) => log.error(`the line that says ready cannot be written: ${messageOf(error)}`) })
  try {
    if (options.store.kind === "mongodb") process.title = `mqtt-broker start --store ${options.store.shown}` // the arguments may have a password
    broker = await Broker.start({ ...brokerOptions(options, listen), signal: stop.signal }, log)
    if (process.geteuid?.() === 0) log.warn(AS_ROOT)
    ready.write(readyLines(broker, options))
    await servedUntil(stop.signal, broker)
  } catch (error) {
    if (!(stop.signal.aborted && broker === undefined)) throw error // it stood by
  } finally {
    await Promise.all([ready.close(), log.close()])
    stop.dispose()
    if (broker?.isClosed === false || isLocked()) void endAnyway({ isStuck: broker?.isClosed === false }) // behind all else
    // Node.js would restore the modes of a terminal that is gone, and abort
    if (terminals.some((fd) => !isatty(fd))) process.kill(process.pid, "SIGHUP")
  }
}

async function servedUntil(signal: AbortSignal, broker: Broker): Promise<void> {
  const { mustEnd } = broker
  await Promise.race([aborted(signal), aborted(mustEnd)])
  if (!mustEnd.aborted) return broker.stop()
  await broker.abandon()
  throw mustEnd.reason
}

/** Which of stdin, stdout and stderr were a terminal at the start. */
const terminals = [0, 1, 2].filter((fd) => isatty(fd))

/** Does `reload` at SIGHUP, unless it says that the terminal is gone, which is a wish to stop. */
function reloadAtHangUp(reload: () => void): (signal: string) => boolean {
  return (signal) => {
    if (signal !== "SIGHUP" || isTerminalGone()) return false
    reload()
    return true
  }
}

/** Whether the terminal is gone where people read what the broker says; stdin may be one that it was let go from. */
function isTerminalGone(): boolean {
  return terminals.some((fd) => fd > 0 && !isatty(fd))
}

/** What a document of MongoDB has room for, 16 MB, without what is kept beside the message. */
const MOST_DOCUMENT_BYTES = 15 << 20

/** Where to listen. Throws a usage error for options that do not go together. */
export function checkStart(resolved: ResolvedOptions<typeof START_OPTIONS>): ListenOptions {
  const { values } = resolved
  const listen = listenOptions(values, resolved)
  const open = listen.targets.find((target) => !isLocal(target) && isOpen(target, values))
  if (open && !values.anonymous) throw openToOthers(open, resolved)
  if (values.store.kind === "mongodb" && values.maxPacket > MOST_DOCUMENT_BYTES)
    throw usageError(`${resolved.nameOf("maxPacket")} is more than a document of MongoDB can have`, "at most 15MB with this store")
  if (values.store.kind !== "file" && values.maxStore !== undefined)
    throw usageError(
      `${resolved.nameOf("maxStore")} is about a store in a folder`,
      values.store.kind === "memory"
        ? "leave it out with --store memory:, which --max-queue and --max-retained-size bound"
        : "leave it out with MongoDB, and bound what its server may take",
    )
  return listen
}

/** Whether some come in there without saying who they are, with a password or a certificate. */
export function isOpen(target: Target, { passwordFile, anonymous, tlsUser }: StartOptions): boolean {
  const certified = tlsUser && target.kind === "tcp" && target.tls
  return !certified && (anonymous || passwordFile === undefined)
}

function openToOthers(target: Target, { values, nameOf }: ResolvedOptions<typeof START_OPTIONS>): Error {
  const url = JSON.stringify(describeTarget(target))
  const option =
    target.kind === "tcp" && !values.listen.includes(target)
      ? `${nameOf("host")} ${JSON.stringify(target.host)}`
      : `${nameOf("listen")} ${url}`
  return usageError(
    `${option} opens the broker to other machines`,
    "add --password-file FILE (mqtt-broker user add NAME --password-file FILE makes it), or --anonymous if everybody who reaches it may connect",
  )
}

function brokerOptions(options: StartOptions, listen: ListenOptions): BrokerOptions {
  return {
    listen,
    access: { passwordFile: options.passwordFile, aclFile: options.aclFile, anonymous: options.anonymous, certificates: options.tlsUser },
    store: options.store,
    leaseMs: options.lease,
    limits: {
      packetBytes: options.maxPacket,
      firstPacketBytes: Math.min(65_536, options.maxPacket),
      connectTimeoutMs: options.connectTimeout,
      inflight: options.maxInflight,
      connections: options.maxConnections,
      connectionsPerAddress: options.maxConnectionsPerAddress ?? Infinity,
      sessions: options.maxSessions,
      subscriptions: options.maxSubscriptions,
      topicLevels: options.maxTopicLevels,
      rate: rateOf(options),
    },
    maxMemory: usableMemory(options.maxMemory),
    queueBytes: options.maxQueue,
    maxStore: options.maxStore,
    retained: { count: options.maxRetained, bytes: options.maxRetainedSize },
  }
}

/** One line, or one for each listener; an object for all of them with --json. */
function readyLines({ targets, storeUrl: store }: Broker, options: StartOptions): string {
  const listeners = targets.map((target) => ({ url: describeTarget(target), access: accessTo(target, options) }))
  const [first, ...more] = listeners
  if (!first) return ""
  if (options.json) {
    const { host, port } = { host: null, port: null, ...targets[0] }
    return `${jsonLine({ event: "ready", url: first.url, host, port, store, access: first.access, pid: process.pid, listeners })}\n`
  }
  const lines = [`mqtt-broker ready at ${first.url} · data in ${store} · open to ${first.access}`]
  for (const { url, access } of more) lines.push(`mqtt-broker ready at ${url} · open to ${access}`)
  return lines.map((line) => `${escapeLine(line)}\n`).join("")
}

/** Who may connect, in words. */
function accessTo(target: Target, { passwordFile, anonymous, tlsRequireCert, tlsUser }: StartOptions): string {
  const who = isLocal(target) ? "this machine" : "everybody who reaches this address"
  const password = passwordFile === undefined ? "without a password" : anonymous ? "with or without a password" : "with a password"
  if (target.kind !== "tcp" || !target.tls || !tlsRequireCert) return `${who}, ${password}`
  return `${who}, with a certificate of --tls-ca${passwordFile === undefined || tlsUser ? "" : `, ${password}`}`
}

/** The lease of a broker on MongoDB, in ms. */
export function parseLeaseMs(text: string): number {
  const ms = parseDurationMs(text, "s", "lease")
  if (ms < 1000 || ms > 3_600_000) throw usageError(`lease ${JSON.stringify(text)} is not between 1s and 1h`)
  return ms
}

function packetSize(text: string): number {
  const bytes = parseByteSize(text)
  if (bytes < 1024 || bytes > 268_435_460) throw usageError(`packet size ${JSON.stringify(text)} is not between 1KB and 256MB`)
  return bytes
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener("abort", () => resolve(), { once: true })
  })
}
