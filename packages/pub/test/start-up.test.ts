import { expect, it } from "vitest"
import { cliPath, runProcess, startBroker } from "@mqtt-trio/common/testing"

/** More certificates to read make every start of Node.js longer, and the ratio smaller than it is for others. */
const env = { NODE_EXTRA_CA_CERTS: "" }

/** The shortest of several runs, in milliseconds: what the machine does besides only makes a run longer. */
async function fastest(commands: readonly (readonly string[])[]): Promise<number[]> {
  const best = commands.map(() => Number.POSITIVE_INFINITY)
  for (let round = 0; round < 9; round += 1) {
    for (const [index, args] of commands.entries()) {
      const start = performance.now()
      expect((await runProcess(process.execPath, args, { env })).code).toBe(0)
      best[index] = Math.min(best[index] ?? 0, performance.now() - start)
    }
  }
  return best
}

it("mqtt-pub of one message and mqtt-sub until its SUBACK take at most 3 times as long as node -e 0", async () => {
  const broker = await startBroker({ store: "memory:" })
  const at = ["-L", broker.url]
  const [node = 0, pub = 0, sub = 0] = await fastest([
    ["-e", "0"],
    [cliPath("mqtt-pub"), "test", "Hello", ...at],
    [cliPath("mqtt-sub"), "test", "-E", ...at],
  ])
  process.stdout.write(`node -e 0: ${node.toFixed(0)} ms; mqtt-pub: ${(pub / node).toFixed(2)} x, mqtt-sub: ${(sub / node).toFixed(2)} x\n`)
  expect(pub / node).toBeLessThan(3)
  expect(sub / node).toBeLessThan(3)
})
