import { chmodSync, statSync, unlinkSync } from "node:fs"
import { connect, createServer, type Server, type Socket } from "node:net"
import { systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import { adminSocketPath } from "./socket-path.js"

const LONGEST_REQUEST = 65_536

/** Answers one request, a line of JSON; yields the lines of the answer. */
export type AdminHandler = (request: string) => AsyncGenerator<string> | Generator<string>

/**
 * The local socket in a store's folder, readable by its owner only. It is also the lock of the folder: who has it owns
 * the store, and a socket that a killed broker left behind answers nobody and is replaced.
 */
export class AdminServer {
  private readonly sockets = new Set<Socket>()
  private handler: AdminHandler | null = null

  private constructor(
    private readonly server: Server,
    private readonly path: string,
    private readonly inode: number,
  ) {
    server.on("connection", (socket) => this.serve(socket))
  }

  /** Takes the folder. Throws a BrokerError when another broker has it. */
  static async claim(folder: string): Promise<AdminServer> {
    const path = adminSocketPath(folder)
    for (let attempt = 0; ; attempt++) {
      const server = createServer()
      // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
      const failure = await listen(server, path)
      if (!failure) {
        if (process.platform !== "win32") chmodSync(path, 0o600)
        return new AdminServer(server, path, inodeOf(path))
      }
      if (systemCode(failure) !== "EADDRINUSE")
        throw new BrokerError("store-unusable", `the folder ${JSON.stringify(folder)} cannot be used: ${failure.message}`, {
          hint: "give another place with --store file:DIR",
          cause: failure,
        })
      // oxlint-disable-next-line no-await-in-loop
      if (attempt > 2 || (await answers(path)))
        throw new BrokerError("store-in-use", `another broker uses the folder ${JSON.stringify(folder)}`, {
          hint: "stop it, or give this one its own place with --store file:DIR",
        })
      unlinkSync(path)
    }
  }

  /** Whether the socket's path is still this broker's: false when two brokers found the same dead socket at once. */
  get owned(): boolean {
    return inodeOf(this.path) === this.inode
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

function listen(server: Server, path: string): Promise<Error | null> {
  return new Promise((resolve) => {
    server.once("error", resolve)
    const before = process.umask(0o177)
    server.listen(path, () => {
      server.off("error", resolve)
      resolve(null)
    })
    process.umask(before)
  })
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })
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

function inodeOf(path: string): number {
  return process.platform === "win32" ? 0 : (statSync(path, { throwIfNoEntry: false })?.ino ?? -1)
}
