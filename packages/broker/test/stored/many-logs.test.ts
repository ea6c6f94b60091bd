import { performance } from "node:perf_hooks"
import { join } from "node:path"
import { startBroker, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { openStore } from "../../src/stores/open-store.js"
import type { Store } from "../../src/stores/store.js"
import { chunk, NOTHING, readOn } from "../support/chunks.js"
import { compileDisk, diskEnvironment, hasCompiler } from "../support/misbehaving-disk.js"
import { Peer } from "../support/peer.js"
import { drain } from "../support/stored.js"
import { puback, publish } from "../support/wire.js"

/** So far apart that two chunks do not come into one row. */
const APART = 2 ** 29

const positions = (log: number): number[] => Array.from({ length: log === 7 ? 2500 : 1 }, (_, n) => n * APART + log)

async function opened(folder: string): Promise<Store> {
  const readProgram = new URL("../../dist/stores/read-worker.js", import.meta.url)
  const store = await openStore({ kind: "file", folder }, { readProgram })
  await store.load()
  return store
}

test("what is cut of thousands of logs goes, one of which has more rows than go at a time; the rest stays", async () => {
  const folder = join(temporaryFolder(), "store")
  const logs = Array.from({ length: 2200 }, (_, n) => n + 1)
  let store = await opened(folder)
  await store.commit({ ...NOTHING, appends: logs.flatMap((log) => positions(log).map((at) => chunk(log, at, `${log} ${at}`))) })
  await store.close()
  store = await opened(folder)
  const cut = new Map(logs.filter((log) => log % 3).map((log) => [log, log === 7 ? 2400 * APART : APART]))
  await store.commit({ ...NOTHING, cuts: [...cut].map(([log, below]) => ({ log, below })) })
  await store.close()
  store = await opened(folder)
  for (const log of logs) {
    const left = positions(log).filter((at) => at >= (cut.get(log) ?? 0))
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    expect((await readOn(store, log, 0)).map(([at]) => at)).toEqual(left)
  }
  await store.close()
})

test("a session that reads 40 logs from the store gets all in the order of their publication, although it keeps a little of each", async () => {
  const broker = await startBroker()
  const topics = Array.from({ length: 40 }, (_, n) => `many/${n}`)
  const session = await Peer.connected(broker.port, 4, { clientId: "away", clean: false })
  await session.subscribe(...topics.map((topic): [string, 1] => [topic, 1]))
  session.cut()
  const publisher = await Peer.connected(broker.port, 4)
  const MESSAGES = 12_000
  // some logs have much in a row, so that others are passed by more than they keep
  const topicOf = (n: number): string => topics[Math.floor(n / (n % 3000 < 1000 ? 1 : 200)) % 40] ?? ""
  for (let n = 0; n < MESSAGES; n++) {
    const payload = `${n}`.padEnd(n % 500 ? 60 : 9000, ".")
    publisher.send(publish(4, { topic: topicOf(n), qos: 1, packetId: (n % 60_000) + 1, payload }))
  }
  for (let n = 0; n < MESSAGES; n++) await publisher.next() // oxlint-disable-line no-await-in-loop -- one after the other
  expect(await broker.stop()).toBe(0) // the tables have it all
  await broker.restart()
  const came = await drain(broker.port, "away")
  expect(came.map((payload) => Number.parseInt(payload, 10))).toEqual(Array.from({ length: MESSAGES }, (_, n) => n))
})

test("a session whose 60 logs have more together than clients may take of memory gets all of it", async () => {
  const broker = await startBroker({ args: ["--max-memory", "192MB"] })
  const topics = Array.from({ length: 60 }, (_, n) => `large/${n}`)
  const session = await Peer.connected(broker.port, 4, { clientId: "away", clean: false })
  await session.subscribe(...topics.map((topic): [string, 1] => [topic, 1]))
  session.cut()
  const publisher = await Peer.connected(broker.port, 4)
  for (const [n, topic] of topics.entries()) {
    publisher.send(publish(4, { topic, qos: 1, packetId: n + 1, payload: `${n}`.padEnd(900_000, ".") }))
    expect(await publisher.next()).toEqual(puback(n + 1)) // oxlint-disable-line no-await-in-loop -- one after the other
  }
  expect(await broker.stop()).toBe(0)
  await broker.restart()
  const came = await drain(broker.port, "away")
  expect(came.map((payload) => Number.parseInt(payload, 10))).toEqual([...topics.keys()])
})

describe.runIf(hasCompiler())("a disk that takes 15 ms for each sync", () => {
  test("a session with 600 filters goes, and the broker stops: no sync for each of its logs", async () => {
    const broker = await startBroker({ env: diskEnvironment(compileDisk(), { delayMs: 15 }) })
    const filters = Array.from({ length: 600 }, (_, n) => `many/${n}`)
    const session = await Peer.connected(broker.port, 4, { clientId: "away", clean: false })
    await session.subscribe(...filters.map((filter): [string, 1] => [filter, 1]))
    session.cut()
    const publisher = await Peer.connected(broker.port, 4)
    for (const [n, topic] of filters.entries()) publisher.send(publish(4, { topic, qos: 1, packetId: n + 1, payload: "x" }))
    for (const n of filters.keys()) expect(await publisher.next()).toEqual(puback(n + 1))
    publisher.cut()
    expect(await broker.stop()).toBe(0)
    await broker.restart()
    const discarded = await Peer.connected(broker.port, 4, { clientId: "away", clean: true })
    discarded.cut()
    expect(await broker.stop()).toBe(0) // while it counts what was lost
    await broker.restart()
    const from = performance.now()
    expect(await broker.stop()).toBe(0)
    expect(performance.now() - from).toBeLessThan(600 * 15 * 0.5)
    await broker.restart()
    expect(await drain(broker.port, "away")).toEqual([])
  })
})
