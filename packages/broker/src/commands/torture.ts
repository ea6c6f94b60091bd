import { createServer } from "node:net"
import { randomInt } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
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
import type { Address, StoredQos, TorturedBroker, TortureReport, TortureShape, TortureSignal } from "@mqtt-trio/torture"
import type { Command } from "commander"

const WHAT_GROUP = "What happens"
const WHERE_GROUP = "Which broker"
const OUTPUT_GROUP = "Output"
const DAY_MS = 86_400_000
const SHAPES = ["live", "sparse", "all"] as const satisfies readonly TortureShape[]
const SIGNALS = ["KILL", "TERM", "none"] as const satisfies readonly TortureSignal[]

const HELP: CommandHelp = {
  name: "mqtt-broker torture",
  summary: "Kills a broker again and again under load, and checks that nothing acknowledged was lost, doubled or reordered.",
  usage: "[options]",
  examples: [
    ["mqtt-broker torture", "this broker, in a temporary folder"],
    ["mqtt-broker torture --target mqtt://127.0.0.1:1883 --start 'mosquitto -p 1883'", "another one"],
    ["mqtt-broker torture --target mqtts://localhost:8883 --cafile ca.crt", "over TLS, one that is left alone"],
  ],
  footer: [
    "Exit code 0: clean. 1: at least one anomaly; the first of each kind is shown with its history.",
    "The same seed gives the same moves: who comes and goes, and after how many acknowledgements the broker gets its signal.",
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
    help: "KILL, TERM or none",
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
  if (options.start !== undefined && !options.target)
    throw usageError("--start needs --target", "say where the command listens: --target mqtt://127.0.0.1:1883")
  if (options.target && options.start === undefined && signal !== "none") {
    throw usageError(`--signal ${signal} needs --start`, "only a broker that was started here can be stopped and started again")
  }
  if (options.tls && options.target)
    throw usageError("--tls is for a broker that is started here", "give --target mqtts://HOST:PORT instead")
  const target = targetOf(options)
  const { renderJson, renderReport, torture } = await import("@mqtt-trio/torture")
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32)
  const note = (line: string): void => void (options.quiet || io.err.write(`${escapeLine(line)}\n`))
  note(`seed ${seed}`)
  const { rounds, publishers, subscribers, sessions, shape, qos } = options
  const report = await withTarget(target, options, (broker) =>
    torture(broker, { rounds, publishers, subscribers, sessions, shape, qos, signal, seed, stop: io.stop, progress: note }),
  )
  io.out.write(options.json ? renderJson({ ...report, seed }) : renderReport({ ...report, seed }))
  return report.verdict.clean ? 0 : 1
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

async function withTarget(
  target: Address | undefined,
  { start, tls }: TortureCommandOptions,
  run: (broker: TorturedBroker) => Promise<TortureReport>,
): Promise<TortureReport> {
  const { TorturedBroker } = await import("@mqtt-trio/torture")
  if (target) return run(new TorturedBroker(target, start === undefined ? undefined : ["/bin/sh", "-c", `exec ${start}`]))
  const folder = mkdtempSync(join(tmpdir(), "mqtt-torture-"))
  try {
    const { address, args } = tls ? await secureListener(join(folder, "tls")) : await plainListener()
    const start = ["start", ...args, "--store", `file:${join(folder, "store")}`]
    return await run(new TorturedBroker(address, [process.execPath, process.argv[1] ?? "", ...start])) // this command itself
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Where a broker of our own listens, and what tells it. */
interface OwnListener {
  address: Address
  args: string[]
}

async function plainListener(): Promise<OwnListener> {
  const port = await freePort()
  return { address: { host: "127.0.0.1", port }, args: ["--port", String(port)] }
}

async function secureListener(folder: string): Promise<OwnListener> {
  const { changeFolder } = await import("./cert-files.js")
  const { CertFolder } = await import("./cert-folder.js")
  const until = new Date(Date.now() + DAY_MS)
  const purpose = { kind: "server", names: ["127.0.0.1"] } as const
  const { ca, cert, key } = await changeFolder(folder, async () => {
    const made = await CertFolder.open(folder, "mqtt-broker torture", until)
    const server = await made.make({ file: "server", name: "127.0.0.1", purpose, until })
    return { files: made.files, result: { ...server, ca: made.authority.cert } }
  })
  const [host, port] = ["127.0.0.1", await freePort()]
  const args = ["--listen", `mqtts://${host}:${port}`, "--tls-cert", cert, "--tls-key", key]
  return { address: { host, port, tls: { ca: readFileSync(ca) } }, args }
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

/** A port that the system gives to nobody by chance while the broker is away: below those of outgoing connections and of port 0. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(16_384, 32_768)
    const server = createServer().listen(port, "127.0.0.1")
    try {
      await once(server, "listening")
    } catch {
      continue
    }
    server.close()
    await once(server, "close")
    return port
  }
}
