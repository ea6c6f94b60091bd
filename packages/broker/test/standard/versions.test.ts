import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { hex, properties, puback, publish, sessionExpiry } from "../support/wire.js"

const broker = await startBroker()
const BLOCK = properties([0x03], "text/plain", [0x26], "name", "value")

describe.each([0, 1] as const)("QoS %i", (qos) => {
  test("from 5.0 to 3.1.1: the properties stay behind [section 3.3]", async () => {
    const topic = randomId()
    const [old, publisher] = [await Peer.connected(broker.port, 4), await Peer.connected(broker.port, 5)]
    await old.subscribe([topic, 1])
    publisher.send(publish(5, { topic, qos, packetId: 4, properties: BLOCK, payload: "from 5" }))
    const bytes = await old.next()
    const packetId = qos ? bytes.readUInt16BE(4 + topic.length) : 0
    expect(bytes).toEqual(publish(4, { topic, qos, packetId, payload: "from 5" }))
  })

  test("from 3.1.1 to 5.0: without properties [section 3.3]", async () => {
    const topic = randomId()
    const [publisher, young] = [await Peer.connected(broker.port, 4), await Peer.connected(broker.port, 5)]
    await young.subscribe([topic, 1])
    publisher.send(publish(4, { topic, qos, packetId: 4, payload: "from 4" }))
    const bytes = await young.next()
    const packetId = qos ? bytes.readUInt16BE(4 + topic.length) : 0
    expect(bytes).toEqual(publish(5, { topic, qos, packetId, payload: "from 4" }))
  })
})

test.each([
  [4, 5],
  [5, 4],
] as const)("stored: published with version %i to a session of both, which comes back with version %i", async (from, to) => {
  const [topic, clientId] = [randomId(), randomId()]
  const fields = { clientId, clean: false, properties: properties(sessionExpiry(1000)) }
  const first = await Peer.connected(broker.port, from, fields)
  await first.subscribe([topic, 1])
  first.cut()
  const publisher = await Peer.connected(broker.port, from)
  for (const n of [1, 2, 3]) {
    publisher.send(publish(from, { topic, qos: 1, packetId: n, payload: `${n}`, properties: BLOCK }))
    expect((await publisher.next()).subarray(0, 4)).toEqual(puback(n))
  }
  const again = await Peer.connected(broker.port, to, fields)
  for (const n of [1, 2, 3]) {
    const message = await again.nextPublish()
    expect([message.topic, message.payload.toString(), message.properties.length]).toEqual([topic, `${n}`, 0])
    again.send(puback(message.packetId))
  }
  expect(await again.settled()).toEqual([])
})

test("PUBACK of 5.0 says when nobody subscribes: 0x10 [5.0 section 3.4.2.1]; 3.1.1 has no place for it", async () => {
  const [old, young] = [await Peer.connected(broker.port, 4), await Peer.connected(broker.port, 5)]
  young.send(publish(5, { topic: randomId(), qos: 1, packetId: 4 }))
  expect((await young.next()).subarray(2, 5)).toEqual(hex("0004 10"))
  old.send(publish(4, { topic: randomId(), qos: 1, packetId: 4 }))
  expect(await old.next()).toEqual(puback(4))
})
