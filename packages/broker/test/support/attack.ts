import { appendFileSync, lstatSync, readdirSync } from "node:fs"
import { setPriority } from "node:os"
import { join } from "node:path"
import { setTimeout as after } from "node:timers/promises"
import { onCleanUp, RunningProcess, runCli, startBroker, type TestBroker, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { Bystander, type BystanderReport } from "./bystander.js"
import { anonymousMemory } from "./processes.js"
import { programPath } from "./programs.js"
import type { Doors, Tally } from "./siege.js"

const MB = 1 << 20
const MAX_MEMORY = "512MB"
/** Beyond it a broker is killed: the machine has others. */
const KILLED_ABOVE_BYTES = 2560 * MB
const LOOK_MS = 50
/** How long memory may take to come back, in ms, and to what multiple of before. */
const BACK_MS = 60_000
export const BACK_TO = 1.5
/** How long what an attack needs beforehand may take, in s. */
const PREPARE_SECONDS = 90
/** How long an attack goes on, in s; 15 shows what 3 only begins. */
const SECONDS = Number(process.env["MQTT_TEST_ATTACK_SECONDS"] ?? 3)

export interface SiegeOptions {
  /** further arguments and environment of the broker */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** the address that attackers and bystander have. Default: the bystander has another one */
  readonly sameAddress?: boolean
  /** Default: MQTT_TEST_ATTACK_SECONDS */
  readonly seconds?: number
}

/** What an attack did. Memory is RssAnon in bytes. */
export interface SiegeReport {
  readonly name: string
  /** the most during a normal load: what V8 keeps of it is what it needs */
  readonly normal: number
  /** after that */
  readonly idle: number
  readonly highest: number
  /** bytes of its store at the end of the attack */
  readonly stored: number
  /** when it was first at BACK_TO x normal after the attackers went, or a minute later */
  readonly back: number
  readonly backMs: number
  /** it ended, or was killed because it took too much */
  readonly end: string | undefined
  /** undefined: it was not there any more */
  readonly bystander: BystanderReport | undefined
  /** the same at the same time with a broker that nobody attacks: what the machine and the instrument add */
  readonly control: BystanderReport
  readonly attackers: Tally
}

/** The most that a process had, looked at each 50 ms; one that takes too much is killed. */
export class MemoryWatch {
  highest = 0
  end: string | undefined = undefined
  private readonly timer = setInterval(() => this.look(), LOOK_MS)

  constructor(private readonly broker: TestBroker) {
    onCleanUp(() => this.stop())
    void broker.ended.then(({ code, signal }) => (this.end ??= `ended by itself: ${code ?? signal}`))
  }

  /** 0: the process is gone, or about to be. */
  get now(): number {
    try {
      return this.broker.running ? anonymousMemory(this.broker.pid) : 0
    } catch {
      return 0
    }
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private look(): void {
    if (this.end !== undefined) return
    this.highest = Math.max(this.highest, this.now)
    if (this.highest < KILLED_ABOVE_BYTES) return
    this.end = `killed above ${KILLED_ABOVE_BYTES / MB} MB`
    void this.broker.kill9()
  }
}

let bound: readonly string[] | undefined

/** `--max-memory`, where the broker has it. */
export async function memoryBound(): Promise<readonly string[]> {
  bound ??= (await runCli("mqtt-broker", ["start", "--help"])).stdout.includes("--max-memory") ? ["--max-memory", MAX_MEMORY] : []
  return bound
}

/** Where a broker listens. */
export function doorsOf(broker: TestBroker): Doors {
  const portOf = (scheme: string): number => Number(new URL(broker.urls.find((url) => url.startsWith(scheme)) ?? "x://x:0").port)
  return { tcp: broker.port, tls: portOf("mqtts:"), webSocket: portOf("ws:") }
}

const ATTACKERS = "127.0.0.1"
const OTHERS = "127.0.0.2"

function phase(name: string, which: "prepare" | "run", { doors, seconds }: { doors: Doors; seconds: number }): RunningProcess {
  const args = [name, which, String(seconds), JSON.stringify(doors)]
  return new RunningProcess(process.execPath, [programPath("attack-process"), ...args])
}

/** What an attack needs beforehand. */
export async function prepare(name: string, doors: Doors): Promise<void> {
  const { code } = await phase(name, "prepare", { doors, seconds: PREPARE_SECONDS }).waitForEnd((PREPARE_SECONDS + 10) * 1000)
  if (code !== 0) throw new Error(`the attack could not be prepared: ${name}`)
}

/** Those who attack, in a process of their own. */
export class Attackers {
  private constructor(
    private readonly process: RunningProcess,
    private readonly seconds: number,
  ) {}

  /** Resolves when they are gathered. */
  static async gather(name: string, doors: Doors, seconds: number): Promise<Attackers> {
    const running = phase(name, "run", { doors, seconds })
    await running.waitForLine("gathered", { timeoutMs: PREPARE_SECONDS * 1000 })
    return new Attackers(running, seconds)
  }

  /** They attack; resolves when the time is over. */
  async attack(): Promise<Tally> {
    this.process.child.stdin.write("go\n")
    const tally: Tally = JSON.parse(await this.process.waitForLine(/^\{/, { timeoutMs: (this.seconds + 30) * 1000 }))
    return tally
  }

  /** All of their connections end. */
  leave(): Promise<void> {
    return this.process.kill9()
  }
}

/** A core when it wants one, as on a machine of its own: what is measured is not what else goes on here. */
export function prefer(broker: TestBroker): TestBroker {
  try {
    setPriority(broker.pid, -10)
  } catch {
    // that needs a right which not every user has
  }
  return broker
}

/** Attacks a real broker, while a bystander uses it and another one a broker that nobody attacks. */
export async function besiege(name: string, options: SiegeOptions = {}): Promise<SiegeReport> {
  const { args = [], env = {}, sameAddress = false, seconds = SECONDS } = options
  const dir = temporaryFolder()
  const bounded = await memoryBound()
  const [broker, quiet] = await Promise.all([
    startBroker({ dir, tls: true, env, args: ["--listen", "ws://127.0.0.1:0", ...bounded, ...args] }).then(prefer),
    startBroker({ args: bounded }).then(prefer),
  ])
  const doors = doorsOf(broker)
  const [bystander, control] = await Promise.all([
    Bystander.start(broker.port, sameAddress ? ATTACKERS : OTHERS),
    Bystander.start(quiet.port, OTHERS),
  ])
  const memory = new MemoryWatch(broker)
  await prepare("normal load", doors)
  await after(1000)
  const idle = memory.now
  const normal = memory.highest
  await prepare(name, doors)
  memory.highest = memory.now
  const crowd = await Attackers.gather(name, doors, seconds)
  bystander.measure()
  control.measure()
  const tally = await crowd.attack()
  const report = memory.end === undefined ? await bystander.report() : undefined
  const quietReport = await control.report()
  const stored = sizeOf(join(dir, "store"))
  await crowd.leave()
  const from = performance.now()
  await waitFor(() => memory.now <= BACK_TO * normal || performance.now() - from > BACK_MS, { what: "memory", timeoutMs: 2 * BACK_MS })
  const backMs = performance.now() - from
  memory.stop()
  const finished = memory.end === undefined ? await bystander.finish() : undefined
  const found = {
    name,
    normal,
    idle,
    highest: memory.highest,
    stored,
    back: memory.now,
    backMs,
    end: memory.end,
    bystander: report && finished && completed(report, finished),
    control: quietReport,
    attackers: tally,
  }
  tell(found)
  return found
}

/** Bytes that a folder takes on the disk. */
function sizeOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + (lstatSync(join(folder, name), { throwIfNoEntry: false })?.blocks ?? 0) * 512, 0)
}

/** Times as they were during the attack, and whether all came in the end. */
function completed(during: BystanderReport, atEnd: BystanderReport): BystanderReport {
  const both = (kind: "clean" | "stored"): BystanderReport[typeof kind] => {
    const { missing, inOrder, connected } = atEnd[kind]
    return { ...during[kind], missing, inOrder, connected }
  }
  return { clean: both("clean"), stored: both("stored") }
}

function mb(bytes: number): string {
  return `${Math.round(bytes / MB)} MB`
}

function inWords(report: BystanderReport | undefined): string {
  if (!report) return "none"
  return (["clean", "stored"] as const)
    .map((kind) => `${kind} p99 ${report[kind].puback.p99.toFixed(0)} max ${report[kind].puback.max.toFixed(0)}`)
    .join(", ")
}

function tell(report: SiegeReport): void {
  const { name, normal, idle, highest, stored, back, backMs, end, bystander, control, attackers: tally } = report
  process.stderr.write(
    `${name}: normal ${mb(normal)}, idle ${mb(idle)}, +${mb(highest - idle)}, stored ${mb(stored)}, after ${(backMs / 1000).toFixed(0)} s ${mb(back)}; ` +
      `PUBACK ms: ${inWords(bystander)} (control: ${inWords(control)}); attackers ${JSON.stringify(tally)}${end === undefined ? "" : `; the broker ${end}`}\n`,
  )
  const file = process.env["MQTT_TEST_ATTACK_REPORT"]
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(report)}\n`)
}
