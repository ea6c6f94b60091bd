import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { canConnect, freePort, RunningProcess, temporaryFolder, waitFor } from "@mqtt-trio/common/testing"
import { type Arbitrary, assert, asyncProperty, boolean, constantFrom, integer, record } from "fast-check"
import { expect, test } from "vitest"
import { AcknowledgementFile } from "../src/torture/acknowledgement-file.js"
import { Checker, type Verdict } from "../src/torture/checker.js"
import { Publisher } from "../src/torture/publisher.js"
import { Random } from "../src/torture/random.js"
import { Subscriber } from "../src/torture/subscriber.js"

const SCRIPT = fileURLToPath(new URL("support/crashing-broker.mjs", import.meta.url))
const RUNS = Number(process.env["CRASH_POINT_RUNS"] ?? 30)
const NEVER = "0"

/** One history: which commit kills the broker, on which side of it, and what goes on meanwhile. */
interface History {
  commit: number
  when: "before" | "after"
  qos: 1 | 2
  window: number
  messages: number
  withholds: boolean
  leaves: boolean
}

const histories: Arbitrary<History> = record({
  commit: integer({ min: 1, max: 60 }),
  when: constantFrom("before" as const, "after" as const),
  qos: constantFrom(1 as const, 2 as const),
  window: constantFrom(1, 5, 50),
  messages: integer({ min: 1, max: 60 }),
  withholds: boolean(),
  leaves: boolean(),
})

/** Plays a history against real processes: the broker dies at its commit and is started again on the same store. */
async function play(history: History): Promise<Verdict> {
  const { commit, when, qos, window, messages } = history
  const folder = temporaryFolder()
  const address = { host: "127.0.0.1", port: await freePort() }
  const start = async (deadly: string): Promise<RunningProcess> => {
    const broker = new RunningProcess("node", [SCRIPT, String(address.port), join(folder, "store"), deadly, when])
    await waitFor(async () => !broker.running || (await canConnect(address.port)), { what: `the broker: ${broker.stderr}` })
    return broker
  }
  const checker = new Checker()
  const acknowledgements = new AcknowledgementFile(join(folder, "acknowledged"))
  const topics = ["c/a", "c/b"]
  const streams = topics.map((topic) => ({ topic, qos, id: checker.addStream({ publisher: "pub", topic, qos }) }))
  const filters = [["c/#"], ["c/a", "c/+"], ["c/b"]].map((names) => names.map((filter) => ({ filter, qos })))
  const subscribers = filters.map(
    (some, index) =>
      new Subscriber({
        address,
        checker,
        clientId: `sub${index}`,
        filters: some,
        slow: false,
        withholds: history.withholds && index === 1,
      }),
  )
  const budget = { remaining: 0 }
  const publisher = new Publisher({
    address,
    clientId: "pub",
    streams,
    window,
    budget,
    random: new Random(commit),
    checker,
    acknowledgements,
  })
  const dying = await start(String(commit))
  const life = dying.ended.then(() => {
    checker.brokerEnded()
    return start(NEVER)
  })
  try {
    await Promise.all(subscribers.map((subscriber) => subscriber.subscribe()))
    if (history.leaves) await subscribers[0]?.leave()
    budget.remaining = messages
    await publisher.come()
    publisher.pump()
    await waitFor(() => budget.remaining === 0 && publisher.unfinished === 0, { what: "all acknowledgements", timeoutMs: 20_000 })
    if (!dying.running) await life
    await Promise.all(subscribers.map((subscriber) => subscriber.behave()))
    await waitFor(() => checker.outstanding === 0, { what: `${checker.outstanding} deliveries`, timeoutMs: 20_000 })
    return checker.verdict()
  } finally {
    for (const client of [publisher, ...subscribers]) client.cut()
    await dying.kill9()
    await (await life).kill9()
    acknowledgements.close()
  }
}

test(
  "killed right before or right after any commit, the broker has lost, doubled and reordered nothing",
  { timeout: 200_000 },
  async () => {
    const property = asyncProperty(histories, async (history) => {
      const { anomalies, clean } = await play(history)
      expect({ anomalies, clean }).toEqual({ anomalies: [], clean: true })
    })
    await assert(property, { numRuns: RUNS })
  },
)
