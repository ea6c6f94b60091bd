import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"

/** Anonymous memory of a process in bytes: what it allocated itself, without mapped files (RssAnon of Linux). */
export function anonymousMemory(pid: number): number {
  const line = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
  if (!line) throw new Error(`no RssAnon of process ${pid}`)
  return Number(line[1]) * 1024
}

/** Bytes that a process has read so far, from sockets and files (rchar of Linux). */
export function bytesRead(pid: number): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1])
}

/** True when a program is installed; throws on CI, where a skipped test must not pass for a green one. */
export function hasProgram(name: string, ...args: string[]): boolean {
  const found = process.platform === "linux" && spawnSync(name, args).error === undefined
  if (!found && (process.env["CI"] ?? "") !== "") throw new Error(`${name} on Linux is needed on CI`)
  if (!found) process.stderr.write(`SKIPPED: ${name} on Linux is needed\n`)
  return found
}
