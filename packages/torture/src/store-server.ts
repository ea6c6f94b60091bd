import type { Address } from "./address.js"
import { CliError } from "@mqtt-trio/common"
import { accepts, firstToAccept, ForegroundCommand } from "./foreground-command.js"

/** The server of the brokers' store: a command that runs it in the foreground. */
export class StoreServer {
  private readonly command: ForegroundCommand

  /** The command is one for the shell. */
  constructor(
    private readonly address: Address,
    command: string,
  ) {
    this.command = new ForegroundCommand(["/bin/sh", "-c", `exec ${command}`])
  }

  /** Resolves when it accepts connections; rejects with its stderr when it ends or takes 30 s. */
  async start(): Promise<void> {
    const { host, port } = this.address
    if (await accepts(this.address))
      throw new CliError("cannot-connect", `something else listens at ${host}:${port}, where the store's server is to be started`, {
        hint: "stop it, or give a store with another port",
      })
    this.command.launch()
    const { command } = this
    await firstToAccept([this.place], () => (command.hasEnded ? "it ended" : undefined)).catch((cause: unknown) => {
      throw new CliError("cannot-connect", `the store's server does not accept connections: ${command.stderr.trim() || "no message"}`, {
        hint: "it must listen where the URL of --store says",
        cause,
      })
    })
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    await this.command.end(signal)
  }

  private get place(): { address: Address } {
    return { address: this.address }
  }
}
