import { randomInt } from "node:crypto"
import { createServer } from "node:net"

/**
 * A TCP port of 127.0.0.1 that nobody listens on. It is below those that the system gives to outgoing connections and to
 * port 0 (Linux: from 32,768), so that nobody gets it by chance before it is used, or while a broker that uses it is away.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(16_384, 32_768)
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })
}
