import { createHash } from "node:crypto"
import { existsSync, readdirSync } from "node:fs"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"

/** Longest path that every platform takes for a socket, in bytes. */
const LONGEST = 100
const LONGEST_NAME = "x".repeat(8)

/** Local tools reach a broker by a pipe there, which goes with its process. */
export const HAS_PIPES = process.platform === "win32"

/** A socket of a broker that used a store's folder. Each broker takes a generation above all that it finds. */
export interface AdminSocket {
  path: string
  generation: number
}

/** The newest socket of a store's folder: of the broker that uses it, or of the last one that did. Null: there was none. */
export function newestSocket(folder: string): AdminSocket | null {
  if (HAS_PIPES) return { path: socketPath(folder, ""), generation: 0 }
  let newest: AdminSocket | null = null
  for (const { name, path } of socketsOf(folder)) {
    const generation = Number(name)
    if (generation > (newest?.generation ?? 0)) newest = { path, generation }
  }
  return newest
}

/** All of a folder, those included that have no generation yet. */
export function socketsOf(folder: string): { name: string; path: string }[] {
  const { dir, prefix } = placeOf(folder)
  return (existsSync(dir) ? readdirSync(dir) : [])
    .filter((file) => file.startsWith(prefix) && file.endsWith(".sock"))
    .map((file) => ({ name: file.slice(prefix.length, -".sock".length), path: join(dir, file) }))
}

/** Where a socket of a folder is; `name` is its generation, or at most 8 characters that are no number. */
export function socketPath(folder: string, name: number | string): string {
  if (HAS_PIPES) return `\\\\.\\pipe\\mqtt-broker-${hash(folder)}`
  const { dir, prefix } = placeOf(folder)
  return join(dir, `${prefix}${name}.sock`)
}

/** In the folder, or where its path is too long for a socket, in the one for temporary files. */
function placeOf(folder: string): { dir: string; prefix: string } {
  if (Buffer.byteLength(join(folder, `admin.${LONGEST_NAME}.sock`)) <= LONGEST) return { dir: folder, prefix: "admin." }
  return { dir: tmpdir(), prefix: `mqtt-broker-${userInfo().uid}-${hash(folder)}.` }
}

function hash(folder: string): string {
  return createHash("sha256").update(folder).digest("hex").slice(0, 16)
}
