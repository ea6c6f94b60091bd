import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { BrokerProcess } from "../broker-process.js"
import type { Measurement, Scenario } from "../scenario.js"
import { median } from "../statistics.js"

const PUBLISHER = fileURLToPath(new URL("../../../pub/bin/mqtt-pub.cjs", import.meta.url))
const RUNS = 9
/** More certificates to read make every start of Node.js longer, and the ratio smaller than it is for others. */
const ENV = { ...process.env, NODE_EXTRA_CA_CERTS: "" }

/** What one message from the command line costs, beside a Node.js that does nothing. */
export const clientScenarios: Scenario[] = [
  { name: "client-start", title: "mqtt-pub, one message at QoS 1, from start to exit", run: measure },
]

async function measure(broker: BrokerProcess): Promise<Measurement> {
  const empty: number[] = []
  const publisher: number[] = []
  for (let run = 0; run < RUNS; run++) {
    empty.push(await milliseconds(["-e", "0"]))
    publisher.push(await milliseconds([PUBLISHER, "bench/0/0", "hello", "-p", String(broker.port)]))
  }
  return {
    values: { "mqtt-pub ms": median(publisher), "node -e 0 ms": median(empty), "mqtt-pub / node": median(publisher) / median(empty) },
    remarks: [],
  }
}

async function milliseconds(args: string[]): Promise<number> {
  const from = performance.now()
  const child = spawn(process.execPath, args, { stdio: "ignore", env: ENV })
  await once(child, "exit")
  if (child.exitCode !== 0) throw new Error(`node ${args.join(" ")} ended with ${child.exitCode}`)
  return performance.now() - from
}
