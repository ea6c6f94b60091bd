import { setTimeout as pause } from "node:timers/promises"
import { hasMongoServer, mongoServerCommand, runCli, startBroker, startCuttingProxy, startMongoServer } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { absent, drain } from "../support/stored.js"
import { publish, puback } from "../support/wire.js"

const LIMIT_MS = 240_000

/** Few messages: the tests' server looks through all that wait for each query. */
const FEW = ["--acknowledgements", "300", "--qos", "2", "--publishers", "2", "--subscribers", "3", "--sessions", "5"]

interface Verdict {
  expected: number
  signals: number
  serverKills: number
  takeOvers: number
}

/** Resolves with the verdict, which is clean. */
async function torture(...args: string[]): Promise<Verdict> {
  const { code, stdout, stderr } = await runCli("mqtt-broker", ["torture", "--json", ...args], { timeoutMs: LIMIT_MS })
  expect(stdout, stderr).toContain('"event":"verdict"')
  const { anomalies, histories, seed, ...verdict } = JSON.parse(stdout)
  expect(histories, `seed ${seed} ${JSON.stringify(anomalies)}`).toEqual({})
  expect(code).toBe(0)
  return verdict
}

describe.skipIf(!hasMongoServer())("a store in MongoDB under load", () => {
  test("the broker is killed again and again and keeps the promise", { timeout: LIMIT_MS }, async () => {
    const server = await startMongoServer()
    const shape = "--rounds 4 --acknowledgements 1500 --qos 2 --publishers 1 --subscribers 2 --sessions 5".split(" ")
    const { expected, signals } = await torture(...shape, "--store", server.url, "--lease", "1s")
    expect(expected).toBeGreaterThan(500)
    expect(signals).toBeGreaterThan(2)
  })

  test.each(["KILL", "TERM", "STOP"])(
    "another broker stands by: it takes over from one that gets SIG%s, again and again",
    { timeout: LIMIT_MS },
    async (signal) => {
      const server = await startMongoServer()
      const two = ["--rounds", "2", "--store", server.url, "--brokers", "2", "--signal", signal]
      const { expected, signals, takeOvers } = await torture(...FEW, ...two)
      expect(expected).toBeGreaterThan(200)
      expect(signals).toBeGreaterThan(0)
      expect(takeOvers).toBeGreaterThanOrEqual(signals)
    },
  )

  test(
    "one publisher, and brokers that sleep twice: those that came for the first one's sake stall nobody",
    { timeout: LIMIT_MS },
    async () => {
      const server = await startMongoServer()
      const shape = "--rounds 2 --acknowledgements 200 --qos 2 --publishers 1 --subscribers 2 --sessions 5 --seed 4045616683".split(" ")
      const { signals } = await torture(...shape, "--shape", "live", "--store", server.url, "--brokers", "2", "--signal", "STOP")
      expect(signals).toBe(2)
    },
  )

  test("--store-server where something else listens: exit code 3, and nothing is started", async () => {
    const server = await startMongoServer()
    const { code, stderr } = await runCli("mqtt-broker", ["torture", "--store", server.url, "--store-server", "false"])
    expect([code, stderr]).toEqual([3, expect.stringContaining("something else listens at 127.0.0.1:")])
  })

  test("the server is killed in turn with the broker, which lives on", { timeout: LIMIT_MS }, async () => {
    const { command, url } = await mongoServerCommand()
    const { expected, signals, serverKills } = await torture(...FEW, "--rounds", "4", "--store", url, "--store-server", command)
    expect(expected).toBeGreaterThan(200)
    expect(signals).toBeGreaterThan(0)
    expect(serverKills).toBeGreaterThan(0)
  })

  test("the way to the server is cut again and again while commits are under way: all acknowledged, in order, once", async () => {
    const server = await startMongoServer()
    const proxy = await startCuttingProxy(server.port)
    const broker = await startBroker({ store: server.url.replace(String(server.port), String(proxy.port)) })
    await absent(broker.port, "s", "t")
    const cutting = new AbortController()
    const cuts = (async () => {
      for (let n = 0; !cutting.signal.aborted; n++) {
        await pause(20 + ((n * 37) % 150))
        proxy.cut()
      }
    })()
    const sent = await publishOneByOne(broker.port, 150)
    cutting.abort()
    await cuts
    expect(broker.running).toBe(true)
    expect(await drain(broker.port, "s")).toEqual(sent)
  })

  test("each answer of the server comes 100 ms later: fewer messages, the same promise", async () => {
    const server = await startMongoServer()
    const proxy = await startCuttingProxy(server.port, 100)
    const broker = await startBroker({ store: server.url.replace(String(server.port), String(proxy.port)), args: ["--lease", "2s"] })
    await absent(broker.port, "s", "t")
    const sent = await publishOneByOne(broker.port, 30)
    await broker.kill9()
    await broker.restart()
    expect(await drain(broker.port, "s")).toEqual(sent)
  })
})

/** Each in a commit of its own; resolves with the payloads when all are acknowledged. */
async function publishOneByOne(port: number, count: number): Promise<string[]> {
  const publisher = await Peer.connected(port, 4)
  const sent: string[] = []
  for (let n = 1; n <= count; n++) {
    publisher.send(publish(4, { topic: "t", qos: 1, packetId: n, payload: `${n}` }))
    expect(await publisher.next(30_000)).toEqual(puback(n))
    sent.push(`${n}`)
  }
  publisher.cut()
  return sent
}
