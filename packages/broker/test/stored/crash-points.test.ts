import { existsSync } from "node:fs"
import { join } from "node:path"
import { Checker, type Verdict, AcknowledgementFile, TorturePublisher, Random, TortureSubscriber } from "@mqtt-trio/torture"
import { startBroker, startMongoServer, waitFor } from "@mqtt-trio/testing"
import { type Arbitrary, assert, asyncProperty, boolean, constantFrom, integer, record } from "fast-check"
import { describe, expect, test } from "vitest"
import { inspectStore } from "../../src/stores/inspect.js"
import { compileDisk, hasCompiler } from "../support/misbehaving-disk.js"
import { hasMortalServer, MortalDatabase } from "../support/mortal-database.js"
import { MortalDisk } from "../support/mortal-disk.js"
import { DEATH_POINTS, type DeathPoint, type End, type MortalStore } from "../support/mortal-store.js"
import { DATABASE } from "../support/stored.js"

const RUNS = process.env["CRASH_POINT_RUNS"]
const FILE_RUNS = Number(RUNS ?? 30)
const DATABASE_RUNS = Number(RUNS ?? 10)
/** Ends the runs, or the search for a shorter history that fails. */
const LIMIT_MS = 150_000
const FOLD_BYTES = 2 << 10

/** One history: at which point of its store the broker dies, with or without a power cut, and what goes on meanwhile. */
interface History {
  at: DeathPoint
  nth: number
  end: End
  qos: 1 | 2
  window: number
  messages: number
  withholds: boolean
  leaves: boolean
}

const histories: Arbitrary<History> = record({
  at: constantFrom(...DEATH_POINTS),
  nth: integer({ min: 1, max: 40 }),
  end: constantFrom("power" as const, "process" as const),
  qos: constantFrom(1 as const, 2 as const),
  window: constantFrom(1, 5, 50),
  messages: integer({ min: 1, max: 60 }),
  withholds: boolean(),
  leaves: boolean(),
})

/** Plays a history against a real broker: it dies at its commit and is started again on the same store, which is a new one. */
async function play(history: History, store: MortalStore): Promise<Verdict & { died: boolean }> {
  const { at, nth, qos, window, messages } = history
  const broker = await startBroker(store.options)
  const address = { host: "127.0.0.1", port: broker.port }
  const checker = new Checker()
  const acknowledgements = new AcknowledgementFile(join(store.options.dir, "acknowledged"))
  const topics = ["c/a", "c/b"]
  const streams = topics.map((topic) => ({ topic, qos, id: checker.addStream({ publisher: "pub", topic, qos }) }))
  const filters = [["c/#"], ["c/a", "c/+"], ["c/b"]].map((names) => names.map((filter) => ({ filter, qos })))
  const subscribers = filters.map(
    (some, index) =>
      new TortureSubscriber({
        address,
        checker,
        clientId: `sub${index}`,
        filters: some,
        slow: false,
        withholds: history.withholds && index === 1,
      }),
  )
  const budget = { remaining: 0 }
  const publisher = new TorturePublisher({
    address,
    clientId: "pub",
    streams,
    window,
    budget,
    random: new Random(nth),
    checker,
    acknowledgements,
  })
  store.arm({ at, nth: at.startsWith("switch") ? Math.ceil(nth / 10) : nth }, broker)
  let [over, died] = [false, false]
  const revived = broker.ended.then(async () => {
    if (over) return
    died = true
    checker.brokerEnded()
    await store.restart(broker, history.end)
  })
  try {
    await Promise.all(subscribers.map((subscriber) => subscriber.subscribe()))
    if (history.leaves) await subscribers[0]?.leave()
    budget.remaining = messages
    await publisher.come()
    publisher.pump()
    await waitFor(() => budget.remaining === 0 && publisher.unfinished === 0, { what: "all acknowledgements", timeoutMs: 20_000 })
    await Promise.all(subscribers.map((subscriber) => subscriber.behave()))
    await waitFor(() => checker.outstanding === 0, { what: `${checker.outstanding} deliveries`, timeoutMs: 20_000 })
    for (let quiet = 0; quiet < 3; quiet++) for (const subscriber of subscribers) await subscriber.ping()
    return { ...checker.verdict(), died }
  } finally {
    for (const client of [publisher, ...subscribers]) client.cut()
    over = true
    await broker.kill9()
    await revived
    acknowledgements.close()
  }
}

/** Rows of a folder's tables that are not what was written, bodies whose references are not counted right among them. */
function damagedIn({ options: { dir } }: MortalStore): number {
  const folder = join(dir, "store")
  return existsSync(join(folder, DATABASE)) ? inspectStore(folder).damaged : 0
}

async function search(runs: number, newStore: () => MortalStore | Promise<MortalStore>): Promise<void> {
  const deaths: DeathPoint[] = []
  const property = asyncProperty(histories, async (history) => {
    const store = await newStore()
    const { anomalies, overlapCopies, died } = await play(history, store)
    if (died) deaths.push(history.at)
    // one copy, however many filters match
    expect({ anomalies, overlapCopies, damaged: damagedIn(store) }).toEqual({ anomalies: [], overlapCopies: 0, damaged: 0 })
  })
  await assert(property, { numRuns: runs, interruptAfterTimeLimit: LIMIT_MS, ...(process.env["CI"] && { seed: 1 }) })
  process.stderr.write(`${runs} histories, the broker died in ${deaths.length}: ${deaths.toSorted().join(" ")}\n`)
  expect(deaths.length).toBeGreaterThan(runs / 6)
  expect(deaths.some((at) => at.startsWith("fold"))).toBe(true)
}

describe("killed at any commit and in any fold, the broker has lost, doubled and reordered nothing", { timeout: 200_000 }, () => {
  test.runIf(hasCompiler())("file:, also at any change of segment", async () => {
    const disk = compileDisk()
    await search(FILE_RUNS, () => new MortalDisk(disk, FOLD_BYTES))
  })

  test.runIf(hasMortalServer())("mongodb:, also with what it wrote last on its way", async () => {
    const server = await startMongoServer()
    await search(DATABASE_RUNS, () => MortalDatabase.of(server, FOLD_BYTES))
  })
})
