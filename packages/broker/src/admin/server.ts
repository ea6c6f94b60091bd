import type { Server, Socket } from "node:net"

const LONGEST_REQUEST = 65_536

/** Answers one request, a line of JSON; yields the lines of the answer. */
export type AdminHandler = (request: string) => AsyncGenerator<string> | Generator<string>

/** Answers local tools on the socket that is the lock of the store's folder. */
export class AdminServer {
  private readonly sockets = new Set<Socket>()
  private handler: AdminHandler | undefined = undefined

  /** @param server listens already */
  constructor(private readonly server: Server) {
    server.on("connection", (socket) => this.serve(socket))
  }

  /** From now on requests are answered; before, they wait. */
  start(handler: AdminHandler): void {
    this.handler = handler
    for (const socket of this.sockets) socket.resume()
  }

  private serve(socket: Socket): void {
    this.sockets.add(socket)
    let text = ""
    socket.setEncoding("utf8")
    socket.on("error", () => {})
    socket.on("close", () => this.sockets.delete(socket))
    socket.on("data", (chunk: string) => {
      text += chunk
      if (text.length > LONGEST_REQUEST) socket.destroy()
      const line = text.indexOf("\n")
      if (line < 0) return
      socket.pause()
      void this.answer(socket, text.slice(0, line))
    })
    if (!this.handler) socket.pause()
  }

  /** It never rejects: what goes wrong ends this one tool's connection. */
  private async answer(socket: Socket, request: string): Promise<void> {
    try {
      for await (const line of this.handler?.(request) ?? []) {
        if (socket.destroyed) return
        if (!socket.write(`${line}\n`)) await drained(socket)
      }
      socket.end()
    } catch (error) {
      socket.destroy(error instanceof Error ? error : undefined)
    }
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => {
      this.server.close(resolve)
    })
  }
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      socket.off("drain", go)
      socket.off("close", go)
      resolve()
    }
    socket.on("drain", go)
    socket.on("close", go)
  })
}
