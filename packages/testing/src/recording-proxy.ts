import { connect, createServer } from "node:net"
import { onCleanUp } from "./clean-up.js"

/** A TCP proxy that keeps what the clients send. */
export interface RecordingProxy {
  readonly port: number
  /** Everything that came from clients so far. */
  readonly sent: Buffer
}

/** Starts a proxy on a free port of 127.0.0.1 in front of another port there. */
export async function startRecordingProxy(target: number): Promise<RecordingProxy> {
  const chunks: Buffer[] = []
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1")
    client.on("data", (chunk: Buffer) => chunks.push(chunk))
    for (const socket of [client, upstream]) socket.on("error", () => undefined)
    client.pipe(upstream)
    upstream.pipe(client)
  })
  onCleanUp(() => void server.close())
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const address = server.address()
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    get sent() {
      return Buffer.concat(chunks)
    },
  }
}
