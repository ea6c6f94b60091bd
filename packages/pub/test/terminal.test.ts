import { beforeAll, describe, expect, it } from "vitest"
import { cliPath, runCli, runProcess, startBroker, type TestBroker } from "@mqtt-trio/testing"

let broker: TestBroker
beforeAll(async () => {
  broker = await startBroker({ store: "memory:" })
})

/** Runs a shell command on a terminal of its own; stdout has what the terminal got. */
async function onTerminal(command: string, env: Record<string, string> = {}): Promise<string> {
  return (await runProcess("script", ["-qec", command, "/dev/null"], { env: { TERM: "xterm", ...env } })).stdout
}

const pub = `${process.execPath} ${cliPath("mqtt-pub")}`
// oxlint-disable-next-line no-control-regex -- escape sequences are what this is about
const escape = /\u001b/

describe("colours", () => {
  const failing = `${pub} t x -p 1`

  it("on a terminal, but not with NO_COLOR, --no-color or TERM=dumb", async () => {
    expect(await onTerminal(failing)).toMatch(escape)
    expect(await onTerminal(failing, { NO_COLOR: "1" })).not.toMatch(escape)
    expect(await onTerminal(`${failing} --no-color`)).not.toMatch(escape)
    expect(await onTerminal(failing, { TERM: "dumb" })).not.toMatch(escape)
  })

  it("never in a pipe", async () => {
    expect((await runCli("mqtt-pub", ["t", "x", "-p", "1"], { env: { TERM: "xterm" } })).stderr).not.toMatch(escape)
  })
})

describe("progress", () => {
  const long = `(seq 3; sleep 2; seq 3) | ${pub} -L URL t -l`

  it("is a line on a terminal while -l runs, and is gone at the end", async () => {
    const seen = await onTerminal(long.replace("URL", broker.url))
    expect(seen).toContain("3 sent, 3 acknowledged")
    expect(seen.endsWith("\r\u001b[K")).toBe(true)
  })

  it("is not shown with --quiet, nor in a pipe", async () => {
    expect(await onTerminal(`${long.replace("URL", broker.url)} --quiet`)).toBe("")
    const piped = await runProcess("bash", ["--norc", "-c", long.replace("URL", broker.url)])
    expect(piped).toMatchObject({ code: 0, stdout: "", stderr: "" })
  })
})
