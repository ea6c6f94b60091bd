import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import { onCleanUp, runProcess, spawnCli, startScriptedBroker, temporaryFolder, waitFor } from "@mqtt-trio/testing"

const CONNACK = Buffer.from("2003000000", "hex")

/** A run with these arguments at a broker that takes the connection and says nothing more gets a signal. */
async function stopped(args: readonly string[], what: string): Promise<void> {
  const silent = await startScriptedBroker(({ type }, socket) => void (type === 1 && socket.write(CONNACK)))
  const running = spawnCli("mqtt-pub", ["-p", String(silent.port), "t", ...args])
  await waitFor(() => silent.types.includes(3), { what: "a PUBLISH" })
  running.child.kill("SIGINT")
  await running.waitForLine(`stopping: waiting up to 5 s for ${what}; SIGINT again ends at once`, { stream: "stderr", timeoutMs: 3000 })
  expect(await running.waitForEnd(6500), args.join(" ")).toEqual({ code: 130, signal: null })
}

it("a signal while the broker does not answer says what is waited for, 5 s at most", async () => {
  await Promise.all([
    stopped(["x"], "1 acknowledgement"),
    stopped(["x", "-q", "2"], "1 acknowledgement"),
    stopped(["x", "--repeat", "3", "-M", "1"], "1 acknowledgement"),
    stopped(["x", "--repeat", "3"], "3 acknowledgements"),
  ])
})

it.each([
  ["-s", ["t", "-s"]],
  ["--password-file -", ["t", "x", "-u", "me", "--password-file", "-"]],
])("a signal ends the reading of stdin: %s", async (_what, args) => {
  const running = spawnCli("mqtt-pub", args)
  // More than fits the pipe.
  running.child.stdin.write(Buffer.alloc(200_000))
  await waitFor(() => running.child.stdin.writableLength === 0, { what: "a reader" })
  expect(await running.stop("SIGINT")).toEqual({ code: null, signal: "SIGINT" })
})

it.each([
  ["-f", ["t", "-f"]],
  ["--password-file", ["t", "x", "-u", "me", "--password-file"]],
])("a signal ends the reading of a named pipe: %s", async (_what, args) => {
  const pipe = join(temporaryFolder(), "pipe")
  await runProcess("mkfifo", [pipe])
  const writer = openSync(pipe, "r+")
  onCleanUp(() => closeSync(writer))
  const running = spawnCli("mqtt-pub", [...args, pipe])
  const opened = (): boolean => readdirSync(`/proc/${running.pid}/fd`).some((fd) => linkOf(`/proc/${running.pid}/fd/${fd}`) === pipe)
  await waitFor(opened, { what: "a reader" })
  expect(await running.stop("SIGTERM")).toEqual({ code: null, signal: "SIGTERM" })
})

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}
