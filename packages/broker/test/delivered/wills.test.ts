import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { complete, lasting } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { heir as heirAt, mortal as mortalAt, nothingBut as nothingButAt, type FullConnect } from "../support/will.js"
import { connect, DISCONNECT, hex, long, packet, properties, publish, puback, sessionExpiry, type Will } from "../support/wire.js"

const broker = await startBroker()
const QOS = [0, 1, 2] as const
const WITH_WILL = hex("e0 02 04 00")

const keep = (clientId: string, seconds = 1000): FullConnect => ({ clientId, clean: false, properties: properties(sessionExpiry(seconds)) })
const mortal = (version: 4 | 5, will: Will, more: Partial<FullConnect> = {}): Promise<Peer> => mortalAt(version, will, more, broker.port)
const heir = (topic: string): Promise<Peer> => heirAt(topic, broker.port)
const nothingBut = (marker: string, peer: Peer, topic: string): Promise<void> => nothingButAt(marker, peer, topic, broker.port)
const delay = (seconds: number): Buffer => properties([0x18, ...long(seconds)])

describe.each([4, 5] as const)("version %i", (version) => {
  test.each(QOS)("a lost connection: the Will is sent at QoS %i, once, without RETAIN [MQTT-3.1.2-8]", async (qos) => {
    const topic = randomId()
    const peer = await heir(topic)
    const gone = await mortal(version, { topic, payload: "will", qos })
    gone.cut()
    const message = await peer.nextPublish()
    expect(message).toMatchObject({ topic, qos, retain: false, dup: false, payload: Buffer.from("will") })
    await complete(peer, message)
    await nothingBut("after", peer, topic)
  })

  test("Keep Alive ran out [MQTT-3.1.2-8, -24]", async () => {
    const topic = randomId()
    const peer = await heir(topic)
    const silent = await mortal(version, { topic, payload: "will", qos: 1 }, { keepAlive: 1 })
    expect((await peer.nextPublish()).payload.toString()).toBe("will")
    expect(await silent.ended()).toEqual(version === 5 ? [hex("e0 02 8d 00")] : [])
  })

  test.each([
    ["the packet is malformed", hex("30 02 00 05")],
    ["a second CONNECT", connect(version)],
    ["a topic with a wildcard", publish(version, { topic: "a/#" })],
  ])("a protocol error: %s [MQTT-3.1.2-8]", async (_name, bytes) => {
    const topic = randomId()
    const peer = await heir(topic)
    const wrong = await mortal(version, { topic, payload: "will", qos: 1 })
    wrong.send(bytes)
    expect((await peer.nextPublish()).payload.toString()).toBe("will")
  })

  test.each([true, false])(
    "takeover, Clean Start %s: the Will of the old connection is sent, that of the new is kept [MQTT-3.1.2-8]",
    async (clean) => {
      const [topic, clientId] = [randomId(), randomId()]
      const peer = await heir(topic)
      await mortal(version, { topic, payload: "old", qos: 1 }, { ...lasting(clientId), clientId, clean })
      const young = await mortal(version, { topic, payload: "new", qos: 1 }, { ...lasting(clientId), clientId, clean })
      const message = await peer.nextPublish()
      expect(message.payload.toString()).toBe("old")
      await complete(peer, message)
      await nothingBut("between", peer, topic)
      young.cut()
      expect((await peer.nextPublish()).payload.toString()).toBe("new")
    },
  )

  test("takeover by a connection without a Will: the old one is sent, then none", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const peer = await heir(topic)
    await mortal(version, { topic, payload: "old", qos: 1 }, { clientId })
    const young = await Peer.connected(broker.port, version, { clientId })
    await complete(peer, await peer.nextPublish())
    young.cut()
    await nothingBut("after", peer, topic)
  })

  test("DISCONNECT removes the Will [MQTT-3.14.4-3]", async () => {
    const topic = randomId()
    const peer = await heir(topic)
    const gone = await mortal(version, { topic, payload: "will", qos: 1 })
    gone.send(DISCONNECT)
    await gone.ended()
    await nothingBut("after", peer, topic)
  })

  test("a retained Will is kept for those who come later [MQTT-3.1.2-17]", async () => {
    const topic = randomId()
    const peer = await heir(topic)
    const gone = await mortal(version, { topic, payload: "gone", qos: 1, retain: true })
    gone.cut()
    expect(await peer.nextPublish()).toMatchObject({ retain: false })
    expect(await (await heir(topic)).nextPublish()).toMatchObject({ retain: true, payload: Buffer.from("gone") })
  })

  test("an empty retained Will removes the retained message", async () => {
    const topic = randomId()
    const publisher = await Peer.connected(broker.port, 4)
    publisher.send(publish(4, { topic, payload: "here", qos: 1, packetId: 1, retain: true }))
    expect(await publisher.next()).toEqual(puback(1))
    const peer = await heir(topic)
    await complete(peer, await peer.nextPublish())
    const gone = await mortal(version, { topic, payload: "", qos: 1, retain: true })
    gone.cut()
    expect((await peer.nextPublish()).payload).toHaveLength(0)
    expect(await (await heir(topic)).settled()).toEqual([])
  })

  test("it comes behind what the connection published before it was lost", async () => {
    const topic = randomId()
    const peer = await heir(topic)
    const gone = await mortal(version, { topic, payload: "will", qos: 1 })
    for (let n = 1; n <= 50; n++) gone.send(publish(version, { topic, payload: `${n}`, qos: 1, packetId: n }))
    gone.send(hex("00 00"))
    for (let n = 1; n <= 50; n++) expect((await peer.nextPublish()).payload.toString()).toBe(`${n}`)
    expect((await peer.nextPublish()).payload.toString()).toBe("will")
  })
})

test.each([
  ["04, with Will Message", WITH_WILL],
  ["80", hex("e0 01 80")],
  ["98, with properties", hex("e0 02 98 00")],
])("5.0: only DISCONNECT 0x00 removes the Will; 0x%s sends it [MQTT-3.1.2-8, 3.1.2-10, 3.14.4-3]", async (_name, bytes) => {
  const topic = randomId()
  const peer = await heir(topic)
  const gone = await mortal(5, { topic, payload: "will", qos: 1 })
  gone.send(bytes)
  expect(await gone.ended()).toEqual([])
  expect((await peer.nextPublish()).payload.toString()).toBe("will")
})

test("5.0: the properties of the Will come with it, the Will Delay Interval does not [5.0 section 3.1.3.2]", async () => {
  const topic = randomId()
  const peer = await heir(topic)
  const block = properties([1, 1], [2, ...long(500)], [3], "text/plain", [8], "answers", [9], "id", [0x26], "k", "v", [0x18, ...long(0)])
  const gone = await mortal(5, { topic, payload: "will", qos: 1, properties: block })
  gone.cut()
  const { properties: came } = await peer.nextPublish()
  expect(came.map(({ id }) => id)).toEqual([1, 2, 3, 8, 9, 0x26])
  expect(came[1]?.value.readUInt32BE(0)).toBe(500)
  expect(came[5]?.value.toString()).toBe("\0\u0001k\0\u0001v")
})

describe("Will Delay Interval [5.0 section 3.1.3.2.2]", () => {
  test("back in the session in time: the Will is not sent [MQTT-3.1.3-9]", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const peer = await heir(topic)
    const gone = await mortal(5, { topic, payload: "will", qos: 1, properties: delay(1) }, keep(clientId))
    gone.cut()
    const back = await Peer.connected(broker.port, 5, keep(clientId))
    const late = await mortal(5, { topic: `${topic}/late`, payload: "", qos: 1, properties: delay(2) }, keep(randomId()))
    const clock = await heir(`${topic}/late`)
    late.cut()
    await clock.nextPublish()
    await nothingBut("after", peer, topic)
    back.cut()
    await nothingBut("after that", peer, topic)
  })

  test("sent when the interval is over, not before", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const peer = await heir(topic)
    const gone = await mortal(5, { topic, payload: "will", qos: 1, properties: delay(1) }, keep(clientId))
    const start = performance.now()
    gone.cut()
    await nothingBut("at once", peer, topic)
    expect((await peer.nextPublish()).payload.toString()).toBe("will")
    expect(performance.now() - start).toBeGreaterThan(950)
  })

  test.each([
    ["a session that ends with its connection", {}],
    ["a session that expires before", { clean: false, properties: properties(sessionExpiry(1)) }],
  ])("%s: sent when the session ends [MQTT-3.1.2-8]", async (_name, more) => {
    const topic = randomId()
    const peer = await heir(topic)
    const gone = await mortal(5, { topic, payload: "will", qos: 1, properties: delay(1000) }, more)
    gone.cut()
    expect((await peer.nextPublish()).payload.toString()).toBe("will")
  })

  test("Clean Start ends the session: sent at once", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const peer = await heir(topic)
    const gone = await mortal(5, { topic, payload: "will", qos: 1, properties: delay(1000) }, keep(clientId))
    gone.cut()
    await nothingBut("before", peer, topic)
    await Peer.connected(broker.port, 5, { clientId })
    expect((await peer.nextPublish()).payload.toString()).toBe("will")
  })

  test("takeover in the session: not sent; with Clean Start: sent at once [5.0 section 3.1.3.2.2]", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const peer = await heir(topic)
    await mortal(5, { topic, payload: "first", qos: 1, properties: delay(1000) }, keep(clientId))
    await mortal(5, { topic, payload: "second", qos: 1, properties: delay(1000) }, keep(clientId))
    await nothingBut("between", peer, topic)
    await Peer.connected(broker.port, 5, { clientId })
    const message = await peer.nextPublish()
    expect(message.payload.toString()).toBe("second")
    await complete(peer, message)
    await nothingBut("after", peer, topic)
  })

  test("Session Expiry Interval 0 in DISCONNECT 0x04: sent at once", async () => {
    const topic = randomId()
    const peer = await heir(topic)
    const gone = await mortal(5, { topic, payload: "will", qos: 1, properties: delay(1000) }, keep(randomId()))
    gone.send(packet(0xe0, [4], properties(sessionExpiry(0))))
    await gone.ended()
    expect((await peer.nextPublish()).payload.toString()).toBe("will")
  })
})
