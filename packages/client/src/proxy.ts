import { Duplex } from "node:stream"
import { SocksClient } from "socks"
import { CliError, messageOf, quoted, usageError } from "@mqtt-trio/common/basics"

/** Opens a TCP connection to `target` through a SOCKS 5 proxy, `socks5h://[user[:password]@]host[:port]`; the proxy resolves the name. */
export function openThroughProxy(proxy: string, target: { readonly host: string; readonly port: number }): Duplex {
  const url = URL.canParse(proxy) ? new URL(proxy) : undefined
  if (url === undefined || !/^socks5h?:$/.test(url.protocol)) throw usageError(`--proxy ${quoted(proxy)} is not socks5h://host:port`)
  const credentials = url.username === "" ? {} : { userId: decodeURIComponent(url.username), password: decodeURIComponent(url.password) }
  const connecting = SocksClient.createConnection({
    command: "connect",
    proxy: { host: url.hostname, port: Number(url.port || 1080), type: 5, ...credentials },
    destination: { host: target.host, port: target.port },
  })
  return new LateSocket(
    connecting.then(
      ({ socket }) => socket.setNoDelay(true),
      (error: unknown) => {
        throw new CliError("cannot-connect", `the proxy ${url.host} gave no connection: ${messageOf(error)}`, { cause: error })
      },
    ),
  )
}

/** A stream that can be written to before the socket behind it exists. */
class LateSocket extends Duplex {
  private socket: Duplex | undefined
  private readonly early: (() => void)[] = []

  constructor(opening: Promise<Duplex>) {
    super()
    opening.then(
      (socket) => this.attach(socket),
      (error: unknown) => this.destroy(error instanceof Error ? error : new Error(String(error))),
    )
  }

  private attach(socket: Duplex): void {
    this.socket = socket
    if (this.destroyed) socket.destroy()
    for (const write of this.early.splice(0)) write()
    socket.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.on("end", () => this.push(null))
    socket.on("error", (error) => this.destroy(error))
    socket.on("close", () => this.destroy())
  }

  override _read(): void {
    this.socket?.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.socket !== undefined) this.socket.write(chunk, done)
    else this.early.push(() => this.socket?.write(chunk, done))
  }

  override _final(done: (error?: Error | null) => void): void {
    this.socket?.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.socket?.destroy()
    done(error)
  }
}
