import { lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import type { Server, Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { answers, lockFolder } from "../stores/folder-lock.js"
import { newestSocket } from "../stores/lock-socket.js"

const LONGEST_REQUEST = 65_536

/** Answers one request, a line of JSON; yields the lines of the answer. */
export type AdminHandler = (request: string) => AsyncGenerator<string> | Generator<string>

const TEMPORARY = "mqtt-broker-"

/** A new folder; those of brokers that were killed go. */
async function temporaryFolder(): Promise<string> {
  const all = tmpdir()
  for (const name of readdirSync(all)) {
    const folder = join(all, name)
    // one without a socket is a broker's that starts
    const newest = name.startsWith(TEMPORARY) && isOwn(folder) ? newestSocket(folder) : undefined
    // oxlint-disable-next-line no-await-in-loop -- a few, each answers or is dead
    if (newest && !(await answers(newest.path))) rmSync(folder, { recursive: true, force: true })
  }
  return mkdtempSync(join(all, TEMPORARY))
}

function isOwn(folder: string): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false })
  return found?.isDirectory() === true && found.uid === process.geteuid?.()
}

/** Answers local tools on a socket in a folder: the store's, of which it is the lock, or one of its own for a store that has none. */
export class AdminServer {
  private readonly sockets = new Set<Socket>()
  private handler: AdminHandler | undefined = undefined

  /** @param server listens already */
  private constructor(
    private readonly server: Server,
    readonly folder: string,
    private readonly isTemporary: boolean,
  ) {
    server.on("connection", (socket) => this.serve(socket))
  }

  /** Takes the store's folder, or makes one. Throws a BrokerError when another broker has it. */
  static async open(folder?: string): Promise<AdminServer> {
    const place = folder ?? (await temporaryFolder())
    return new AdminServer(await lockFolder(place), place, folder === undefined)
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
    if (this.isTemporary) rmSync(this.folder, { recursive: true, force: true })
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
