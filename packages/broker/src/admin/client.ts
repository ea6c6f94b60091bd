import { connect } from "node:net"
import { createInterface } from "node:readline"
import { BrokerError } from "../errors.js"
import type { AdminReply, AdminRequest } from "./protocol.js"
import { adminSocketPath } from "./socket-path.js"

/** Asks the broker that uses a store's folder. Throws a BrokerError when none runs, or when it answers with an error. */
export async function* ask(folder: string, request: AdminRequest): AsyncGenerator<AdminReply> {
  const socket = connect(adminSocketPath(folder))
  const failure = new Promise<Error | null>((resolve) => {
    socket.once("error", resolve)
    socket.once("connect", () => resolve(null))
  })
  const cause = await failure
  if (cause)
    throw new BrokerError("no-broker", `no broker runs on the store in ${JSON.stringify(folder)}`, {
      hint: `start it with: mqtt-broker start --store file:${folder}`,
      cause,
    })
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
