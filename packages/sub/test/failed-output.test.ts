import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { cliPath, onCleanUp, randomId, runCli, runProcess, startBroker, temporaryFolder, type RunResult } from "@mqtt-trio/testing"

let url: string
beforeAll(async () => {
  url = (await startBroker()).url
})

/** The arguments of a session in which these messages wait. */
async function waiting(lines: string): Promise<string[]> {
  const session = [randomId("topic"), "-L", url, "--client", randomId("client"), "--persistent", "--quiet"]
  expect((await runCli("mqtt-sub", [...session, "-E"])).code).toBe(0)
  expect((await runCli("mqtt-pub", ["-L", url, session[0] ?? "", "-l"], { stdin: lines })).code).toBe(0)
  return session
}

function shell(command: string, args: readonly string[], more = ""): Promise<RunResult> {
  const words = [process.execPath, cliPath("mqtt-sub"), ...args].map((word) => `'${word}'`).join(" ")
  return runProcess("bash", ["--norc", "-c", command.replace("SUB", () => words).replace("MORE", () => more)])
}

const FULL = { code: 7, stderr: expect.stringContaining("error: cannot write the output: ENOSPC") }

describe("what cannot be written is exit 7, whatever else would have been the end", () => {
  it.each([
    ["a count", ["-C", "1"]],
    ["a count, as JSON", ["-C", "1", "--json"]],
    ["a count, in a format", ["-C", "1", "-F", "%j"]],
    ["the last one of a count", ["-C", "3"]],
    ["a count and a time", ["-C", "1", "-W", "20"]],
    ["a time", ["-W", "20"]],
    ["a check of the order", ["-C", "1", "--check-order"]],
  ])("%s", async (_end, args) => {
    const session = await waiting("1\n2\n3\n")
    expect(await shell("SUB > /dev/full", [...session, ...args])).toMatchObject(FULL)
    // Nothing of it was acknowledged.
    expect((await runCli("mqtt-sub", [...session, "-C", "3"])).stdout).toBe("1\n2\n3\n")
  })

  it("a retained message, and the end at the first other one", async () => {
    const topic = randomId("topic")
    expect((await runCli("mqtt-pub", ["-L", url, topic, "kept", "-r"])).code).toBe(0)
    expect(await shell("SUB > /dev/full", [topic, "-L", url, "-C", "1"])).toMatchObject(FULL)
    const other = `${process.execPath} ${cliPath("mqtt-pub")} -L ${url} ${topic} other --interval 50 >/dev/null & trap 'kill %1' EXIT`
    expect(await shell("MORE; SUB > /dev/full", [topic, "-L", url, "--retained-only"], other)).toMatchObject(FULL)
  })

  it("a retained message that was to be removed is kept, and gone when it was written out", async () => {
    const topics = [randomId("removed"), randomId("removed")]
    for (const topic of topics) expect((await runCli("mqtt-pub", ["-L", url, topic, "kept", "-r"])).code).toBe(0)
    const args = [...topics, "-L", url, "--remove-retained", "-C", "2"]
    expect(await shell("SUB > /dev/full", args)).toMatchObject(FULL)
    expect(await runCli("mqtt-sub", args)).toMatchObject({ code: 0, stdout: "kept\nkept\n" })
    expect(await runCli("mqtt-sub", [...topics, "-L", url, "-W", "500ms"])).toMatchObject({ code: 27, stdout: "" })
  })

  it("a file system that is full in the middle of the last batch, a few bytes before its end", async () => {
    const folder = join(temporaryFolder(), "small")
    mkdirSync(folder)
    expect(await runProcess("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder])).toMatchObject({ code: 0 })
    onCleanUp(async () => void (await runProcess("umount", [folder])))
    const session = await waiting(`${"x".repeat(999)}\n`.repeat(66))
    expect(await shell(`SUB > ${folder}/out`, [...session, "-C", "66"])).toMatchObject(FULL)
    expect(await shell(`SUB > ${folder}/out`, [...session, "-C", "1"])).toMatchObject({ code: 0, stderr: "" })
  })

  it.each(["--help", "--version", "-h"])("%s", async (flag) => {
    expect(await shell("SUB > /dev/full", [flag])).toMatchObject(FULL)
    expect(await shell("SUB | true", [flag])).toMatchObject({ code: 0, stderr: "" })
  })
})

it("a reader that is slow for longer than a stopped run waits gets everything that a count asked for", async () => {
  const lines = `${"x".repeat(999)}\n`.repeat(500)
  const session = await waiting(lines)
  const read = await shell("set -o pipefail; SUB | (sleep 7; cat)", [...session, "-C", "500"])
  expect({ ...read, stdout: read.stdout === lines }).toMatchObject({ code: 0, stderr: "", stdout: true })
})
