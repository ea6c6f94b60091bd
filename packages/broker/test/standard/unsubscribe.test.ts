import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { hex, packet, properties, puback, publish, sessionExpiry, word, type Part } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })

function unsubscribe(version: 4 | 5, packetId: number, ...filters: Part[]): Buffer {
  return packet(0xa2, word(packetId), version === 5 ? [0] : [], ...filters)
}

describe.each([4, 5] as const)("version %i", (version) => {
  test("UNSUBACK carries the Packet Identifier [MQTT-3.10.4-4]", async () => {
    const peer = await Peer.connected(broker.port, version)
    await peer.subscribe(["a", 1])
    peer.send(unsubscribe(version, 0x0102, "a"))
    expect(await peer.next()).toEqual(version === 5 ? hex("b0 04 0102 00 00") : hex("b0 02 0102"))
  })

  test("messages stop, other subscriptions stay [MQTT-3.10.4-1]", async () => {
    const [gone, kept] = [randomId(), randomId()]
    const peer = await Peer.connected(broker.port, version)
    await peer.subscribe([gone, 0], [kept, 0])
    peer.send(unsubscribe(version, 1, gone))
    await peer.next()
    peer.send(publish(version, { topic: gone }), publish(version, { topic: kept }))
    expect(await peer.nextPublish()).toMatchObject({ topic: kept })
    expect(await peer.settled()).toEqual([])
  })

  test("a filter counts character by character: + does not end a/b [MQTT-3.10.4-1]", async () => {
    const root = randomId()
    const peer = await Peer.connected(broker.port, version)
    await peer.subscribe([`${root}/b`, 0])
    peer.send(unsubscribe(version, 1, `${root}/+`, `${root}/#`))
    await peer.next()
    peer.send(publish(version, { topic: `${root}/b` }))
    expect(await peer.nextPublish()).toMatchObject({ topic: `${root}/b` })
  })

  test.each([
    ["no filter [MQTT-3.10.3-2]", unsubscribe(version, 1)],
    ["Packet Identifier 0 [MQTT-2.2.1-3]", unsubscribe(version, 0, "a")],
    ["first byte 0xA0 [MQTT-3.10.1-1]", packet(0xa0, word(1), version === 5 ? [0] : [], "a")],
    ["an empty filter [MQTT-4.7.3-1]", unsubscribe(version, 1, "")],
  ])("%s: the connection ends, without an UNSUBACK", async (_, bytes) => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(bytes)
    const came = await peer.ended()
    expect(came.map((one) => one[0])).toEqual(version === 5 ? [0xe0] : [])
  })
})

test("a code for each filter: 0x00 done, 0x11 no subscription existed [5.0 section 3.11.3]", async () => {
  const peer = await Peer.connected(broker.port, 5)
  await peer.subscribe(["a", 1], ["b", 0], ["__proto__", 0])
  peer.send(unsubscribe(5, 7, "b", "nothing", "a", "a", "__proto__", "constructor"))
  expect(await peer.next()).toEqual(hex("b0 09 0007 00 00 11 00 11 00 11"))
})

test("3.1.1 gets an UNSUBACK for a subscription that did not exist [MQTT-3.10.4-5]", async () => {
  const peer = await Peer.connected(broker.port, 4)
  peer.send(unsubscribe(4, 7, "nothing"))
  expect(await peer.next()).toEqual(hex("b0 02 0007"))
})

test("what waits under the filter is dropped, what is in flight completes, the rest comes [5.0 section 3.10.4]", async () => {
  const [clientId, gone, kept] = [randomId(), randomId(), randomId()]
  const session = { clientId, clean: false, properties: properties(sessionExpiry(100), [0x21, 0, 1]) }
  const first = await Peer.connected(broker.port, 5, session)
  await first.subscribe([gone, 1], [kept, 1])
  first.cut()
  const publisher = await Peer.connected(broker.port, 5)
  for (const [n, topic] of [gone, gone, kept, gone, kept].entries()) {
    publisher.send(publish(5, { topic, qos: 1, packetId: n + 1, payload: `${n + 1}` }))
    expect(await publisher.next()).toEqual(puback(n + 1))
  }
  const again = await Peer.connected(broker.port, 5, session)
  const inFlight = await again.nextPublish()
  expect(inFlight.payload.toString()).toBe("1")
  again.send(unsubscribe(5, 9, gone))
  expect(await again.next()).toEqual(hex("b0 04 0009 00 00"))
  again.send(puback(inFlight.packetId))
  for (const payload of ["3", "5"]) {
    const message = await again.nextPublish()
    expect([message.topic, message.payload.toString()]).toEqual([kept, payload])
    again.send(puback(message.packetId))
  }
  expect(await again.settled()).toEqual([])
})

test("what waits under an earlier grant of the filter is dropped too", async () => {
  const topic = randomId()
  const session = { clientId: randomId(), clean: false, properties: properties(sessionExpiry(100), [0x21, 0, 1]) }
  const first = await Peer.connected(broker.port, 5, session)
  await first.subscribe([topic, 1])
  const publisher = await Peer.connected(broker.port, 5)
  for (const n of [1, 2, 3]) {
    publisher.send(publish(5, { topic, qos: 1, packetId: n, payload: `${n}` }))
    expect(await publisher.next()).toEqual(puback(n))
  }
  const inFlight = await first.nextPublish()
  await first.subscribe([topic, 0])
  first.send(unsubscribe(5, 9, topic))
  expect(await first.next()).toEqual(hex("b0 04 0009 00 00"))
  first.send(puback(inFlight.packetId))
  expect(await first.settled()).toEqual([])
})
