import { readFileSync } from "node:fs"
import { join } from "node:path"
import { cliPath, onCleanUp, RunningProcess, temporaryFolder } from "@mqtt-trio/testing"

/** A system call as strace saw it: the lines at which it began and ended, what it was done to, and the bytes that it carried. */
export interface SystemCall {
  name: string
  began: number
  ended: number
  /** path of the file descriptor, `socket:[…]` for a socket; for openat the path that was opened */
  target: string
  fd: number
  bytes: Buffer
  /** the whole text of its arguments, decoded */
  text: string
  result: number
}

const TRACED = "openat,write,writev,pwrite64,pwritev,sendmsg,sendto,fdatasync,fsync"

/** A broker under strace. */
export class TracedBroker {
  private constructor(
    readonly port: number,
    private readonly pid: number,
    private readonly strace: RunningProcess,
    private readonly log: string,
  ) {}

  static async start(): Promise<TracedBroker> {
    const folder = temporaryFolder()
    const log = join(folder, "trace")
    const options = ["-f", "-y", "-xx", "-s", "200000", "-e", `trace=${TRACED}`, "-o", log]
    const broker = [process.execPath, cliPath("mqtt-broker"), "start", "--port", "0", "--json", "--store", `file:${join(folder, "store")}`]
    const strace = new RunningProcess("strace", [...options, ...broker])
    const ready = await strace.waitForLine("ready", { timeoutMs: 30_000 })
    const [port, pid] = [/"port":(\d+)/, /"pid":(\d+)/].map((field) => Number(field.exec(ready)?.[1]))
    if (!port || !pid) throw new Error(`the ready line has no port and pid: ${ready}`)
    onCleanUp(() => {
      if (strace.running) process.kill(pid, "SIGKILL")
    })
    return new TracedBroker(port, pid, strace, log)
  }

  /** Stops the broker and returns the lines of the trace. */
  async stop(): Promise<string[]> {
    process.kill(this.pid, "SIGTERM")
    await this.strace.waitForEnd()
    return readFileSync(this.log, "latin1").split("\n")
  }
}

/** The system calls of a trace, in the order in which they began. A call in two lines (unfinished, resumed) is one. */
export function readTrace(lines: readonly string[]): SystemCall[] {
  const calls: SystemCall[] = []
  const unfinished = new Map<string, SystemCall>()
  for (const [index, line] of lines.entries()) {
    const resumed = /^(\d+) +<\.\.\. (\w+) resumed>/.exec(line)
    const begun = /^(\d+) +(\w+)\(/.exec(line)
    const result = Number(/\) += (-?\d+)/.exec(line)?.[1] ?? -1)
    if (resumed) {
      const call = unfinished.get(resumed[1] ?? "")
      if (call) Object.assign(call, { ended: index, result })
    } else if (begun) {
      const call = readCall(begun[2] ?? "", line, index)
      call.result = result
      if (line.endsWith("<unfinished ...>")) unfinished.set(begun[1] ?? "", Object.assign(call, { ended: Infinity }))
      calls.push(call)
    }
  }
  return calls
}

function readCall(name: string, line: string, index: number): SystemCall {
  const strings = [...line.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map((match) => decode(match[1] ?? ""))
  const descriptor = /\((\d+)<([^>]*)>/.exec(line)
  const bytes = Buffer.concat(strings)
  const text = line.replaceAll(/\\x([0-9a-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
  const opened = / = (\d+)</.exec(line)
  const target = name === "openat" ? bytes.toString() : decode(descriptor?.[2] ?? "").toString()
  return { name, began: index, ended: index, target, fd: Number(opened?.[1] ?? descriptor?.[1] ?? -1), bytes, text, result: -1 }
}

function decode(escaped: string): Buffer {
  return Buffer.from(escaped.replaceAll("\\x", ""), "hex")
}
