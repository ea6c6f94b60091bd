import { CliError } from "@mqtt-trio/common"
import type { Address } from "./address.js"
import { firstToAccept, ForegroundCommand, type Command } from "./foreground-command.js"

/** A broker under torture: a command that runs it in the foreground, started again and again on the same address. */
export class TorturedBroker {
  readonly address: Address
  private readonly command: ForegroundCommand | undefined
  private stopped = false

  /** Without a command the broker at `address` must be running already, and no signal can be sent. */
  constructor(address: Address, command: Command | undefined, env?: Readonly<Record<string, string>>) {
    this.address = address
    this.command = command && new ForegroundCommand(command, env)
  }

  /** False for a broker that somebody else started. */
  get isOurs(): boolean {
    return this.command !== undefined
  }

  /** What the broker wrote to stderr last. */
  get stderr(): string {
    return this.command?.stderr ?? ""
  }

  /** True for a command that ended without being told to. */
  get hasEnded(): boolean {
    return this.command?.hasEnded ?? false
  }

  /** Of one that ended without being told to. */
  get exitCode(): number | undefined {
    return this.command?.exitCode
  }

  /** Stopped by SIGSTOP: the system goes on to accept connections for it. */
  get isAsleep(): boolean {
    return this.stopped
  }

  /** Starts the command; as long as another broker serves it stands by. */
  launch(): void {
    this.stopped = false
    this.command?.launch()
  }

  /** Starts the command and resolves when the address accepts connections; rejects with its stderr when it ends or takes 30 s. */
  async start(): Promise<void> {
    this.launch()
    await firstToAccept([this], () => (this.hasEnded ? this.lastWords : undefined)).catch((cause: unknown) => {
      throw new CliError("cannot-connect", `the broker does not accept connections: ${this.lastWords}`, { cause })
    })
  }

  /** Sends the signal to the whole process group and resolves when the command has ended; SIGKILL follows after 30 s. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    await this.command?.end(signal)
  }

  sleep(): void {
    this.stopped = true
    this.command?.signal("SIGSTOP")
  }

  /** Resolves when it has ended by itself, with true, or after so many milliseconds. */
  async wake(limitMs: number): Promise<boolean> {
    this.command?.signal("SIGCONT")
    return (await this.command?.ended(limitMs)) ?? false
  }

  private get lastWords(): string {
    return this.stderr.trim() || "no message"
  }
}
