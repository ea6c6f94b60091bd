import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { ANOMALY_KINDS, ANOMALY_TITLES, type AnomalyKind } from "@mqtt-trio/torture"
import { cliPath, freePort, machineLine, markdown, mosquittoVersion } from "@mqtt-trio/testing"

/** The torture of this broker beside mosquitto, from one run, as a Markdown table for packages/broker/BENCHMARKS.md. */

const LIMIT_MS = 600_000

/** mosquitto writes its store at intervals and when it ends, and keeps at most 1,000 messages for an absent session by default. */
const DEFAULT_SETTINGS = ["allow_anonymous true"]
const LARGE_SETTINGS = [
  "allow_anonymous true",
  "persistence true",
  "persistence_location {dir}/",
  "autosave_interval 1",
  "max_queued_messages 0",
  "max_queued_bytes 0",
  "max_inflight_messages 1000",
]

interface Subject {
  name: string
  /** Lines of mosquitto.conf; `undefined` for this broker. */
  settings: string[] | undefined
  signal: "KILL" | "none"
}

interface Verdict {
  published: number
  acknowledged: number
  expected: number
  firstCopies: number
  repeats: number
  signals: number
  durationMs: number
  anomalies: Record<AnomalyKind, number>
}

/** Those that one broker by itself may have. */
const KINDS = ANOMALY_KINDS.filter((kind) => kind !== "outlived")

const ROWS: readonly [string, (verdict: Verdict) => number][] = [
  ["acknowledged", (verdict) => verdict.acknowledged],
  ["signals sent to the broker", (verdict) => verdict.signals],
  ["deliveries owed to sessions", (verdict) => verdict.expected],
  ...KINDS.map((kind): [string, (verdict: Verdict) => number] => [ANOMALY_TITLES[kind], ({ anomalies }) => anomalies[kind]]),
  ["QoS 1 repeats (allowed)", (verdict) => verdict.repeats],
]

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "6" },
      seed: { type: "string", default: "1" },
      qos: { type: "string", default: "2" },
      sessions: { type: "string", default: "300" },
    },
  })
  const version = mosquittoVersion()
  const verdicts: Verdict[] = []
  const subjects = subjectsFor(version)
  for (const subject of subjects) {
    const options = ["--rounds", values.rounds, "--seed", values.seed, "--qos", values.qos, "--sessions", values.sessions]
    process.stderr.write(`${subject.name}, ${subject.signal}\n`)
    verdicts.push(await tortured(subject, options))
  }
  const header = ["", ...subjects.map(({ name, signal }) => `${name}, ${signal === "KILL" ? "SIGKILL" : "never killed"}`)]
  const lines = ROWS.map(([title, count]) => [title, ...verdicts.map((verdict) => count(verdict).toLocaleString("en"))])
  const settings =
    version === undefined ? [] : [`mosquitto default: ${DEFAULT_SETTINGS.join("; ")}.`, `mosquitto large: ${LARGE_SETTINGS.join("; ")}.`]
  const command = `mqtt-broker torture --rounds ${values.rounds} --seed ${values.seed} --qos ${values.qos} --sessions ${values.sessions}`
  process.stdout.write([...markdown([header, ...lines]), "", `\`${command}\``, machineLine(), ...settings, ""].join("\n"))
}

function subjectsFor(version: string | undefined): Subject[] {
  const signals = ["KILL", "none"] as const
  const own = signals.map((signal): Subject => ({ name: "mqtt-broker", settings: undefined, signal }))
  if (version === undefined) return own
  const rival = (name: string, settings: string[]): Subject[] =>
    signals.map((signal) => ({ name: `mosquitto ${version} ${name}`, settings, signal }))
  return [...own, ...rival("default", DEFAULT_SETTINGS), ...rival("large", LARGE_SETTINGS)]
}

async function tortured(subject: Subject, options: string[]): Promise<Verdict> {
  const folder = mkdtempSync(join(tmpdir(), "mqtt-torture-table-"))
  try {
    const target: string[] = []
    if (subject.settings) {
      const port = await freePort()
      const file = join(folder, "mosquitto.conf")
      // mosquitto started as root changes to a user of its own, who could not write into the folder.
      const lines = [`listener ${port} 127.0.0.1`, `user ${process.env["USER"] ?? "root"}`, ...subject.settings]
      writeFileSync(file, `${lines.join("\n").replaceAll("{dir}", folder)}\n`)
      target.push("--target", `mqtt://127.0.0.1:${port}`, "--start", `mosquitto -c ${file}`)
    }
    return await runTorture([...options, "--signal", subject.signal, ...target])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function runTorture(args: string[]): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const command = [cliPath("mqtt-broker"), "torture", "--json", "--quiet", ...args]
    execFile(process.execPath, command, { timeout: LIMIT_MS, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      // Exit code 1 says that there were anomalies: they are what the table shows.
      if (stdout.startsWith("{")) resolve(JSON.parse(stdout))
      else reject(error ?? new Error(`no verdict: ${stderr}`))
    })
  })
}

await main()
