import { RunningProcess, waitFor } from "@mqtt-trio/testing"
import { programPath } from "./programs.js"

/** How long something took, in ms. */
export interface Times {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** What came of a publisher and its subscriber. */
export interface LineReport {
  readonly puback: Times
  readonly delivery: Times
  /** acknowledgements and messages that did not come */
  readonly missing: number
  readonly inOrder: boolean
  /** both were connected all the while */
  readonly connected: boolean
}

/** `clean`: to a Clean Session; `stored`: to a persistent Session. */
export interface BystanderReport {
  readonly clean: LineReport
  readonly stored: LineReport
}

/** One that has nothing to do with an attack, in a process of its own: see bystander-process.ts. */
export class Bystander {
  private told = 0

  private constructor(private readonly process: RunningProcess) {}

  /** Resolves when it publishes, and what it publishes can come. */
  static async start(port: number, address: string): Promise<Bystander> {
    const running = new RunningProcess(process.execPath, [programPath("bystander-process"), String(port), address])
    await running.waitForLine("ready")
    return new Bystander(running)
  }

  /** From now on times count. */
  measure(): void {
    this.process.child.stdin.write("measure\n")
  }

  report(): Promise<BystanderReport> {
    return this.ask("report")
  }

  /** It stops publishing, and waits a while for what has not come. */
  finish(): Promise<BystanderReport> {
    return this.ask("finish")
  }

  private async ask(order: string): Promise<BystanderReport> {
    this.process.child.stdin.write(`${order}\n`)
    const n = this.told++
    const line = await waitFor(() => reportsIn(this.process.stdout)[n], { what: "the bystander's report", timeoutMs: 30_000 })
    const report: BystanderReport = JSON.parse(line)
    return report
  }
}

function reportsIn(stdout: string): string[] {
  return stdout.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"))
}
