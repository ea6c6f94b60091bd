import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { connect } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import type { Address } from "./address.js"

const READY_LIMIT_MS = 30_000
const STOP_LIMIT_MS = 30_000
const POLL_MS = 5

/** The signals of a torture; `none` leaves the broker alone. */
export type TortureSignal = "KILL" | "TERM" | "none"

/** The broker under torture: a command that runs it in the foreground, started again and again on the same address. */
export class TorturedBroker {
  readonly address: Address
  private readonly command: readonly [string, ...string[]] | undefined
  private child: ChildProcess | undefined
  private errors = ""

  /** Without a command the broker at `address` must be running already, and no signal can be sent. */
  constructor(address: Address, command: readonly [string, ...string[]] | undefined) {
    this.address = address
    this.command = command
  }

  /** False for a broker that somebody else started. */
  get isOurs(): boolean {
    return this.command !== undefined
  }

  /** What the broker wrote to stderr last. */
  get stderr(): string {
    return this.errors
  }

  /** True for a command that ended without being told to. */
  get hasEnded(): boolean {
    return this.child !== undefined && (this.child.exitCode !== null || this.child.signalCode !== null)
  }

  /** Starts the command and resolves when the address accepts connections; rejects with its stderr when it ends or takes 30 s. */
  async start(): Promise<void> {
    if (this.command) this.launch(this.command)
    const end = performance.now() + READY_LIMIT_MS
    while (!(await accepts(this.address))) {
      if (this.hasEnded || performance.now() > end)
        throw new Error(`the broker does not accept connections: ${this.errors.trim() || "no message"}`)
      await delay(POLL_MS)
    }
  }

  /** Sends the signal to the whole process group and resolves when the command has ended; SIGKILL follows after 30 s. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const { child } = this
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, "exit")
    process.kill(-child.pid, signal)
    const { pid } = child
    const timer = setTimeout(() => process.kill(-pid, "SIGKILL"), STOP_LIMIT_MS)
    await ended
    clearTimeout(timer)
    this.child = undefined
  }

  private launch([program, ...args]: readonly [string, ...string[]]): void {
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], detached: true })
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.errors = (this.errors + text).slice(-4000)))
    child.on("error", (error) => (this.errors += error.message))
    this.child = child
  }
}

function accepts({ host, port }: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const answer = (open: boolean): void => {
      socket.destroy()
      resolve(open)
    }
    socket.once("connect", () => answer(true)).once("error", () => answer(false))
  })
}
