import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import type { Property } from "../support/read.js"
import { heir, mortal } from "../support/will.js"
import { hex, long, packet, properties, puback, publish, sessionExpiry, word, type Part, type Will } from "../support/wire.js"

const broker = await startBroker()

/** Every property that a receiver gets as it was sent (MQTT 5.0 section 3.3.2.3), in an order of its own. */
const CARRIED: Property[] = [
  { id: 0x26, value: hex("0001 62 0001 31") },
  { id: 0x03, value: hex("000a 746578742f706c61696e") },
  { id: 0x01, value: hex("01") },
  { id: 0x26, value: hex("0001 61 0002 c3a9") },
  { id: 0x08, value: hex("0006 616e73776572") },
  { id: 0x26, value: hex("0001 62 0000") },
  { id: 0x26, value: hex("0009 5f5f70726f746f5f5f 0001 31") },
  { id: 0x26, value: hex("0001 32 0001 78") },
  { id: 0x26, value: hex("0001 31 0001 79") },
  { id: 0x26, value: hex("0000 0000") },
  { id: 0x09, value: hex("0004 00ff0010") },
]

const parts = (list: Property[]): Part[] => list.flatMap(({ id, value }) => [[id], value])
const BLOCK = properties(...parts(CARRIED))

function session(clientId: string): { clientId: string; clean: boolean; properties: Buffer } {
  return { clientId, clean: false, properties: properties(sessionExpiry(1000)) }
}

describe("the properties of a PUBLISH come as they were sent, User Properties in their order [MQTT-3.3.2-15 to -20]", () => {
  test.each([0, 1] as const)("live, QoS %i", async (qos) => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, 5)
    await peer.subscribe([topic, 1])
    const publisher = await Peer.connected(broker.port, 5)
    publisher.send(publish(5, { topic, qos, packetId: 3, properties: BLOCK, payload: "x" }))
    const message = await peer.nextPublish()
    expect(message.properties).toEqual(CARRIED)
    expect(message.payload.toString()).toBe("x")
  })

  test("stored, after the subscriber was away", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const first = await Peer.connected(broker.port, 5, session(clientId))
    await first.subscribe([topic, 1])
    first.cut()
    const publisher = await Peer.connected(broker.port, 5)
    publisher.send(publish(5, { topic, qos: 1, packetId: 3, properties: BLOCK, payload: "x" }))
    await publisher.next()
    const again = await Peer.connected(broker.port, 5, session(clientId))
    expect((await again.nextPublish()).properties).toEqual(CARRIED)
  })

  test("stored, after kill -9 of the broker", async () => {
    const own = await startBroker()
    const first = await Peer.connected(own.port, 5, session("s"))
    await first.subscribe(["x", 1])
    first.cut()
    const publisher = await Peer.connected(own.port, 5)
    publisher.send(publish(5, { topic: "x", qos: 1, packetId: 3, properties: BLOCK }))
    expect(await publisher.next()).toEqual(puback(3))
    await own.kill9()
    await own.restart()
    const again = await Peer.connected(own.port, 5, session("s"))
    expect((await again.nextPublish()).properties).toEqual(CARRIED)
  })

  test("a payload of any bytes", async () => {
    const topic = randomId()
    const payload = Buffer.from(Array.from({ length: 70_000 }, (_, n) => (n * 7) & 255))
    const peer = await Peer.connected(broker.port, 5)
    await peer.subscribe([topic, 1])
    peer.send(publish(5, { topic, qos: 1, packetId: 3, payload }))
    const message = [await peer.next(), await peer.next()].find((one) => one[0] === 0x32)
    expect(message?.subarray(-payload.length).equals(payload)).toBe(true)
  })
})

describe("so do those of a Will, without its Will Delay Interval [MQTT-3.1.3-10]", () => {
  const half = Math.floor(CARRIED.length / 2)
  const block = (delay: number): Buffer =>
    properties(...parts(CARRIED.slice(0, half)), [0x18, ...long(delay)], ...parts(CARRIED.slice(half)))
  const will = (topic: string, qos: 0 | 1 | 2, delay = 0): Will => ({ topic, payload: "x", qos, properties: block(delay) })

  test.each([0, 1, 2] as const)("live, QoS %i", async (qos) => {
    const topic = randomId()
    const peer = await heir(topic, broker.port)
    const gone = await mortal(5, will(topic, qos), {}, broker.port)
    gone.cut()
    expect((await peer.nextPublish()).properties).toEqual(CARRIED)
  })

  test("queued for a session that is away, and retained", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const first = await Peer.connected(broker.port, 5, session(clientId))
    await first.subscribe([topic, 1])
    first.send(hex("e0 00"))
    await first.ended()
    const gone = await mortal(5, { ...will(topic, 1), retain: true }, {}, broker.port)
    const peer = await heir(topic, broker.port)
    gone.cut()
    await peer.nextPublish()
    const again = await Peer.connected(broker.port, 5, session(clientId))
    expect((await again.nextPublish()).properties).toEqual(CARRIED)
    expect((await (await heir(topic, broker.port)).nextPublish()).properties).toEqual(CARRIED)
  })

  test("after kill -9 of the broker", async () => {
    const own = await startBroker()
    const first = await Peer.connected(own.port, 5, session("s"))
    await first.subscribe(["x", 1])
    await mortal(5, will("x", 1, 1), session("mortal"), own.port)
    await own.kill9()
    await own.restart()
    const again = await Peer.connected(own.port, 5, session("s"))
    expect((await again.nextPublish()).properties).toEqual(CARRIED)
  })
})

function expiry(seconds: number): Buffer {
  return properties([0x02, ...word(0), ...word(seconds)])
}

describe("Message Expiry Interval [5.0 section 3.3.2.3.3]", () => {
  test("live: what arrives is what was sent", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, 5)
    await peer.subscribe([topic, 0])
    peer.send(publish(5, { topic, properties: expiry(100) }))
    expect((await peer.nextPublish()).properties).toEqual([{ id: 2, value: hex("00000064") }])
  })

  test("stored: reduced by the time that it waited, and dropped when that was too long [MQTT-3.3.2-5, -6]", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const first = await Peer.connected(broker.port, 5, session(clientId))
    await first.subscribe([topic, 1])
    first.cut()
    const publisher = await Peer.connected(broker.port, 5)
    publisher.send(
      publish(5, { topic, qos: 1, packetId: 1, properties: expiry(1), payload: "short" }),
      publish(5, { topic, qos: 1, packetId: 2, properties: expiry(1000), payload: "long" }),
      publish(5, { topic, qos: 1, packetId: 3, payload: "for ever" }),
    )
    const timed = await Peer.connected(broker.port, 4, { keepAlive: 1 })
    await timed.ended()
    await (await Peer.connected(broker.port, 4, { keepAlive: 1 })).ended()
    const again = await Peer.connected(broker.port, 5, session(clientId))
    const long = await again.nextPublish()
    expect(long.payload.toString()).toBe("long")
    const left = long.properties[0]?.value.readUInt32BE(0) ?? 0
    expect(left).toBeGreaterThan(980)
    expect(left).toBeLessThan(999)
    expect((await again.nextPublish()).payload.toString()).toBe("for ever")
  })
})

test.each([
  ["Topic Alias above the maximum of 0: 0x94 [MQTT-3.3.2-9]", publish(5, { topic: "a", properties: properties([0x23, 0, 1]) }), 0x94],
  ["Topic Alias 0: 0x94 [MQTT-3.3.2-8]", publish(5, { topic: "a", properties: properties([0x23, 0, 0]) }), 0x94],
  ["an empty Topic Name without a Topic Alias: 0x82 [5.0 section 3.3.2.1]", publish(5, { topic: "" }), 0x82],
  ["a wildcard in the Topic Name: 0x90 [MQTT-3.3.2-2]", publish(5, { topic: "a/+" }), 0x90],
  ["Packet Identifier 0: 0x81 [MQTT-2.2.1-2]", publish(5, { topic: "a", qos: 1, packetId: 0 }), 0x81],
  ["QoS 3: 0x81 [MQTT-3.3.1-4]", packet(0x36, "a", word(1), [0]), 0x81],
  ["DUP at QoS 0: 0x81 [MQTT-3.3.1-2]", publish(5, { topic: "a", dup: true }), 0x81],
  ["a Topic Name that is not UTF-8: 0x81 [MQTT-1.5.4-1]", packet(0x30, word(2), hex("c328"), [0]), 0x81],
  ["U+0000 in the Topic Name: 0x81 [MQTT-1.5.4-2]", publish(5, { topic: "a\0" }), 0x81],
  ["a Subscription Identifier from a client: 0x82 [MQTT-3.3.4-6]", publish(5, { topic: "a", properties: properties([0x0b, 1]) }), 0x82],
  ["a property that belongs elsewhere: 0x81 [5.0 section 2.2.2.2]", publish(5, { topic: "a", properties: properties([0x21, 0, 1]) }), 0x81],
  ["Payload Format Indicator 2: 0x82", publish(5, { topic: "a", properties: properties([0x01, 2]) }), 0x82],
  ["Content Type twice: 0x82 [5.0 section 3.3.2.3.9]", publish(5, { topic: "a", properties: properties([3], "x", [3], "x") }), 0x82],
  ["a wildcard in the Response Topic: 0x82 [MQTT-3.3.2-14]", publish(5, { topic: "a", properties: properties([8], "a/#") }), 0x82],
  ["a property length past the end: 0x81", packet(0x30, "a", [50], hex("0100")), 0x81],
  ["a packet above the Maximum Packet Size: 0x95 [5.0 section 3.2.2.3.6]", hex("30 80 80 80 01"), 0x95],
])("%s", async (_name, bytes, reason) => {
  const peer = await Peer.connected(broker.port, 5)
  peer.send(bytes)
  expect((await peer.ended()).map((one) => [one[0], one[2]])).toEqual([[0xe0, reason]])
})
