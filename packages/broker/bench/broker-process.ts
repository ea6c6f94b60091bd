import { spawn, type ChildProcess } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { once } from "node:events"
import { type Certificates, freePort, makeCertificates } from "@mqtt-trio/testing"
import type { Contender } from "./contender.js"
import type { Door } from "./door.js"
import { until } from "./wait.js"

/** Which field of a block device's `stat` it is (Linux 5.5). */
const FLUSHES = 15
const READY_LIMIT_MS = 30_000
const STOP_LIMIT_MS = 10_000

/** A broker under test: a process of its own with a temporary folder of its own. */
export class BrokerProcess {
  port = 0
  /** Plain TCP and, where they were asked for and the broker has them, TLS and WebSocket. */
  doors: Door[] = []
  /** From the spawn to ready, in milliseconds. */
  readyMs = 0
  readonly folder = mkdtempSync(join(tmpdir(), "mqtt-bench-"))
  private child: ChildProcess | undefined
  private errors = ""

  /** The broker's own may hold nothing else. */
  private readonly certificateFolder = mkdtempSync(join(tmpdir(), "mqtt-bench-tls-"))
  private readonly contender: Contender
  private readonly certificates: Certificates | undefined

  /** @param withDoors listens with TLS, and for WebSocket if it can, beside plain TCP */
  constructor(contender: Contender, withDoors = false) {
    this.contender = contender
    this.certificates = withDoors ? makeCertificates(this.certificateFolder) : undefined
  }

  /** Starts the broker, or starts it again on the same folder, and waits until it is ready. */
  async start(): Promise<void> {
    const port = await freePort()
    const { certificates, folder } = this
    const tls = certificates && { certificates, port: await freePort() }
    const { program, args } = this.contender.command({ folder, port, tls })
    const startedAt = performance.now()
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] })
    this.child = child
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.errors = (this.errors + text).slice(-4000)))
    const errors = (): string => this.errors
    const plain = `mqtt://127.0.0.1:${port}`
    const urls = this.contender.announces ? await announcedUrls(child, errors) : [plain, ...(tls ? [`mqtts://127.0.0.1:${tls.port}`] : [])]
    if (!this.contender.announces) await openPort(child, port, errors)
    this.doors = urls.map((url) => this.doorOf(url))
    this.port = this.doors[0]?.port ?? 0
    this.readyMs = performance.now() - startedAt
  }

  private doorOf(url: string): Door {
    const { protocol, port } = new URL(url)
    const kind = protocol === "mqtts:" ? "TLS" : protocol === "ws:" ? "WebSocket" : "TCP"
    return { kind, port: Number(port), ca: this.certificates && readFileSync(this.certificates.ca) }
  }

  /** Process id of the running broker. */
  get pid(): number {
    return this.child?.pid ?? 0
  }

  /** What the broker wrote to stderr last. */
  get stderr(): string {
    return this.errors
  }

  /** Bytes that the process has written so far, to files and sockets (wchar of Linux; write_bytes counts whole folios). */
  get written(): number {
    return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${this.pid}/io`, "utf8"))?.[1])
  }

  /** How often the disk under the folder was told to keep what it has, so far, by whomever; undefined: nobody counts it. */
  get flushes(): number | undefined {
    const { dev } = statSync(this.folder)
    try {
      const fields = readFileSync(`/sys/dev/block/${(dev >> 8) & 0xfff}:${dev & 0xff}/stat`, "utf8")
        .trim()
        .split(/ +/)
      return Number(fields[FLUSHES] ?? Number.NaN)
    } catch {
      return undefined // not on a disk
    }
  }

  /** Memory of the process that is backed by no file, in bytes (RssAnon of Linux). */
  memory(): number {
    const line = /RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))
    return Number(line?.[1] ?? Number.NaN) * 1024
  }

  /** Sends the signal, waits for the end (at most 10 s, then SIGKILL) and keeps the folder. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, "exit")
    child.kill(signal)
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS)
    await ended
    clearTimeout(timer)
  }

  /** Stops the broker and removes its folder. */
  async remove(): Promise<void> {
    await this.stop("SIGKILL")
    for (const folder of [this.folder, this.certificateFolder]) rmSync(folder, { recursive: true, force: true })
  }
}

async function announcedUrls(child: ChildProcess, errors: () => string): Promise<string[]> {
  if (!child.stdout) throw new Error("the broker has no stdout")
  const lines = createInterface({ input: child.stdout })
  const timer = setTimeout(() => lines.close(), READY_LIMIT_MS)
  try {
    for await (const line of lines) {
      const urls = readyUrls(line)
      if (urls) return urls
    }
  } finally {
    clearTimeout(timer)
    lines.close()
    child.stdout.resume()
  }
  throw new Error(`the broker did not announce its port: ${errors()}`)
}

function readyUrls(line: string): string[] | undefined {
  if (!line.startsWith("{")) return undefined
  const { event, port, listeners }: { event?: string; port?: number; listeners?: { url: string }[] } = JSON.parse(line)
  if (event !== "ready" || port === undefined) return undefined
  return (listeners ?? [{ url: `mqtt://127.0.0.1:${port}` }]).map(({ url }) => url)
}

async function openPort(child: ChildProcess, port: number, errors: () => string): Promise<void> {
  child.stdout?.resume()
  const open = await until(() => child.exitCode !== null || accepts(port), READY_LIMIT_MS)
  if (!open || child.exitCode !== null) throw new Error(`the broker did not open port ${port}: ${errors()}`)
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" })
    const answer = (open: boolean): void => {
      socket.destroy()
      resolve(open)
    }
    socket.once("connect", () => answer(true)).once("error", () => answer(false))
  })
}
