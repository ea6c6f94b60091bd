import { existsSync, lstatSync, rmSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { dirname } from "node:path"
import { messageOf, systemCode, type Target } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"
import type { Listener } from "../listener.js"

type UnixTarget = Extract<Target, { kind: "unix" }>

/** Most bytes of a socket's path: longer ones would be cut off without a word. */
const PATH_BYTES = process.platform === "linux" ? 107 : 103

/**
 * Resolves when connections to the socket are accepted; one that a dead process left there is replaced. Throws a
 * BrokerError when it cannot be had.
 */
export async function listenUnix(target: UnixTarget, accept: (socket: Socket) => void): Promise<Listener> {
  const { path } = target
  if (Buffer.byteLength(path) > PATH_BYTES) throw cannotListen(path, `its path has more than ${PATH_BYTES} bytes`)
  try {
    return await listen(target, accept)
  } catch (error) {
    if (systemCode(error) !== "EADDRINUSE") throw cannotListen(path, messageOf(error), error)
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) throw cannotListen(path, "there is a file of another kind", error)
    if (await isServed(path)) throw cannotListen(path, "another process listens there", error)
  }
  try {
    rmSync(path, { force: true })
    return await listen(target, accept)
  } catch (error) {
    throw cannotListen(path, messageOf(error), error)
  }
}

function listen(target: UnixTarget, accept: (socket: Socket) => void): Promise<Listener> {
  const server = createServer(accept)
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen({ path: target.path, backlog: 511 }, () => resolve({ target, close: () => void server.close() }))
  })
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once("error", (error) => resolve(systemCode(error) !== "ECONNREFUSED"))
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
  })
}

function cannotListen(path: string, why: string, cause?: unknown): BrokerError {
  // Node.js says that a folder which is missing may not be written
  const reason = existsSync(dirname(path)) ? why : `there is no folder ${JSON.stringify(dirname(path))}`
  return new BrokerError("cannot-listen", `cannot listen on the socket ${JSON.stringify(path)}: ${reason}`, {
    hint: "give --listen mqtt+unix: another path",
    cause,
  })
}
