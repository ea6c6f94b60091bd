import { statSync, unlinkSync } from "node:fs"
import { connect, createServer, type Server, type Socket } from "node:net"
import { systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import { storeError } from "../stores/errors.js"
import type { StoreFolder } from "../stores/store.js"
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

  private constructor(private readonly server: Server) {
    server.on("connection", (socket) => this.serve(socket))
  }

  /**
   * Takes the folder. Throws a BrokerError when another broker has it. One broker at a time makes the socket or removes
   * it, and who found one that nobody answers on removes that one and no newer one.
   */
  static async claim(folder: StoreFolder): Promise<AdminServer> {
    const path = adminSocketPath(folder.path)
    try {
      for (let dead: string | null = null; ;) {
        const server = createServer()
        const opened = listening(server)
        dead = folder.exclusively(() => bind(server, path, dead))
        // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
        if (dead === null) return await opened.then(() => new AdminServer(server))
        // oxlint-disable-next-line no-await-in-loop
        if (await answers(path)) throw inUse(folder.path)
      }
    } catch (error) {
      if (error instanceof BrokerError) throw error
      throw systemCode(error) === "EADDRINUSE" ? inUse(folder.path) : storeError(folder.path, error)
    }
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

function inUse(folder: string): BrokerError {
  return new BrokerError("store-in-use", `another broker uses the folder ${JSON.stringify(folder)}`, {
    hint: "stop it, or give this one its own place with --store file:DIR",
  })
}

/** Resolves when the server listens. */
function listening(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    server.once("listening", () => {
      server.off("error", reject)
      resolve()
    })
  })
}

/** Listens at once, in place of a socket that is known to be dead. When there is another one: tells which, and does nothing. */
function bind(server: Server, path: string, dead: string | null): string | null {
  const there = identityOf(path)
  if (there !== null && there !== dead) return there
  if (there !== null) unlinkSync(path)
  const before = process.umask(0o177)
  server.listen(path)
  process.umask(before)
  return null
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

/** Tells one socket from a later one at the same place. Null: there is none; a pipe of Windows goes with its process. */
function identityOf(path: string): string | null {
  if (process.platform === "win32") return null
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found ? `${found.ino} ${found.ctimeNs}` : null
}
