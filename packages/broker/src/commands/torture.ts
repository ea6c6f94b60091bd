import { readFileSync } from "node:fs"
import {
  applyOptions,
  escapeLine,
  flag,
  helpText,
  integer,
  listenForStop,
  messageOf,
  oneOf,
  parseTargetUrl,
  resolveOptions,
  usageError,
  value,
  type CommandHelp,
  type OptionValues,
  type TextSink,
} from "@mqtt-trio/common"
import type { Address, StoredQos, TortureShape, TortureSignal } from "@mqtt-trio/torture"
import type { Command } from "commander"
import { parseStoreUrl } from "../stores/store-url.js"
import { parseLeaseMs } from "./start.js"
import { serverOf, withBrokers } from "./torture-brokers.js"

const WHAT_GROUP = "What happens"
const WHERE_GROUP = "Which broker"
const OUTPUT_GROUP = "Output"
const SHAPES = ["live", "sparse", "all"] as const satisfies readonly TortureShape[]
const SIGNALS = ["KILL", "TERM", "STOP", "none"] as const satisfies readonly TortureSignal[]

const HELP: CommandHelp = {
  name: "mqtt-broker torture",
  summary: "Kills a broker again and again under load, and checks that nothing acknowledged was lost, doubled or reordered.",
  usage: "[options]",
  examples: [
    ["mqtt-broker torture", "this broker, in a temporary folder"],
    ["mqtt-broker torture --target mqtt://127.0.0.1:1883 --start 'mosquitto -p 1883'", "another one"],
    ["mqtt-broker torture --target mqtts://localhost:8883 --cafile ca.crt", "over TLS, one that is left alone"],
    ["mqtt-broker torture --store mongodb://127.0.0.1/torture --brokers 2", "this broker, with one that stands by"],
  ],
  footer: [
    "Exit code 0: clean. 1: at least one anomaly; the first of each kind is shown with its history.",
    "The same seed gives the same moves: who comes and goes, and after how many acknowledgements who gets a signal.",
  ],
}

/** The options of `mqtt-broker torture`. */
export const TORTURE_OPTIONS = {
  rounds: value({
    flags: "--rounds <n>",
    help: "rounds per shape; three of four end with a signal",
    group: WHAT_GROUP,
    parse: integer("rounds", 0, 100_000),
    fallback: 10,
  }),
  acknowledgements: value({
    flags: "--acknowledgements <n>",
    help: "of the longest round; half of it in the sparse shape",
    group: WHAT_GROUP,
    parse: integer("acknowledgements", 100, 1_000_000),
    fallback: 10_000,
  }),
  publishers: value({
    flags: "--publishers <n>",
    help: "windows 50, 1000 and 1 in turn",
    group: WHAT_GROUP,
    parse: integer("publishers", 1, 1000),
    fallback: 6,
  }),
  subscribers: value({
    flags: "--subscribers <n>",
    help: "persistent sessions that come and go",
    group: WHAT_GROUP,
    parse: integer("subscribers", 1, 1000),
    fallback: 10,
  }),
  sessions: value({
    flags: "--sessions <n>",
    help: "absent sessions of the sparse shape",
    group: WHAT_GROUP,
    parse: integer("sessions", 1, 100_000),
    fallback: 1000,
  }),
  shape: value<TortureShape>({
    flags: "--shape <name>",
    help: "live (clients that come and go), sparse (absent sessions) or all",
    group: WHAT_GROUP,
    parse: oneOf("shape", SHAPES),
    fallback: "all",
  }),
  qos: value<StoredQos>({ flags: "--qos <1|2>", help: "1, or 2 for a mix of both", group: WHAT_GROUP, parse: parseStoredQos, fallback: 1 }),
  signal: value({
    flags: "--signal <name>",
    help: "KILL, TERM, STOP (sleeps until another broker has taken over, then goes on) or none",
    group: WHAT_GROUP,
    parse: oneOf("signal", SIGNALS),
    defaultText: "KILL",
  }),
  seed: value({
    flags: "--seed <n>",
    help: "repeats the moves of an earlier run",
    group: WHAT_GROUP,
    parse: integer("seed", 0, 2 ** 32 - 1),
    defaultText: "a random one, printed",
  }),
  target: value({
    flags: "--target <url>",
    help: "where the broker to torture listens: mqtt://HOST:PORT or mqtts://HOST:PORT",
    group: WHERE_GROUP,
    parse: parseAddress,
  }),
  tls: flag({
    flags: "--tls",
    help: "without a target: the clients come over TLS, with a certificate that is made for it",
    group: WHERE_GROUP,
  }),
  cafile: value({
    flags: "--cafile <file>",
    help: "trust the certificates of this authority, in PEM, for a target with mqtts:",
    group: WHERE_GROUP,
    parse: String,
  }),
  start: value({
    flags: "--start <command>",
    help: "runs it in the foreground; without it the broker is left alone (--signal none)",
    group: WHERE_GROUP,
    parse: String,
  }),
  store: value({
    flags: "--store <url>",
    help: "store of the brokers that are started here: file:DIR or mongodb://HOST:PORT/DATABASE",
    group: WHERE_GROUP,
    parse: parseStoreUrl,
    defaultText: "file: in a temporary folder",
  }),
  brokers: value({
    flags: "--brokers <n>",
    help: "so many on one store in MongoDB: one serves and gets the signal, the others stand by",
    group: WHERE_GROUP,
    parse: integer("brokers", 1, 10),
    fallback: 1,
  }),
  lease: value({
    flags: "--lease <duration>",
    help: "lease of brokers on MongoDB: after a KILL or STOP another one serves within it",
    group: WHERE_GROUP,
    parse: parseLeaseMs,
    defaultText: "2s",
  }),
  storeServer: value({
    flags: "--store-server <command>",
    help: "the server of a store in MongoDB: runs it in the foreground, and kills it in turn with the broker, which must live on",
    group: WHERE_GROUP,
    parse: String,
  }),
  json: flag({ flags: "--json", help: "the verdict as one JSON object", group: OUTPUT_GROUP }),
  quiet: flag({ flags: "--quiet", help: "no progress on stderr", group: OUTPUT_GROUP }),
}

export type TortureCommandOptions = OptionValues<typeof TORTURE_OPTIONS>

/** What the command writes to, and what ends it early. */
export interface TortureIo {
  out: TextSink
  err: TextSink
  stop: AbortSignal
}

/** Adds `torture` to the program; `done` gets the exit code. */
export function registerTorture(program: Command, done: (exitCode: number) => void): void {
  const command = program.command("torture").description(HELP.summary)
  command.configureHelp({ formatHelp: () => helpText(HELP, TORTURE_OPTIONS) })
  applyOptions(command, TORTURE_OPTIONS).action(async () => {
    const { values } = resolveOptions(command, TORTURE_OPTIONS)
    const stop = listenForStop(["SIGINT", "SIGTERM", "SIGHUP"])
    try {
      done(await runTorture(values, { out: process.stdout, err: process.stderr, stop: stop.signal }))
    } catch (error) {
      if (!stop.received) throw error
      done(stop.exitCode)
    } finally {
      stop.dispose()
    }
  })
}

/** Runs the torture and prints the verdict: 0 when it is clean, 1 when not. Throws a usage error for options that contradict each other. */
export async function runTorture(options: TortureCommandOptions, io: TortureIo): Promise<number> {
  const signal = options.signal ?? (options.target && options.start === undefined ? "none" : "KILL")
  checkTarget(options, signal)
  checkStore(options, signal)
  const target = targetOf(options)
  const { renderJson, renderReport, torture } = await import("@mqtt-trio/torture")
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32)
  const note = (line: string): void => void (options.quiet || io.err.write(`${escapeLine(line)}\n`))
  note(`seed ${seed}`)
  const { rounds, acknowledgements, publishers, subscribers, sessions, shape, qos } = options
  const what = { rounds, acknowledgements, publishers, subscribers, sessions, shape, qos, signal, seed }
  const report = await withBrokers({ ...options, target }, (brokers, settings) =>
    torture(brokers, { ...settings, ...what, stop: io.stop, progress: note }),
  )
  io.out.write(options.json ? renderJson({ ...report, seed }) : renderReport({ ...report, seed }))
  return report.verdict.clean ? 0 : 1
}

/** Throws a usage error for what does not go with a target, or needs one. */
function checkTarget({ target, start, tls, store }: TortureCommandOptions, signal: TortureSignal): void {
  if (start !== undefined && !target)
    throw usageError("--start needs --target", "say where the command listens: --target mqtt://127.0.0.1:1883")
  if (target && start === undefined && signal !== "none") {
    throw usageError(`--signal ${signal} needs --start`, "only a broker that was started here can be stopped and started again")
  }
  if (tls && target) throw usageError("--tls is for a broker that is started here", "give --target mqtts://HOST:PORT instead")
  if (store && target) throw usageError("--store is for brokers that are started without --target", "say it in the command of --start")
}

/** Throws a usage error for what the store does not allow. */
function checkStore({ store, brokers, lease, storeServer }: TortureCommandOptions, signal: TortureSignal): void {
  const onDatabase = [
    brokers > 1 && `--brokers ${brokers}`,
    lease !== undefined && "--lease",
    storeServer !== undefined && "--store-server",
  ]
  const [needy] = onDatabase.filter((option) => option !== false)
  if (needy !== undefined && store?.kind !== "mongodb")
    throw usageError(`${needy} needs a store in MongoDB`, "for example --store mongodb://127.0.0.1:27017/torture")
  if (signal === "STOP" && brokers < 2) throw usageError("--signal STOP needs a broker that stands by", "add --brokers 2")
  if (store?.kind === "memory" && signal !== "none") throw usageError(`memory: keeps nothing over a ${signal}`, "add --signal none")
  if (storeServer !== undefined && store?.kind === "mongodb" && !serverOf(store))
    throw usageError("--store-server needs a store with one host", "for example --store mongodb://127.0.0.1:27017/torture")
}

/** Where the broker listens and whom its clients trust; `undefined` for one of our own. */
function targetOf({ target, cafile }: TortureCommandOptions): Address | undefined {
  if (cafile === undefined) return target
  if (!target?.tls) throw usageError("--cafile needs a target with TLS", "for example --target mqtts://localhost:8883")
  try {
    return { ...target, tls: { ca: readFileSync(cafile) } }
  } catch (cause) {
    throw usageError(`--cafile ${JSON.stringify(cafile)} cannot be read: ${messageOf(cause)}`)
  }
}

function parseAddress(text: string): Address {
  const { target, username } = parseTargetUrl(text)
  if (target.kind !== "tcp" || target.websocketPath !== undefined || username !== undefined) {
    throw usageError(`torture speaks MQTT over TCP or TLS, without a user, not "${text}"`, "for example --target mqtt://127.0.0.1:1883")
  }
  const { host, port, tls } = target
  return { host, port, ...(tls && { tls: {} }) }
}

function parseStoredQos(text: string): StoredQos {
  if (text !== "1" && text !== "2") throw usageError(`QoS "${text}" is not 1 or 2`)
  return text === "1" ? 1 : 2
}
