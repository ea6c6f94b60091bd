import { spawn } from "node:child_process"
import { createServer } from "node:net"
import { beforeAll, describe, expect, it } from "vitest"
import { cliPath, onCleanUp, randomId, runCli, runProcess, startBroker } from "@mqtt-trio/testing"

let url: string
beforeAll(async () => {
  url = (await startBroker()).url
})

const sub = `exec ${process.execPath} ${cliPath("mqtt-sub")}`

/** Runs mqtt-sub with a pipe to `reader`; ends when mqtt-sub has ended. */
async function pipe(args: string, reader: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return runProcess("bash", ["--norc", "-c", `(${sub} ${args}) | ${reader}; exit \${PIPESTATUS[0]}`], { timeoutMs: 10_000 })
}

describe("a reader that leaves ends mqtt-sub without another message", () => {
  it.each(["true", "exec 0<&-", "sleep 1"])("a pipe to: %s", async (reader) => {
    expect(await pipe(`-L ${url} ${randomId("topic")}`, reader)).toMatchObject({ code: 0, stdout: "", stderr: "" })
  })

  it("head -1 took its line", async () => {
    const topic = randomId("topic")
    expect((await runCli("mqtt-pub", ["-L", url, topic, "kept", "-r"])).code).toBe(0)
    expect(await pipe(`-L ${url} ${topic}`, "head -1")).toMatchObject({ code: 0, stdout: "kept\n", stderr: "" })
  })

  it("a named pipe", async () => {
    const script = `cd $(mktemp -d) && mkfifo p && (sleep 1 < p &) && ${sub} -L ${url} ${randomId("topic")} > p`
    expect(await runProcess("bash", ["--norc", "-c", script], { timeoutMs: 10_000 })).toMatchObject({ code: 0, stderr: "" })
  })

  it("while it still connects", async () => {
    const silent = createServer(() => undefined)
    onCleanUp(() => void silent.close())
    await new Promise<void>((resolve) => {
      silent.listen(0, "127.0.0.1", resolve)
    })
    const address = silent.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    expect(await pipe(`-p ${port} t`, "true")).toMatchObject({ code: 0, stdout: "", stderr: "" })
  })

  it("a socket, as other programs of Node.js give it", async () => {
    const child = spawn(process.execPath, [cliPath("mqtt-sub"), "-L", url, randomId("topic"), "-d"], { stdio: ["ignore", "pipe", "pipe"] })
    onCleanUp(() => void child.kill("SIGKILL"))
    const ended = new Promise<number | null>((resolve) => {
      child.once("exit", resolve)
    })
    let said = ""
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString()
      if (said.includes("SUBACK")) child.stdout.destroy()
    })
    expect(await ended).toBe(0)
  })
})

it("writes nothing to find out, and stays while somebody reads or writes further", async () => {
  const topic = randomId("topic")
  const publish = `${process.execPath} ${cliPath("mqtt-pub")} -L ${url} ${topic}`
  const script = `set -o pipefail; (sleep 3; ${publish} late) & (${sub} -L ${url} ${topic} -C 1) | cat`
  expect(await runProcess("bash", ["--norc", "-c", script])).toMatchObject({ code: 0, stdout: "late\n", stderr: "" })
})
