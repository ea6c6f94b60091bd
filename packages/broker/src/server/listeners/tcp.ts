import { createServer, type Server, type Socket } from "node:net"
import { describeTarget, messageOf, systemCode, type Target } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"
import type { Listener } from "../listener.js"

type TcpTarget = Extract<Target, { kind: "tcp" }>

/** Connections that wait to be accepted; when all clients come back at once the kernel resets what is beyond (it allows 4096). */
const BACKLOG = 4096

/** Resolves when TCP connections are accepted. Throws a BrokerError when the port or address cannot be had. */
export async function listenTcp(target: TcpTarget, accept: (socket: Socket) => void): Promise<Listener> {
  const { host, port } = target
  const server = createServer({ noDelay: true }, accept)
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(listenError(target, cause)))
    server.listen({ host, port, backlog: BACKLOG }, resolve)
  })
  return { target: { ...target, port: portOf(server) ?? port }, close: () => void server.close() }
}

function portOf(server: Server): number | undefined {
  const address = server.address()
  return typeof address === "object" && address ? address.port : undefined
}

function listenError(target: TcpTarget, cause: unknown): BrokerError {
  const { host, port } = target
  const code = systemCode(cause)
  if (code === "EADDRINUSE")
    return new BrokerError("cannot-listen", `port ${port} is already in use`, { hint: "stop the other broker or use another port", cause })
  if (code === "EACCES")
    return new BrokerError("cannot-listen", `port ${port} needs more rights than this user has`, {
      hint: "use a port above 1023",
      cause,
    })
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return new BrokerError("cannot-listen", `${JSON.stringify(host)} is no address of this machine`, {
      hint: "use 127.0.0.1, or one that this machine has",
      cause,
    })
  return new BrokerError("cannot-listen", `cannot listen on ${describeTarget(target)}: ${messageOf(cause)}`, { cause })
}
