import { startBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { lasting, range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readCodes, readConnack, readPublish } from "../support/read.js"
import { fullConnect } from "../support/will.js"
import { connect, DISCONNECT, hex, packet, properties, publish, puback, subscribe, word, type ConnectFields } from "../support/wire.js"

/** The CONNACK that refuses a CONNECT: 5.0 says why, 3.1.1 has only "server unavailable". */
async function refusal(port: number, version: 4 | 5, fields: ConnectFields = {}): Promise<number> {
  const peer = new Peer(port, version)
  peer.send(connect(version, fields))
  const [connack, ...more] = await peer.ended()
  expect(more).toEqual([])
  if (!connack) throw new Error("no CONNACK")
  return version === 5 ? readConnack(connack).reason : (connack[3] ?? -1)
}

const QUOTA = { 4: 3, 5: 0x97 } as const

describe.each([4, 5] as const)("version %i", (version) => {
  test("--max-connections: the next is refused, a takeover is not, a place that gets free is", async () => {
    const broker = await startBroker({ store: "memory:", args: ["--max-connections", "3"] })
    const peers = await Promise.all(range(1, 3).map(async (n) => Peer.connected(broker.port, version, { clientId: `c${n}` })))
    expect(await refusal(broker.port, version, { clientId: "c4" })).toBe(QUOTA[version])
    await Peer.connected(broker.port, version, { clientId: "c1" })
    for (const peer of peers.slice(1)) expect(await peer.settled()).toEqual([])
    peers[1]?.send(DISCONNECT)
    await peers[1]?.ended()
    await Peer.connected(broker.port, version, { clientId: "c4" })
  })

  test("--max-sessions: another identifier is refused, the known ones are not, one that is discarded makes room", async () => {
    const broker = await startBroker({ args: ["--max-sessions", "2"] })
    for (const clientId of ["a", "b"]) (await Peer.connected(broker.port, version, lasting(clientId))).cut()
    expect(await refusal(broker.port, version, lasting("c"))).toBe(QUOTA[version])
    await broker.kill9()
    await broker.restart()
    expect(await refusal(broker.port, version, { clientId: "c" })).toBe(QUOTA[version])
    const known = await Peer.connected(broker.port, version, { clientId: "a", clean: true })
    known.send(DISCONNECT)
    await known.ended()
    await Peer.connected(broker.port, version, lasting("c"))
  })

  test("--max-subscriptions: one filter too many is denied, the others hold; replacing one is no new one", async () => {
    const broker = await startBroker({ store: "memory:", args: ["--max-subscriptions", "2"] })
    const peer = await Peer.connected(broker.port, version, lasting("s"))
    const denied = version === 5 ? 0x97 : 0x80
    expect(await peer.subscribe(["a", 1], ["b", 0])).toEqual([1, 0])
    expect(await peer.subscribe(["c", 1], ["b", 2])).toEqual([denied, 2])
    for (const [n, topic] of ["a", "b", "c"].entries()) peer.send(publish(version, { topic, qos: 1, packetId: n + 1, payload: "x" }))
    const topics: string[] = []
    for (let acknowledged = 0; acknowledged < 3 || topics.length < 2;) {
      const bytes = await peer.next()
      if (bytes[0] === 0x40) acknowledged++
      else topics.push(readPublish(bytes, version).topic)
    }
    expect(topics).toEqual(["a", "b"])
    peer.send(packet(0xa2, word(9), version === 5 ? [0] : [], "a"))
    expect((await peer.next())[0]).toBe(0xb0)
    expect(await peer.subscribe(["c", 1])).toEqual([1])
  })

  test("--max-topic-levels: topics, filters and Will Topics", async () => {
    const broker = await startBroker({ store: "memory:", args: ["--max-topic-levels", "4"] })
    const deep = "a/b/c/d/e"
    const peer = await Peer.connected(broker.port, version)
    expect(await peer.subscribe(["a/b/c/d", 0], ["a/b/c/#", 0], ["+/+/+/+", 0])).toEqual([0, 0, 0])
    peer.send(publish(version, { topic: "a/b/c/d", payload: "x" }))
    expect((await peer.nextPublish()).topic).toBe("a/b/c/d")
    for (const [reason, bytes] of [
      [0x90, publish(version, { topic: deep })],
      [0x8f, subscribe(version, 1, [deep, 0])],
      [0x8f, packet(0xa2, word(1), version === 5 ? [0] : [], deep)],
    ] as const) {
      const wrong = await Peer.connected(broker.port, version)
      wrong.send(bytes)
      expect(await wrong.ended()).toEqual(version === 5 ? [hex(`e0 02 ${reason.toString(16)} 00`)] : [])
    }
    const mortal = new Peer(broker.port, version)
    mortal.send(fullConnect(version, { clientId: "w", will: { topic: deep, payload: "x" } }))
    expect((await mortal.ended()).map((connack) => connack[0])).toEqual(version === 5 ? [0x20] : [])
  })

  test("--max-packet: the largest packet passes, one byte more is 0x95", async () => {
    const broker = await startBroker({ store: "memory:", args: ["--max-packet", "4KB"] })
    const peer = await Peer.connected(broker.port, version)
    const overhead = publish(version, { topic: "t", qos: 1, packetId: 1, payload: Buffer.alloc(2000) }).length - 2000
    peer.send(publish(version, { topic: "t", qos: 1, packetId: 1, payload: Buffer.alloc(4096 - overhead) }))
    expect((await peer.next()).subarray(2, 4)).toEqual(puback(1).subarray(2))
    peer.send(publish(version, { topic: "t", qos: 1, packetId: 2, payload: Buffer.alloc(4097 - overhead) }))
    expect(await peer.ended()).toEqual(version === 5 ? [hex("e0 02 95 00")] : [])
  })

  test("a first packet of more than 64 kB is refused whatever --max-packet says", async () => {
    const broker = await startBroker({ store: "memory:" })
    const peer = new Peer(broker.port, version)
    peer.send(fullConnect(version, { clientId: "big", will: { topic: "w", payload: "x".repeat(65_500) }, userName: "u".repeat(500) }))
    expect(await peer.ended()).toEqual([])
    await waitFor(() => broker.stderr.includes("the limit is 65536"), { what: "the log's line" })
    const small = await Peer.connected(broker.port, version)
    small.send(publish(version, { topic: "t", qos: 1, packetId: 1, payload: Buffer.alloc(500_000) }))
    expect((await small.next())[0]).toBe(0x40)
  })
})

test("--connect-timeout: who says nothing, or half of it, is closed; who is connected stays", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--connect-timeout", "1s"] })
  const peer = await Peer.connected(broker.port, 4)
  const [silent, half] = [new Peer(broker.port, 4), new Peer(broker.port, 4)]
  half.send(hex("10 20 0004 4d51"))
  const start = performance.now()
  await Promise.all([silent.ended(), half.ended()])
  expect(performance.now() - start).toBeGreaterThan(900)
  expect(performance.now() - start).toBeLessThan(5000)
  expect(await peer.settled()).toEqual([])
})

test("10,000 subscriptions by default", async () => {
  const broker = await startBroker({ store: "memory:" })
  const peer = await Peer.connected(broker.port, 5)
  peer.send(subscribe(5, 1, ...range(1, 10_000).map((n): [string, number] => [`f/${n}`, 0])))
  expect(new Set(readCodes(await peer.next(), 5).codes)).toEqual(new Set([0]))
  expect(await peer.subscribe(["one more", 0])).toEqual([0x97])
  peer.send(publish(5, { topic: "f/10000", payload: "x" }))
  await waitFor(async () => (await peer.settled()).length === 1, { what: "the message of the last filter" })
})

test("5.0: CONNACK announces the Maximum Packet Size; a client's own is kept, larger messages are dropped for it alone [MQTT-3.1.2-24, -25]", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--max-packet", "4KB"] })
  const [small, connack] = await Peer.greeted(broker.port, 5, { properties: properties([0x27, 0, 0, 0, 100]) })
  expect(
    readConnack(connack)
      .properties.find(({ id }) => id === 0x27)
      ?.value.readUInt32BE(0),
  ).toBe(4096)
  const other = await Peer.connected(broker.port, 5)
  for (const peer of [small, other]) await peer.subscribe(["t", 1])
  const publisher = await Peer.connected(broker.port, 5)
  for (const [n, size] of [200, 10].entries())
    publisher.send(publish(5, { topic: "t", qos: 1, packetId: n + 1, payload: "x".repeat(size) }))
  expect((await small.nextPublish()).payload).toHaveLength(10)
  expect((await other.nextPublish()).payload).toHaveLength(200)
  expect((await other.nextPublish()).payload).toHaveLength(10)
  expect(await small.settled()).toEqual([])
})
