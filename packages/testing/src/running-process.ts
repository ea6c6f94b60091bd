import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process"
import { onCleanUp } from "./clean-up.js"
import { waitFor } from "./wait-for.js"

export interface ProcessOptions {
  /** Added to the environment; MQTT_* variables of the caller are not passed on. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

/** How a process ended: its exit code, or the signal that killed it. */
export interface ProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const running = new Set<ChildProcessWithoutNullStreams>()
process.once("exit", () => running.forEach((child) => child.kill("SIGKILL")))

/** A real process with its output so far; it is killed at the end of the test. */
export class RunningProcess {
  readonly child: ChildProcessWithoutNullStreams
  /** Resolves when the process has ended and its pipes are closed. */
  readonly ended: Promise<ProcessEnd>
  readonly command: string
  private out: Buffer[] = []
  private err: Buffer[] = []
  private end: ProcessEnd | undefined

  constructor(command: string, args: readonly string[], options: ProcessOptions = {}) {
    this.command = [command, ...args].join(" ")
    this.child = spawn(command, [...args], { env: { ...inheritedEnvironment(), ...options.env }, cwd: options.cwd })
    this.child.stdin.on("error", () => undefined)
    this.child.stdout.on("data", (chunk: Buffer) => this.out.push(chunk))
    this.child.stderr.on("data", (chunk: Buffer) => this.err.push(chunk))
    this.ended = new Promise((resolve, reject) => {
      this.child.once("error", reject)
      this.child.once("close", (code, signal) => {
        this.end = { code, signal }
        resolve(this.end)
      })
    })
    this.ended.catch(() => undefined)
    running.add(this.child)
    this.child.once("close", () => running.delete(this.child))
    onCleanUp(() => this.kill9())
  }

  get pid(): number {
    return this.child.pid ?? -1
  }

  get running(): boolean {
    return this.end === undefined
  }

  /** Everything written to stdout so far. */
  get stdout(): string {
    return this.stdoutBytes.toString()
  }

  get stdoutBytes(): Buffer {
    this.out = [Buffer.concat(this.out)]
    return this.out[0] ?? Buffer.alloc(0)
  }

  /** Everything written to stderr so far. */
  get stderr(): string {
    this.err = [Buffer.concat(this.err)]
    return this.err[0]?.toString() ?? ""
  }

  /** Resolves with the first whole line of stdout (or stderr) that has the text or matches the expression; fails when the process ends without it. */
  async waitForLine(wanted: string | RegExp, more: { stream?: "stdout" | "stderr"; timeoutMs?: number } = {}): Promise<string> {
    const matches = (line: string): boolean => (typeof wanted === "string" ? line.includes(wanted) : wanted.test(line))
    const what = `${String(wanted)} from: ${this.command}`
    const find = (): string | undefined => {
      const ended = !this.running
      const lines = this[more.stream ?? "stdout"].split("\n")
      const line = (ended ? lines : lines.slice(0, -1)).find(matches)
      if (line === undefined && ended) throw new Error(`ended without ${what}\n${this.report()}`)
      return line
    }
    try {
      return await waitFor(find, { timeoutMs: more.timeoutMs ?? 15_000, what })
    } catch (error) {
      throw new Error(`no line ${what}\n${this.report()}`, { cause: error })
    }
  }

  /** Sends a signal and resolves when the process has ended. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<ProcessEnd> {
    this.child.kill(signal)
    return this.waitForEnd()
  }

  async kill9(): Promise<void> {
    this.child.kill("SIGKILL")
    await this.ended.catch(() => undefined)
  }

  /** Resolves when the process has ended; throws (and kills it) when it takes longer. */
  async waitForEnd(timeoutMs = 30_000): Promise<ProcessEnd> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(resolve, timeoutMs, "late")
    })
    const end = await Promise.race([this.ended, late])
    clearTimeout(timer)
    if (end !== "late") return end
    await this.kill9()
    throw new Error(`still running after ${timeoutMs} ms: ${this.command}\n${this.report()}`)
  }

  private report(): string {
    return `end: ${JSON.stringify(this.end)}\nstdout: ${this.stdout.slice(-2000)}\nstderr: ${this.stderr.slice(-2000)}`
  }
}

function inheritedEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(MQTT_|VITEST|NO_COLOR$|FORCE_COLOR$)/.test(name)))
}
