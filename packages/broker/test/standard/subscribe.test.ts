import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { hex, packet, properties, publish, subscribe, word } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })

const VERSIONS = [4, 5] as const

describe.each(VERSIONS)("version %i", (version) => {
  test("SUBACK carries the Packet Identifier of its SUBSCRIBE [MQTT-3.8.4-2]", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(subscribe(version, 0x1234, [randomId(), 1]))
    const suback = version === 5 ? hex("90 04 1234 00 01") : hex("90 03 1234 01")
    expect(await peer.next()).toEqual(suback)
  })

  test("a code for each filter, in their order [MQTT-3.8.4-5, 3.9.3-1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    expect(await peer.subscribe(["a", 0], ["b", 1], ["c", 0], ["d/+", 1], ["#", 0])).toEqual([0, 1, 0, 1, 0])
  })

  test("numeric filters keep their order: the codes belong to x, 7, 3 [MQTT-3.8.4-5]", async () => {
    const peer = await Peer.connected(broker.port, version)
    expect(await peer.subscribe(["x", 0], ["7", 1], ["3", 0])).toEqual([0, 1, 0])
    peer.send(publish(version, { topic: "7", qos: 1, packetId: 5 }))
    expect(await peer.nextPublish()).toMatchObject({ topic: "7", qos: 1 })
  })

  test("the same filter twice in one packet: two codes, the last one holds [MQTT-3.8.4-3]", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, version)
    expect(await peer.subscribe([topic, 1], [topic, 0])).toEqual([1, 0])
    const publisher = await Peer.connected(broker.port, version)
    publisher.send(publish(version, { topic, qos: 1, packetId: 5 }))
    expect(await peer.nextPublish()).toMatchObject({ topic, qos: 0 })
    expect(await peer.settled()).toEqual([])
  })

  test.each(["__proto__", "constructor", "toString", "7", "$own", "/", "//", "a//b", "+", "+/+", "a/+/#"])(
    "the filter %s is granted and works [section 4.7]",
    async (filter) => {
      const peer = await Peer.connected(broker.port, version)
      expect(await peer.subscribe([filter, 1])).toEqual([1])
      const topic = filter.replaceAll("+", "any").replaceAll("#", "rest/of/it")
      const publisher = await Peer.connected(broker.port, version)
      publisher.send(publish(version, { topic, qos: 1, packetId: 9 }))
      expect(await peer.nextPublish()).toMatchObject({ topic, qos: 1 })
    },
  )

  test("a filter of 65,535 bytes with 90 levels is granted", async () => {
    const level = "x".repeat(727)
    const filter = `${`${level}/`.repeat(89)}y`.padEnd(65_535, "z")
    const peer = await Peer.connected(broker.port, version)
    expect(await peer.subscribe([filter, 1])).toEqual([1])
  })

  test("topics that begin with $ are not for # and + [MQTT-4.7.2-1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    const own = `$${randomId()}`
    await peer.subscribe(["#", 1], ["+/x", 1])
    peer.send(publish(version, { topic: `${own}/x` }))
    expect(await peer.settled()).toEqual([])
    await peer.subscribe([`${own}/#`, 0])
    peer.send(publish(version, { topic: `${own}/x` }))
    expect(await peer.nextPublish()).toMatchObject({ topic: `${own}/x` })
  })

  test.each([
    ["no filter [MQTT-3.8.3-2]", packet(0x82, word(1), version === 5 ? [0] : [])],
    ["Packet Identifier 0 [MQTT-2.2.1-3]", subscribe(version, 0, ["a", 0])],
    ["first byte 0x80 [MQTT-3.8.1-1]", packet(0x80, word(1), version === 5 ? [0] : [], "a", [0])],
    ["QoS 3 [MQTT-3.8.3-4]", subscribe(version, 1, ["a", 3])],
    ["reserved option bits [MQTT-3.8.3-5]", subscribe(version, 1, ["a", 0x80])],
    ["an empty filter [MQTT-4.7.3-1]", subscribe(version, 1, ["", 0])],
    ["# in the middle [MQTT-4.7.1-1]", subscribe(version, 1, ["a/#/b", 0])],
    ["# beside letters [MQTT-4.7.1-1]", subscribe(version, 1, ["a#", 0])],
    ["+ beside letters [MQTT-4.7.1-2]", subscribe(version, 1, ["a+/b", 0])],
    ["U+0000 in a filter [MQTT-4.7.3-2]", subscribe(version, 1, ["a\0b", 0])],
    ["a filter that is not UTF-8 [MQTT-1.5.4-1]", packet(0x82, word(1), version === 5 ? [0] : [], word(2), hex("c3 28"), [0])],
    ["a filter that reaches past the end", packet(0x82, word(1), version === 5 ? [0] : [], word(200), hex("61"), [0])],
  ])("%s: the connection ends, without a SUBACK", async (_, bytes) => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(bytes)
    const came = await peer.ended()
    expect(came.map((one) => one[0])).toEqual(version === 5 ? [0xe0] : [])
  })
})

test("a change of QoS by a second SUBSCRIBE replaces the first [MQTT-3.8.4-3]", async () => {
  const topic = randomId()
  const peer = await Peer.connected(broker.port, 4)
  expect(await peer.subscribe([topic, 0])).toEqual([0])
  expect(await peer.subscribe([topic, 1])).toEqual([1])
  const publisher = await Peer.connected(broker.port, 4)
  publisher.send(publish(4, { topic, qos: 1, packetId: 5 }))
  expect(await peer.nextPublish()).toMatchObject({ topic, qos: 1 })
  expect(await peer.settled()).toEqual([])
})

test.each([
  ["No Local on a Shared Subscription [MQTT-3.8.3-4]", subscribe(5, 1, ["$share/g/a", 4])],
  ["Retain Handling 3 [5.0 section 3.8.3.1]", subscribe(5, 1, ["a", 0x30])],
  ["Subscription Identifier 0 [5.0 section 3.8.2.1.2]", packet(0x82, word(1), properties([0x0b, 0]), "a", [0])],
  ["two Subscription Identifiers [5.0 section 3.8.2.1.2]", packet(0x82, word(1), properties([0x0b, 1, 0x0b, 2]), "a", [0])],
])("version 5: %s is a Protocol Error: DISCONNECT 0x82", async (_, bytes) => {
  const peer = await Peer.connected(broker.port, 5)
  peer.send(bytes)
  const [disconnect] = await peer.ended()
  expect(disconnect?.[2]).toBe(0x82)
})
