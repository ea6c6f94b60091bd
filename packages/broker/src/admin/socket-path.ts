import { createHash } from "node:crypto"
import { userInfo, tmpdir } from "node:os"
import { join } from "node:path"

/** Longest path that every platform takes for a socket, in bytes. */
const LONGEST = 100

/** Where the broker that uses a store's folder listens for local tools: a socket in it, or what stands for it. */
export function adminSocketPath(folder: string): string {
  const name = createHash("sha256").update(folder).digest("hex").slice(0, 16)
  if (process.platform === "win32") return `\\\\.\\pipe\\mqtt-broker-${name}`
  const path = join(folder, "admin.sock")
  return Buffer.byteLength(path) <= LONGEST ? path : join(tmpdir(), `mqtt-broker-${userInfo().uid}-${name}.sock`)
}
