import { randomBytes } from "node:crypto"
import { linkSync, rmSync } from "node:fs"
import { connect, createServer, type Server } from "node:net"
import { systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import { storeError } from "../stores/errors.js"
import { makeFolder } from "../stores/folder.js"
import { HAS_PIPES, newestSocket, socketPath, socketsOf } from "./socket-path.js"

/**
 * Takes a store's folder, which is made when it is missing: the socket that is returned is its lock, and ends with the
 * process. Who has the newest one owns the folder. A socket that nobody answers on was left by a broker, which may have
 * been killed; it is not replaced, the next one gets the generation above. So nobody removes a socket that lives, however
 * many brokers start at once:
 *
 * - a socket gets its generation when it listens already, and only if no other has that generation: one that nobody answers
 *   on is dead for good;
 * - the newest is never removed: a broker that was slow and took a generation that had been there sees a newer one, and
 *   gives up its own.
 *
 * Throws a BrokerError when another broker has the folder, or when it cannot be written.
 */
export async function claimFolder(folder: string): Promise<Server> {
  try {
    makeFolder(folder)
    for (;;) {
      const newest = newestSocket(folder)
      // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
      if (newest && (await answers(newest.path))) throw inUse(folder)
      // oxlint-disable-next-line no-await-in-loop
      const server = await take(folder, (newest?.generation ?? 0) + 1)
      if (server) return server
    }
  } catch (error) {
    if (error instanceof BrokerError) throw error
    throw systemCode(error) === "EADDRINUSE" ? inUse(folder) : storeError(folder, error)
  }
}

/** Listens with a generation. Null: another broker was faster. */
async function take(folder: string, generation: number): Promise<Server | null> {
  const hidden = socketPath(folder, `x${randomBytes(3).toString("hex")}`)
  const server = await listen(hidden)
  if (HAS_PIPES) return server
  const own = socketPath(folder, generation)
  const linked = link(hidden, own)
  rmSync(hidden, { force: true })
  const all = socketsOf(folder)
  if (linked && !all.some(({ name }) => Number(name) > generation)) {
    for (const { path } of all) if (path !== own) rmSync(path, { force: true })
    return server
  }
  if (linked) rmSync(own, { force: true })
  server.close()
  return null
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    // somebody has it, or removed ours when it took the folder
    if (systemCode(error) === "EEXIST" || systemCode(error) === "ENOENT") return false
    throw error
  }
}

/** Readable by its owner only. */
function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    const before = process.umask(0o177)
    server.listen(path, () => {
      server.off("error", reject)
      resolve(server)
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
    // one that is too busy to answer lives
    socket.once("error", (error) => resolve(systemCode(error) !== "ECONNREFUSED" && systemCode(error) !== "ENOENT"))
  })
}

function inUse(folder: string): BrokerError {
  return new BrokerError("store-in-use", `another broker uses the folder ${JSON.stringify(folder)}`, {
    hint: "stop it, or give this one its own place with --store file:DIR",
  })
}
