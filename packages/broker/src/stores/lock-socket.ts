import { createHash } from "node:crypto"
import { lstatSync, readdirSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { systemCode } from "@mqtt-trio/common"

/** Longest path that every platform takes for a socket, in bytes. */
const LONGEST_ADDRESS = 100

/** Local tools reach a broker by a pipe there, which goes with its process. */
export const HAS_PIPES = process.platform === "win32"

/** A socket of a broker that used a store's folder. Each broker takes a generation above all that it finds. */
export interface LockSocket {
  path: string
  /** undefined: it has none yet */
  generation: number | undefined
}

/** The newest socket of a store's folder: of the broker that uses it, or of the last one that did. Null: there was none. */
export function newestSocket(folder: string): { path: string; generation: number } | undefined {
  if (HAS_PIPES) return { path: socketPath(folder, ""), generation: 0 }
  let newest: { path: string; generation: number } | undefined = undefined
  for (const { path, generation } of socketsOf(folder))
    if (generation !== undefined && generation > (newest?.generation ?? 0)) newest = { path, generation }
  return newest
}

/** All of a folder, without those that a stranger put there. */
export function socketsOf(folder: string): LockSocket[] {
  return entriesOf(folder).flatMap((file) => {
    const name = /^admin\.(.+)\.sock$/.exec(file)?.[1]
    if (name === undefined || !isTrusted(folder, join(folder, file))) return []
    return [{ path: join(folder, file), generation: /^[1-9]\d{0,14}$/.test(name) ? Number(name) : undefined }]
  })
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (systemCode(error) === "ENOENT") return []
    throw error
  }
}

/**
 * True when what lies in a folder was put there by this user, the folder's owner or root: in a folder that others
 * could write once, what is theirs says nothing. False when it is not there.
 */
export function isTrusted(folder: string, path: string): boolean {
  const owner = lstatSync(path, { throwIfNoEntry: false })?.uid
  return owner !== undefined && (owner === process.geteuid?.() || owner === 0 || owner === statSync(folder).uid)
}

/** Where a socket of a folder is: in it, whatever the path to it. `name` is its generation, or what is no number. */
export function socketPath(folder: string, name: number | string): string {
  if (!HAS_PIPES) return join(folder, `admin.${name}.sock`)
  return `\\\\.\\pipe\\mqtt-broker-${createHash("sha256").update(realpathSync.native(folder)).digest("hex").slice(0, 16)}`
}

/**
 * Calls `use` with an address for a socket's path. Sockets have short addresses, folders may have long paths: then `use`
 * is called in the folder, and must be done with the address when it returns (as listen() and connect() are).
 */
export function withAddress<T>(path: string, use: (address: string) => T): T {
  if (HAS_PIPES || Buffer.byteLength(path) <= LONGEST_ADDRESS) return use(path)
  const before = process.cwd()
  process.chdir(dirname(path))
  try {
    return use(basename(path))
  } finally {
    returnTo(before)
  }
}

function returnTo(folder: string): void {
  try {
    process.chdir(folder)
  } catch {
    // it was removed, or is another user's: every path from here on is absolute
  }
}
