import { connect, createServer, type Socket } from "node:net"
import { onCleanUp } from "./clean-up.js"
import { freePort } from "./free-port.js"

/** A TCP proxy whose connections can be cut, as a network does it: without a word to either side. */
export interface CuttingProxy {
  readonly port: number
  /** Cuts every connection that is open now; new ones are accepted. */
  cut(): void
  /** Cuts all of them and accepts none any more. */
  block(): void
  /** Accepts connections again after `block`. */
  unblock(): Promise<void>
}

/** Starts a proxy on a free port of 127.0.0.1 in front of another port there; what comes back from there comes `laterMs` later. */
export async function startCuttingProxy(target: number, laterMs = 0): Promise<CuttingProxy> {
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1")
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on("error", () => undefined)
      socket.on("close", () => {
        open.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream)
    if (laterMs) upstream.on("data", (bytes) => setTimeout(() => client.write(bytes), laterMs))
    else upstream.pipe(client)
  })
  const cut = (): void => {
    for (const socket of open) socket.destroy()
  }
  const block = (): void => {
    cut()
    server.close()
  }
  onCleanUp(block)
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => {
      server.listen(port, "127.0.0.1", resolve)
    })
  const port = await freePort() // nobody else gets it while it is blocked
  await listen(port)
  return { port, cut, block, unblock: () => listen(port) }
}
