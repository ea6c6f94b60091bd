import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import type { Publication } from "../support/read.js"
import { packet, properties, puback, publish, sessionExpiry, varint, word, type ConnectFields } from "../support/wire.js"

const broker = await startBroker()
const NO_LOCAL = 4
const SESSIONS: { name: string; fields: ConnectFields }[] = [
  { name: "clean", fields: {} },
  { name: "persistent", fields: { clean: false, properties: properties(sessionExpiry(1000)) } },
]

/** SUBSCRIBE with a Subscription Identifier (section 3.8.2.1.2). */
async function subscribeAs(peer: Peer, identifier: number, filter: string, options: number): Promise<void> {
  peer.send(packet(0x82, word(1), properties([0x0b], varint(identifier)), filter, [options]))
  expect((await peer.next())[0]).toBe(0x90)
}

function identifiers(message: Publication): string[] {
  return message.properties
    .filter(({ id }) => id === 0x0b)
    .map(({ value }) => value.toString("hex"))
    .toSorted((a, b) => a.localeCompare(b))
}

describe.each(SESSIONS)("$name session", ({ fields }) => {
  const join = async (version: 4 | 5 = 5): Promise<Peer> => Peer.connected(broker.port, version, { ...fields, clientId: randomId() })

  test("No Local: own messages do not come back, those of others do [MQTT-3.8.3-3]", async () => {
    const topic = randomId()
    const [peer, other] = [await join(), await join()]
    await peer.subscribe([topic, NO_LOCAL | 1])
    peer.send(publish(5, { topic, qos: 1, packetId: 1, payload: "own" }), publish(5, { topic, payload: "own" }))
    expect((await peer.next())[0]).toBe(0x40)
    expect(await peer.settled()).toEqual([])
    other.send(publish(5, { topic, qos: 1, packetId: 1, payload: "other" }))
    expect((await peer.nextPublish()).payload.toString()).toBe("other")
  })

  test("No Local of one subscription does not silence another of the same session", async () => {
    const topic = randomId()
    const peer = await join()
    await peer.subscribe([topic, NO_LOCAL | 1], ["+", 0])
    peer.send(publish(5, { topic, qos: 1, packetId: 1, payload: "own" }))
    const came = [await peer.next(), await peer.next(), ...(await peer.settled())]
    expect(new Set(came.map((one) => one[0]))).toEqual(new Set([0x40, 0x30]))
    expect(came).toHaveLength(2)
  })

  test("overlapping filters: one copy, at the highest granted QoS [MQTT-3.3.4-2]", async () => {
    const topic = randomId()
    const [peer, publisher] = [await join(), await join()]
    await peer.subscribe([`${topic}/a`, 0], [`${topic}/+`, 1], [`${topic}/#`, 0], [`+/a`, 1])
    publisher.send(publish(5, { topic: `${topic}/a`, qos: 1, packetId: 1 }))
    const message = await peer.nextPublish()
    expect(message.qos).toBe(1)
    await publisher.next()
    peer.send(puback(message.packetId))
    expect(await peer.settled()).toEqual([])
  })

  test("3.1.1: overlapping filters, one copy [MQTT-3.3.5-1]", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, 4, { ...fields, clientId: randomId() })
    const publisher = await join(4)
    await peer.subscribe([`${topic}/a`, 1], [`${topic}/+`, 1], [`${topic}/#`, 1])
    publisher.send(publish(4, { topic: `${topic}/a`, qos: 1, packetId: 1 }))
    peer.send(puback((await peer.nextPublish()).packetId))
    expect(await peer.settled()).toEqual([])
  })

  test("overlapping filters keep the order of topics that only one of them matches", async () => {
    const topic = randomId()
    const [peer, publisher] = [await join(), await join()]
    await peer.subscribe([`${topic}/a`, 1], [`${topic}/#`, 1])
    for (let n = 1; n <= 200; n++)
      publisher.send(publish(5, { topic: `${topic}/${n % 3 === 0 ? "a" : "b"}`, qos: 1, packetId: n, payload: `${n}` }))
    for (let n = 1; n <= 200; n++) {
      const message = await peer.nextPublish()
      expect(Number(message.payload.toString())).toBe(n)
      peer.send(puback(message.packetId))
    }
    expect(await peer.settled()).toEqual([])
  })

  test.each([1, 127, 128, 268_435_455])("Subscription Identifier %i comes with each message [MQTT-3.3.4-3]", async (identifier) => {
    const topic = randomId()
    const [peer, publisher] = [await join(), await join()]
    await subscribeAs(peer, identifier, topic, 1)
    publisher.send(publish(5, { topic, qos: 1, packetId: 1 }), publish(5, { topic }))
    for (const message of [await peer.nextPublish(), await peer.nextPublish()])
      expect(identifiers(message)).toEqual([varint(identifier).toString("hex")])
  })

  test("overlapping filters: the identifiers of all that have one [MQTT-3.3.4-4]", async () => {
    const topic = randomId()
    const [peer, publisher] = [await join(), await join()]
    await subscribeAs(peer, 5, `${topic}/a`, 1)
    await subscribeAs(peer, 6, `${topic}/#`, 0)
    await peer.subscribe([`${topic}/+`, 1])
    publisher.send(publish(5, { topic: `${topic}/a`, qos: 1, packetId: 1 }))
    expect(identifiers(await peer.nextPublish())).toEqual(["05", "06"])
  })

  test("a second SUBSCRIBE without an identifier takes it away [MQTT-3.8.4-3]", async () => {
    const topic = randomId()
    const [peer, publisher] = [await join(), await join()]
    await subscribeAs(peer, 5, topic, 1)
    await peer.subscribe([topic, 1])
    publisher.send(publish(5, { topic, qos: 1, packetId: 1 }))
    expect(identifiers(await peer.nextPublish())).toEqual([])
  })

  test("Retain As Published keeps the RETAIN flag as it was sent [MQTT-3.3.1-13]", async () => {
    const topic = randomId()
    const [peer, publisher] = [await join(), await join(4)]
    await peer.subscribe([topic, 8 | 1])
    publisher.send(publish(4, { topic, qos: 1, packetId: 1, retain: true }), publish(4, { topic, qos: 1, packetId: 2 }))
    expect(await peer.nextPublish()).toMatchObject({ retain: true })
    expect(await peer.nextPublish()).toMatchObject({ retain: false })
  })
})

test("stored messages bring the identifiers, also after a restart of the broker", async () => {
  const own = await startBroker()
  const fields = { clientId: "s", clean: false, properties: properties(sessionExpiry(1000)) }
  const first = await Peer.connected(own.port, 5, fields)
  await subscribeAs(first, 9, "a/+", 1)
  await subscribeAs(first, 300, "a/b", 1)
  first.cut()
  const publisher = await Peer.connected(own.port, 4)
  publisher.send(publish(4, { topic: "a/b", qos: 1, packetId: 1 }), publish(4, { topic: "a/c", qos: 1, packetId: 2 }))
  expect([await publisher.next(), await publisher.next()]).toEqual([puback(1), puback(2)])
  await own.kill9()
  await own.restart()
  const again = await Peer.connected(own.port, 5, fields)
  expect(identifiers(await again.nextPublish())).toEqual(["09", varint(300).toString("hex")])
  expect(identifiers(await again.nextPublish())).toEqual(["09"])
  expect(await again.settled()).toEqual([])
})

test("No Local holds for what waits while the session is away, and after a restart", async () => {
  const own = await startBroker()
  const fields = { clientId: "s", clean: false, properties: properties(sessionExpiry(1000)) }
  const first = await Peer.connected(own.port, 5, fields)
  await first.subscribe(["a", NO_LOCAL | 1])
  first.send(publish(5, { topic: "a", qos: 1, packetId: 1, payload: "own" }))
  expect((await first.next())[0]).toBe(0x40)
  first.cut()
  const other = await Peer.connected(own.port, 5)
  other.send(publish(5, { topic: "a", qos: 1, packetId: 1, payload: "other" }))
  expect((await other.next())[0]).toBe(0x40)
  await own.stop()
  await own.restart()
  const again = await Peer.connected(own.port, 5, fields)
  const message = await again.nextPublish()
  expect(message.payload.toString()).toBe("other")
  again.send(puback(message.packetId), publish(5, { topic: "a", qos: 1, packetId: 2, payload: "own again" }))
  expect((await again.next())[0]).toBe(0x40)
  expect(await again.settled()).toEqual([])
})
