import { spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, openSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { cleanUp, cliPath, hasMosquitto, runProcess, startBroker, temporaryFolder } from "@mqtt-trio/testing"

/** Times the clients beside mosquitto's and MQTT.js' own, against our broker, and prints one Markdown table. */
const ROUNDS = 9
/** Not more: of 200,000 lines mosquitto_pub 2.0.11 -l sends about 70,000 and exits 0, to mosquitto as well. */
const LINES = 50_000
const STREAM_ROUNDS = 3

const node = process.execPath
const mqttJs = createRequire(import.meta.url)
  .resolve("mqtt/package.json")
  .replace("package.json", "build/bin/mqtt.js")
const folder = temporaryFolder()
const input = join(folder, "lines")
writeFileSync(input, Array.from({ length: LINES }, (_, index) => `${String(index).padStart(63, "0")}\n`).join(""))

/** More certificates to read make every start of Node.js longer, and the ratios smaller than they are for others. */
const ENV = { ...process.env, NODE_EXTRA_CA_CERTS: "" }

type Command = readonly [program: string, ...args: string[]]

/** Milliseconds that a command takes with a file as stdin and its output thrown away. */
async function time([program, ...args]: Command, stdin: string): Promise<number> {
  const [read, write] = [openSync(stdin, "r"), openSync("/dev/null", "w")]
  const start = performance.now()
  const child = spawn(program, args, { stdio: [read, write, "ignore"], env: ENV })
  const [code] = await once(child, "close")
  const took = performance.now() - start
  for (const fd of [read, write]) closeSync(fd)
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${String(code)}`)
  return took
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

async function startUps(port: string, rivals: boolean): Promise<void> {
  const commands: Record<string, Command> = {
    "node -e 0": [node, "-e", "0"],
    "mqtt-pub, one message": [node, cliPath("mqtt-pub"), "t", "x", "-p", port],
    "mqtt-sub, to SUBACK": [node, cliPath("mqtt-sub"), "t", "-E", "-p", port],
    "MQTT.js' mqtt pub": [node, mqttJs, "pub", "-p", port, "-h", "127.0.0.1", "-t", "t", "-m", "x", "-q", "1"],
    ...(rivals ? { mosquitto_pub: ["mosquitto_pub", "-p", port, "-t", "t", "-m", "x", "-q", "1"] } : {}),
  }
  const times = Object.fromEntries(Object.keys(commands).map((name): [string, number[]] => [name, []]))
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, command] of Object.entries(commands)) times[name]?.push(await time(command, "/dev/null"))
  }
  const base = median(times["node -e 0"] ?? [])
  for (const [name, values] of Object.entries(times))
    print(`start-up: ${name}`, `${median(values).toFixed(0)} ms`, `${(median(values) / base).toFixed(2)} x node`)
}

/** A session in which LINES messages wait is filled by `publish` and emptied by `subscribe`; both are timed. */
async function stream(port: string, name: string, commands: { publish: Command; subscribe: Command }): Promise<void> {
  const times: { publish: number[]; subscribe: number[] } = { publish: [], subscribe: [] }
  for (let round = 0; round < STREAM_ROUNDS; round += 1) {
    await runProcess(node, [cliPath("mqtt-sub"), "bench", "-c", "-i", "bench", "-E", "-p", port])
    times.publish.push(await time(commands.publish, input))
    times.subscribe.push(await time(commands.subscribe, "/dev/null"))
  }
  for (const side of ["publish", "subscribe"] as const)
    print(
      `${side} ${LINES.toLocaleString("en")} lines, QoS 1, stored: ${name}`,
      `${Math.round(LINES / median(times[side])).toLocaleString("en")} k/s`,
      "",
    )
}

function print(what: string, value: string, note: string): void {
  process.stdout.write(`| ${what} | ${value} | ${note} |\n`)
}

const broker = await startBroker({ args: ["--log-level", "error"] })
const port = String(broker.port)
const rivals = hasMosquitto()
process.stdout.write("| what | median | |\n|---|---|---|\n")
await startUps(port, rivals)
const session = ["-c", "-i", "bench", "-q", "1", "-C", String(LINES), "-p", port]
await stream(port, "mqtt-pub -l, mqtt-sub", {
  publish: [node, cliPath("mqtt-pub"), "bench", "-l", "-p", port],
  subscribe: [node, cliPath("mqtt-sub"), "bench", ...session, "--quiet"],
})
if (rivals) {
  await stream(port, "mosquitto_pub -l, mosquitto_sub", {
    publish: ["mosquitto_pub", "-t", "bench", "-l", "-q", "1", "-M", "1000", "-V", "5", "-p", port],
    subscribe: ["mosquitto_sub", "-t", "bench", ...session, "-V", "5"],
  })
}
await cleanUp()
