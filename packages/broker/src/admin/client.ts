import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { createInterface } from "node:readline"
import { BrokerError } from "../errors.js"
import type { AdminReply, AdminRequest } from "./protocol.js"
import { newestSocket, withAddress } from "../stores/lock-socket.js"

/**
 * Asks the broker that is reached in a folder. Throws a BrokerError when none runs, or when it answers with an error.
 * @param store the URL of its store, where that is not the folder
 */
export async function* ask(folder: string, request: AdminRequest, store?: string): AsyncGenerator<AdminReply> {
  const socket = await reach(folder, store)
  socket.on("error", () => {})
  socket.write(`${JSON.stringify(request)}\n`)
  try {
    for await (const line of createInterface({ input: socket })) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the broker of the same version wrote it
      const reply = JSON.parse(line) as AdminReply
      if (reply.type === "end") return
      if (reply.type === "error") throw new BrokerError(reply.code === "bad-request" ? "no-broker" : reply.code, reply.message)
      yield reply
    }
    throw new BrokerError("no-broker", "the broker ended before it had answered")
  } finally {
    socket.destroy()
  }
}

async function reach(folder: string, store: string | undefined): Promise<Socket> {
  try {
    const newest = newestSocket(folder)
    if (!newest) throw new Error("there is no socket")
    const socket = withAddress(newest.path, (address) => connect(address))
    await once(socket, "connect")
    return socket
  } catch (error) {
    throw new BrokerError("no-broker", `no broker runs on the store ${store ?? `in ${JSON.stringify(folder)}`}`, {
      hint: `start it with: mqtt-broker start --store ${store ?? `file:${folder}`}`,
      cause: error,
    })
  }
}
