import { join } from "node:path"
import { checkNumbers } from "@mqtt-trio/torture"
import { randomId, spawnCli, startBroker, temporaryFolder, type RunningProcess } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { properties, puback, publish, sessionExpiry } from "../support/wire.js"

const MOST = 60_000
const SESSION = { clientId: "away", clean: false, properties: properties(sessionExpiry(1000)) }

/** Publishes as fast as the window of 100 allows until the connection ends; returns the numbers that were acknowledged. */
async function publishUntilEnd(port: number): Promise<Set<number>> {
  const publisher = await Peer.connected(port, 4)
  const acknowledged = new Set<number>()
  const send = (n: number): void => publisher.send(publish(4, { topic: "x", qos: 1, packetId: n, payload: `${n}` }))
  for (let n = 1; n <= 100; n++) send(n)
  for (let n = 101; ; n++) {
    const packet = await publisher.next().catch(() => null)
    if (!packet) return acknowledged
    if (packet[0] === 0x40) acknowledged.add(packet.readUInt16BE(2))
    if (n <= MOST) send(n)
  }
}

/** The numbers that the session gets when it comes back, in the order of their coming. */
async function collect(port: number): Promise<number[]> {
  const peer = await Peer.connected(port, 5, SESSION)
  const publisher = await Peer.connected(port, 5)
  publisher.send(publish(5, { topic: "x", qos: 1, packetId: 1, payload: "last" }))
  const numbers: number[] = []
  for (;;) {
    const { payload, packetId } = await peer.nextPublish()
    peer.send(puback(packetId))
    if (payload.toString() === "last") break
    numbers.push(Number(payload.toString()))
  }
  await peer.settled()
  peer.cut()
  return numbers
}

async function addSession(port: number): Promise<void> {
  const peer = await Peer.connected(port, 5, SESSION)
  await peer.subscribe(["x", 1])
  peer.cut()
}

describe.each(["SIGTERM", "SIGINT"] as const)("%s while messages are published", (signal) => {
  test("nothing acknowledged is lost, the order is kept, exit code 0", async () => {
    const store = `file:${join(temporaryFolder(), "store")}`
    const start = async (): Promise<[RunningProcess, number]> => {
      const running = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", store])
      return [running, Number(/:(\d+) /.exec(await running.waitForLine("ready"))?.[1])]
    }
    const [first, port] = await start()
    await addSession(port)
    const publishing = publishUntilEnd(port)
    const watcher = await Peer.connected(port, 4)
    await watcher.subscribe(["x", 0])
    for (let n = 0; n < 1500; n++) await watcher.next()
    expect(await first.stop(signal)).toEqual({ code: 0, signal: null })
    const acknowledged = await publishing
    const [, again] = await start()
    const received = await collect(again)
    expect(acknowledged.size).toBeGreaterThan(1000)
    expect(checkNumbers({ qos: 1, published: MOST, acknowledged, received })).toMatchObject({ clean: true, repeats: 0 })
  })
})

test("kill -9 while messages are published: nothing acknowledged is lost, the order is kept", async () => {
  const broker = await startBroker()
  await addSession(broker.port)
  for (let round = 0; round < 3; round++) {
    const publishing = publishUntilEnd(broker.port)
    const watcher = await Peer.connected(broker.port, 4)
    await watcher.subscribe(["x", 0])
    for (let n = 0; n < 1000; n++) await watcher.next()
    await broker.kill9()
    const acknowledged = await publishing
    await broker.restart()
    const received = await collect(broker.port)
    expect(checkNumbers({ qos: 1, published: MOST, acknowledged, received })).toMatchObject({ clean: true, repeats: 0 })
  }
})

test.each(["SIGTERM", "SIGINT"] as const)("%s: clients of 5.0 hear it, DISCONNECT 0x8B [5.0 section 3.14.2.1]", async (signal) => {
  const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", "memory:"])
  const port = Number(/:(\d+) /.exec(await broker.waitForLine("ready"))?.[1])
  const [young, old] = [await Peer.connected(port, 5), await Peer.connected(port, 4)]
  expect(await broker.stop(signal)).toEqual({ code: 0, signal: null })
  expect((await young.ended()).map((one) => [one[0], one[2]])).toEqual([[0xe0, 0x8b]])
  expect(await old.ended()).toEqual([])
})

test("a client that reads nothing does not keep the broker from stopping", async () => {
  const broker = await startBroker({ store: "memory:" })
  const frozen = await Peer.connected(broker.port, 4)
  await frozen.subscribe(["x", 0])
  frozen.socket.pause()
  const publisher = await Peer.connected(broker.port, 4)
  for (let n = 0; n < 200; n++) publisher.send(publish(4, { topic: "x", payload: Buffer.alloc(100_000) }))
  await publisher.settled()
  const start = performance.now()
  expect(await broker.stop()).toBe(0)
  expect(performance.now() - start).toBeLessThan(8000)
})

test("subscriptions and sessions of both kinds are there after a stop, a kill -9 and a start", async () => {
  const broker = await startBroker()
  const topic = randomId()
  for (const clientId of ["a", "b"]) {
    const peer = await Peer.connected(broker.port, 4, { clientId, clean: clientId === "b" })
    await peer.subscribe([topic, 1])
  }
  await broker.kill9()
  await broker.restart()
  const publisher = await Peer.connected(broker.port, 5)
  publisher.send(publish(5, { topic, qos: 1, packetId: 1, payload: "1" }))
  expect(await publisher.next()).toEqual(puback(1))
  const [kept, connack] = await Peer.greeted(broker.port, 4, { clientId: "a", clean: false })
  expect(connack[2]).toBe(1)
  expect((await kept.nextPublish()).topic).toBe(topic)
  const [, fresh] = await Peer.greeted(broker.port, 4, { clientId: "b", clean: false })
  expect(fresh[2]).toBe(0)
})
