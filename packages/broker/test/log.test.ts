import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs"
import { join } from "node:path"
import { cliPath, onCleanUp, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Log } from "../src/server/log.js"
import { Peer } from "./support/peer.js"

/** A pipe that has taken all that it can, and is read only when the test does so. */
class FullPipe {
  private readonly path = join(temporaryFolder(), "pipe")
  private readonly end: number

  constructor() {
    if (spawnSync("mkfifo", [this.path]).status !== 0) throw new Error("mkfifo failed")
    this.end = this.open()
    onCleanUp(() => closeSync(this.end))
    while (take(() => writeSync(this.end, " ".repeat(4096))));
  }

  /** One more end of it, which its user closes. */
  open(): number {
    return openSync(this.path, constants.O_RDWR | constants.O_NONBLOCK)
  }

  /** What is in it; then it is empty. */
  read(): string {
    const page = Buffer.alloc(65_536)
    let text = ""
    for (let size = 0; (size = take(() => readSync(this.end, page)));) text += page.toString("utf8", 0, size)
    return text.trimStart()
  }
}

/** What a system call returns, 0 when it would have to wait. */
function take(call: () => number): number {
  try {
    return call()
  } catch {
    return 0
  }
}

/** A broker that logs to an open file, and the port that it listens on. */
async function startBroker(log: number): Promise<[ChildProcess, number]> {
  const args = [cliPath("mqtt-broker"), "start", "--port", "0", "--store", "memory:"]
  const broker = spawn(process.execPath, args, { stdio: ["ignore", "pipe", log] })
  closeSync(log)
  onCleanUp(() => void broker.kill("SIGKILL"))
  let ready = ""
  broker.stdout?.on("data", (chunk: Buffer) => (ready += chunk.toString()))
  await waitFor(() => ready.includes("ready"), { what: "the ready line" })
  return [broker, Number(/:(\d+) /.exec(ready)?.[1])]
}

async function stop(broker: ChildProcess): Promise<void> {
  const end = once(broker, "exit")
  broker.kill("SIGTERM")
  expect(await end).toEqual([0, null])
}

test("a log that nobody reads keeps no client waiting; what was logged is there when it is read", async () => {
  const pipe = new FullPipe()
  const [broker, port] = await startBroker(pipe.open())
  for (let n = 0; n < 20; n++) await (await Peer.connected(port, 4)).settled()
  expect(pipe.read()).toBe("")
  await waitFor(() => pipe.read().includes("connected, MQTT 3.1.1"), { what: "the log" })
  await stop(broker)
  expect(pipe.read()).toContain("was closed, server shutting down")
})

test.each([
  ["that nobody reads", (): number => new FullPipe().open()],
  ["on a full disk", (): number => openSync("/dev/full", "w")],
])("a log %s does not keep the broker from ending", async (_, open) => {
  const [broker, port] = await startBroker(open())
  await Peer.connected(port, 4)
  await stop(broker)
})

test.each([true, false])("lines that find no place are counted, and named when there is (JSON: %s)", async (json) => {
  const pipe = new FullPipe()
  const log = new Log("info", json, pipe.open())
  const text = "x".repeat(1000)
  for (let n = 0; n < 2000; n++) log.error(text)
  let read = ""
  await waitFor(() => /\d+ lines of this log were lost/.test((read += pipe.read())), { what: "the line that says so" })
  const printed = read.split(text).length - 1
  expect(printed).toBeGreaterThan(500)
  expect(read).toContain(`${2000 - printed} lines of this log were lost`)
  await log.close()
})
