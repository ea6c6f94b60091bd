import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { connect } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import type { Address } from "./address.js"

const READY_LIMIT_MS = 30_000
const STOP_LIMIT_MS = 30_000
const POLL_MS = 5

/** A program and its arguments. */
export type Command = readonly [string, ...string[]]

/** A command that runs something in the foreground, in a process group of its own, and is started again and again. */
export class ForegroundCommand {
  private child: ChildProcess | undefined
  private errors = ""

  constructor(
    private readonly command: Command,
    private readonly env: Readonly<Record<string, string>> = {},
  ) {}

  /** What it wrote to stderr last. */
  get stderr(): string {
    return this.errors
  }

  /** True when it ended without being told to. */
  get hasEnded(): boolean {
    return this.child !== undefined && (this.child.exitCode !== null || this.child.signalCode !== null)
  }

  /** Of one that ended without being told to, and by no signal. */
  get exitCode(): number | undefined {
    return this.child?.exitCode ?? undefined
  }

  launch(): void {
    const [program, ...args] = this.command
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], detached: true, env: { ...process.env, ...this.env } })
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.errors = (this.errors + text).slice(-4000)))
    child.on("error", (error) => (this.errors += error.message))
    this.child = child
  }

  /** To the whole process group. */
  signal(signal: NodeJS.Signals): void {
    if (this.child?.pid && !this.hasEnded) process.kill(-this.child.pid, signal)
  }

  /** Sends the signal and resolves when the command has ended, one that was stopped too; SIGKILL follows after 30 s. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this
    if (!child?.pid || this.hasEnded) return
    const ended = once(child, "exit")
    this.signal(signal)
    this.signal("SIGCONT")
    const timer = setTimeout(() => this.signal("SIGKILL"), STOP_LIMIT_MS)
    await ended
    clearTimeout(timer)
    this.child = undefined
  }

  /** Resolves when it has ended by itself, with true, or after so many milliseconds. */
  async ended(limitMs: number): Promise<boolean> {
    const end = performance.now() + limitMs
    while (!this.hasEnded && performance.now() < end) await delay(POLL_MS)
    return this.hasEnded
  }
}

/** Resolves with the first of some addresses that accepts connections; rejects after 30 s, or with what `failed` says. */
export async function firstToAccept<T extends { readonly address: Address }>(
  some: readonly T[],
  failed: () => string | undefined,
): Promise<T> {
  const end = performance.now() + READY_LIMIT_MS
  for (;;) {
    for (const one of some) if (await accepts(one.address)) return one
    const why = failed() ?? (performance.now() > end ? "nobody does after 30 s" : undefined)
    if (why !== undefined) throw new Error(`no connections are accepted: ${why}`)
    await delay(POLL_MS)
  }
}

/** Whether somebody accepts connections there now. */
export function accepts({ host, port }: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const answer = (open: boolean): void => {
      socket.destroy()
      resolve(open)
    }
    socket.once("connect", () => answer(true)).once("error", () => answer(false))
  })
}
