import { expect, it } from "vitest"
import { cliPath, runProcess, startBroker } from "@mqtt-trio/testing"

/** More certificates to read make every start of Node.js longer, and the ratio smaller than it is for others. */
const env = { NODE_EXTRA_CA_CERTS: "" }

const MOST = 3
const ROUNDS = { least: 9, most: 60 }

/** How long a command takes, in milliseconds. */
async function milliseconds(args: readonly string[]): Promise<number> {
  const start = performance.now()
  expect((await runProcess(process.execPath, args, { env })).code).toBe(0)
  return performance.now() - start
}

it(`mqtt-pub of one message and mqtt-sub until its SUBACK take at most ${MOST} times as long as node -e 0`, async () => {
  const broker = await startBroker({ store: "memory:" })
  const at = ["-L", broker.url]
  // the shortest of several runs: what the machine does besides only makes a run longer, and then there are more of them
  let [node, pub, sub] = [Infinity, Infinity, Infinity]
  for (let round = 0; round < ROUNDS.least || (round < ROUNDS.most && Math.max(pub, sub) >= MOST * node); round++) {
    node = Math.min(node, await milliseconds(["-e", "0"]))
    pub = Math.min(pub, await milliseconds([cliPath("mqtt-pub"), "test", "Hello", ...at]))
    sub = Math.min(sub, await milliseconds([cliPath("mqtt-sub"), "test", "-E", ...at]))
  }
  process.stdout.write(`node -e 0: ${node.toFixed(0)} ms; mqtt-pub: ${(pub / node).toFixed(2)} x, mqtt-sub: ${(sub / node).toFixed(2)} x\n`)
  expect(pub / node).toBeLessThan(MOST)
  expect(sub / node).toBeLessThan(MOST)
})
