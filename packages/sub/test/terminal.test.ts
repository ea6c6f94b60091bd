import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { cliPath, onCleanUp, randomId, runCli, runProcess, spawnCli, startBroker, temporaryFolder, waitFor } from "@mqtt-trio/testing"

let url: string
beforeAll(async () => {
  url = (await startBroker({ store: "memory:" })).url
})

interface Terminal {
  readonly type: (keys: string) => Promise<void>
  readonly screen: () => Promise<string>
}

/** A terminal of so many columns in which a shell command runs. */
async function terminal(columns: number, command: string): Promise<Terminal> {
  const socket = join(temporaryFolder(), "tmux")
  const tmux = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await runProcess("tmux", ["-S", socket, "-f", "/dev/null", ...args])
    if (code !== 0) throw new Error(`tmux ${args.join(" ")}: ${stderr}`)
    return stdout
  }
  await tmux("new-session", "-d", "-x", String(columns), "-y", "200", `${command}; exec cat`)
  onCleanUp(async () => void (await tmux("kill-server")))
  return {
    type: async (keys) => void (await tmux("send-keys", keys)),
    screen: async () => (await tmux("capture-pane", "-p")).trimEnd(),
  }
}

describe("lines that somebody types for mqtt-pub -l", () => {
  it("are not overwritten by the progress", async () => {
    const topic = randomId("topic")
    const subscriber = spawnCli("mqtt-sub", ["-L", url, topic, "-d"])
    await subscriber.waitForLine("SUBACK", { stream: "stderr" })
    const { type, screen } = await terminal(80, `${process.execPath} ${cliPath("mqtt-pub")} -L ${url} ${topic} -l`)
    await type("first\n")
    await subscriber.waitForLine("first")
    await type("half a li")
    // Takes longer than the progress would.
    for (const n of [1, 2]) expect((await runCli("mqtt-pub", ["-L", url, topic, `other ${n}`])).code).toBe(0)
    await waitFor(async () => (await screen()) === "first\nhalf a li", { what: `what was typed and nothing else` })
    await type("ne\n")
    await subscriber.waitForLine("half a line")
    expect(await screen()).toBe("first\nhalf a line")
  })
})

describe("help", () => {
  it.each([
    ["mqtt-pub", "--help"],
    ["mqtt-sub", "--help"],
    ["mqtt-broker", "start", "--help"],
    ["mqtt-broker", "queue", "--help"],
    ["mqtt-broker", "torture", "--help"],
  ] as const)("%s %s: no line is longer than 80 columns where there is no terminal", async (name, ...args) => {
    const { code, stdout } = await runCli(name, args)
    expect(code).toBe(0)
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([])
  })

  it("takes the width of the terminal", async () => {
    for (const [columns, longest] of [
      [70, 70],
      [100, 100],
      [200, 110],
    ] as const) {
      const command = `${process.execPath} ${cliPath("mqtt-sub")} --help`
      // oxlint-disable-next-line no-await-in-loop -- one terminal after the other
      const { screen } = await terminal(columns, command)
      // oxlint-disable-next-line no-await-in-loop
      const text = await waitFor(async () => ((shown) => shown.includes("143 stopped") && shown)(await screen()), { what: "the help" })
      const lines = text.split("\n").map((line) => line.length)
      expect(Math.max(...lines)).toBeLessThanOrEqual(longest)
      expect(Math.max(...lines)).toBeGreaterThan(longest - 10)
    }
  })
})
