import { createServer, type Server, type Socket } from "node:net"
import { messageOf, systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"

/** Accepts TCP connections until close(). */
export class Listener {
  private constructor(
    private readonly server: Server,
    readonly host: string,
    readonly port: number,
  ) {}

  /** Resolves when connections are accepted. Throws a BrokerError when the port or address cannot be had. */
  static async open(host: string, port: number, accept: (socket: Socket) => void): Promise<Listener> {
    const server = createServer({ noDelay: true }, accept)
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => reject(listenError(host, port, cause)))
      server.listen({ host, port, backlog: 511 }, resolve)
    })
    const address = server.address()
    return new Listener(server, host, typeof address === "object" && address ? address.port : port)
  }

  get url(): string {
    return `mqtt://${this.host.includes(":") ? `[${this.host}]` : this.host}:${this.port}`
  }

  /** No new connections; those that are open stay. */
  close(): void {
    this.server.close()
  }
}

function listenError(host: string, port: number, cause: unknown): BrokerError {
  const code = systemCode(cause)
  if (code === "EADDRINUSE")
    return new BrokerError("cannot-listen", `port ${port} is already in use`, { hint: "stop the other broker or use --port", cause })
  if (code === "EACCES")
    return new BrokerError("cannot-listen", `port ${port} needs more rights than this user has`, {
      hint: "use a port above 1023 with --port",
      cause,
    })
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return new BrokerError("cannot-listen", `${JSON.stringify(host)} is no address of this machine`, {
      hint: "use --host 127.0.0.1, or one that this machine has",
      cause,
    })
  return new BrokerError("cannot-listen", `cannot listen on ${host} port ${port}: ${messageOf(cause)}`, { cause })
}
