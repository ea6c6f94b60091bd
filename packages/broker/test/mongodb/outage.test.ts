import { setTimeout as pause } from "node:timers/promises"
import { MongoClient } from "mongodb"
import {
  type CuttingProxy,
  hasMongoServer,
  type MongoServer,
  spawnCli,
  startBroker,
  startCuttingProxy,
  startMongoServer,
  waitFor,
} from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { Peer } from "../support/peer.js"
import { absent, drain } from "../support/stored.js"
import { properties, puback, publish, sessionExpiry } from "../support/wire.js"
import { say, texts } from "./saying.js"

/** How long a server stays away once all has been seen that happens then. */
const OUTAGE_MS = Number(process.env["MQTT_TEST_OUTAGE_SECONDS"] ?? 0) * 1000

const OWN_SERVER = hasMongoServer() && (process.env["MQTT_TEST_MONGODB"] ?? "") === ""

describe.skipIf(!OWN_SERVER)("a server that goes away while the broker runs", () => {
  const CLEAN = { clientId: "clean", clean: true }
  const LASTING = { clientId: "lasting", clean: false, properties: properties(sessionExpiry(1000)) }

  type Away = (server: MongoServer, proxy: CuttingProxy) => unknown
  const ways: [string, Away, Away][] = [
    ["it is killed", (server) => server.kill9(), (server) => server.restart()],
    ["it does not answer", (server) => server.pause(), (server) => server.resume()],
    ["the way to it is cut", (_, proxy) => proxy.block(), (_, proxy) => proxy.unblock()],
  ]

  test.each(ways)(
    "%s: nothing is acknowledged, other traffic passes, all comes in order when it is back",
    { timeout: 60_000 + 2 * OUTAGE_MS },
    async (_, away, back) => {
      const server = await startMongoServer()
      const proxy = await startCuttingProxy(server.port)
      const store = server.url.replace(String(server.port), String(proxy.port))
      const broker = await startBroker({ store, args: ["--lease", "2s"] })
      await absent(broker.port, "s", "t")
      await say(broker, "t", texts(1, 10))
      await away(server, proxy)
      const publisher = await Peer.connected(broker.port, 4, CLEAN)
      for (let id = 11; id <= 20; id++) publisher.send(publish(4, { topic: "t", qos: 1, packetId: id, payload: `Hello mqtt ${id}` }))
      await waitFor(() => broker.stderr.includes("takes no commits"), { timeoutMs: 30_000, what: "the broker's word" })
      const live = await Peer.connected(broker.port, 4)
      await live.subscribe(["live", 0])
      live.send(publish(4, { topic: "live", payload: "passes" }))
      expect((await live.next()).toString()).toContain("passes")
      await expect(Peer.connected(broker.port, 5, LASTING)).rejects.toThrow("refused: 20030088")
      await pause(OUTAGE_MS)
      expect(await publisher.settled()).toEqual([])
      live.send(publish(4, { topic: "live", payload: "passes still" }))
      expect((await live.next()).toString()).toContain("passes still")
      await back(server, proxy)
      for (let id = 11; id <= 20; id++) expect(await publisher.next(30_000)).toEqual(puback(id))
      expect(broker.running).toBe(true)
      expect(await drain(broker.port, "s")).toEqual(texts(1, 20))
    },
  )

  test("SIGTERM while it does not answer: the broker ends soon, says what is not stored, and what was acknowledged is there", async () => {
    const server = await startMongoServer()
    const broker = await startBroker({ store: server.url, args: ["--lease", "2s"] })
    await absent(broker.port, "s", "t")
    await say(broker, "t", texts(1, 10))
    await server.pause()
    const publisher = await Peer.connected(broker.port, 4, CLEAN)
    publisher.send(publish(4, { topic: "t", qos: 1, packetId: 1, payload: "not acknowledged" }))
    const from = performance.now()
    expect(await broker.stop()).toBe(BROKER_ERRORS["store-unusable"].exitCode)
    expect(performance.now() - from).toBeLessThan(15_000)
    expect(broker.stderr).toContain("stopped while the store took no commits")
    server.resume()
    await broker.restart()
    expect((await drain(broker.port, "s")).slice(0, 10)).toEqual(texts(1, 10))
  })

  test(
    "it is cut off from a broker that just takes over: that one goes on standing by, and serves later",
    { timeout: 60_000 },
    async () => {
      const server = await startMongoServer()
      const proxy = await startCuttingProxy(server.port)
      const client = await MongoClient.connect(server.url)
      const first = await startBroker({ store: server.url, args: ["--lease", "2s"] })
      await absent(first.port, "s", "t")
      await say(first, "t", texts(1, 5))
      const store = server.url.replace(String(server.port), String(proxy.port))
      const second = spawnCli("mqtt-broker", ["start", "--port", "0", "--json", "--store", store, "--lease", "2s"])
      await second.waitForLine("standing by", { stream: "stderr" })
      const lease = async (): Promise<number> =>
        (
          await client
            .db()
            .collection("broker")
            .findOne({ host: { $exists: true } })
        )?.["epoch"] ?? 0
      const epoch = await lease()
      await first.kill9()
      await waitFor(async () => (await lease()) > epoch, { what: "the second to take the lease", timeoutMs: 30_000 })
      proxy.block()
      await second.waitForLine("it is tried again", { stream: "stderr", timeoutMs: 30_000 })
      await proxy.unblock()
      const { port } = JSON.parse(await second.waitForLine('"ready"', { timeoutMs: 30_000 }))
      expect(await drain(port, "s")).toEqual(texts(1, 5))
      await client.close()
    },
  )

  test("a broker that stands by outlives it", async () => {
    const server = await startMongoServer()
    const first = await startBroker({ store: server.url, args: ["--lease", "2s"] })
    const second = spawnCli("mqtt-broker", ["start", "--port", "0", "--json", "--store", server.url, "--lease", "2s"])
    await second.waitForLine("standing by", { stream: "stderr" })
    await server.kill9()
    await second.waitForLine("it is tried again", { stream: "stderr" })
    await first.kill9()
    await server.restart()
    await second.waitForLine('"ready"', { timeoutMs: 30_000 })
  })
})
