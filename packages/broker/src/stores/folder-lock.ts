import { randomBytes } from "node:crypto"
import { linkSync, rmSync } from "node:fs"
import { connect, createServer, type Server } from "node:net"
import { systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import { inUse, storeError } from "./errors.js"
import { HAS_PIPES, isTrusted, newestSocket, socketPath, socketsOf, withAddress } from "./lock-socket.js"

/**
 * Takes a store's folder: the socket that is returned lies in it, is its lock, and ends with the process. Who has the
 * newest one owns the folder. A socket that nobody answers on was left by a broker, which may have been killed; it is not
 * replaced, the next one gets the generation above. So nobody removes a socket that lives, however many brokers start at
 * once, and by whatever path:
 *
 * - a socket gets its generation when it listens already, and only if no other has that generation: one that nobody answers
 *   on is dead for good;
 * - who got one looks at all others after that, and gives up its own when there is a newer one, or an older one that lives.
 *   Of two, the later one to look sees the other.
 *
 * What a stranger put into the folder does not count: neither as a lock, nor as a generation that is taken.
 * Throws a BrokerError when another broker has the folder, or when it cannot be written.
 */
export async function lockFolder(folder: string): Promise<Server> {
  try {
    for (;;) {
      const newest = newestSocket(folder)
      // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
      if (newest && (await answers(newest.path))) throw inUse(folder)
      // oxlint-disable-next-line no-await-in-loop
      const server = await take(folder, newest?.generation ?? 0)
      if (server) return server
    }
  } catch (error) {
    if (error instanceof BrokerError) throw error
    throw systemCode(error) === "EADDRINUSE" ? inUse(folder) : storeError(folder, error)
  }
}

/** Listens with the generation above. Null: another broker was faster. */
async function take(folder: string, generation: number): Promise<Server | undefined> {
  const hidden = socketPath(folder, `x${randomBytes(6).toString("hex")}`)
  const server = await listen(hidden)
  if (HAS_PIPES) return server
  const own = link(folder, hidden, generation + 1)
  rmSync(hidden, { force: true })
  if (own !== undefined && (await clear(folder, own))) return server
  if (own !== undefined) rmSync(socketPath(folder, own), { force: true })
  server.close()
  return undefined
}

/** Gives a socket its generation, or the next one that no stranger keeps taken. Null: another broker was faster. */
function link(folder: string, hidden: string, from: number): number | undefined {
  for (let generation = from; ; generation++) {
    const path = socketPath(folder, generation)
    try {
      linkSync(hidden, path)
      return generation
    } catch (error) {
      const code = systemCode(error)
      if (code === "ENOENT") return undefined // somebody took the folder, and removed ours
      if (code !== "EEXIST") throw error
      if (isTrusted(folder, path)) return undefined
    }
  }
}

/** Removes all other sockets if they are older and dead. False: another broker has the folder, or may get it. */
async function clear(folder: string, own: number): Promise<boolean> {
  const others = socketsOf(folder).filter(({ generation }) => generation !== own)
  if (others.some(({ generation }) => generation !== undefined && generation > own)) return false
  for (const { path, generation } of others)
    // oxlint-disable-next-line no-await-in-loop -- there is one, as a rule
    if (generation !== undefined && (await answers(path))) return false
  for (const { path } of others) rmSync(path, { force: true })
  return true
}

/** Readable by its owner only. */
function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.once("listening", () => {
      server.off("error", reject)
      resolve(server)
    })
    withAddress(path, (address) => {
      const before = process.umask(0o177)
      server.listen(address)
      process.umask(before)
    })
  })
}

export function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = withAddress(path, (address) => connect(address))
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", (error) => {
      const code = systemCode(error)
      if (code === "EACCES") reject(error)
      // one that is too busy to answer lives
      else resolve(code !== "ECONNREFUSED" && code !== "ENOENT")
    })
  })
}
