import { randomId, startBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { readConnack, readPublish } from "../support/read.js"
import { connect, hex, properties, puback, publish, sessionExpiry } from "../support/wire.js"

const broker = await startBroker()

describe.each([4, 5] as const)("the first connection speaks version %i", (version) => {
  test("a second CONNECT with the same client identifier ends the first connection [MQTT-3.1.4-3]", async () => {
    const clientId = randomId()
    const first = await Peer.connected(broker.port, version, { clientId })
    await Peer.connected(broker.port, 4, { clientId })
    expect(await first.ended()).toEqual(version === 5 ? [hex("e0 02 8e 00")] : [])
  })

  test("the session passes to the second connection: Session Present 1, its messages come there only", async () => {
    const [clientId, topic] = [randomId(), randomId()]
    const fields = { clientId, clean: false, properties: properties(sessionExpiry(100)) }
    const first = await Peer.connected(broker.port, version, fields)
    await first.subscribe([topic, 1])
    const [second, connack] = await Peer.greeted(broker.port, 5, fields)
    expect(readConnack(connack).present).toBe(1)
    second.send(publish(5, { topic, qos: 1, packetId: 3, payload: "here" }))
    const came = [await second.next(), await second.next()]
    expect(came.some((one) => one[0] === 0x32 && readPublish(one, 5).payload.toString() === "here")).toBe(true)
    expect((await first.ended()).filter((one) => one[0] === 0x32)).toEqual([])
  })

  test("what the first connection had not acknowledged is sent again to the second, with DUP and the same identifiers", async () => {
    const [clientId, topic] = [randomId(), randomId()]
    const fields = { clientId, clean: false, properties: properties(sessionExpiry(100)) }
    const first = await Peer.connected(broker.port, version, fields)
    await first.subscribe([topic, 1])
    const publisher = await Peer.connected(broker.port, 4)
    for (const n of [1, 2, 3]) publisher.send(publish(4, { topic, qos: 1, packetId: n, payload: `${n}` }))
    const sent = [await first.nextPublish(), await first.nextPublish(), await first.nextPublish()]
    const second = await Peer.connected(broker.port, version, fields)
    for (const before of sent) {
      const after = await second.nextPublish()
      expect([after.packetId, after.payload, after.dup]).toEqual([before.packetId, before.payload, true])
      second.send(puback(after.packetId))
    }
    expect(await second.settled()).toEqual([])
  })

  test("bytes that the first connection sends afterwards do nothing", async () => {
    const [clientId, topic] = [randomId(), randomId()]
    const watcher = await Peer.connected(broker.port, 4)
    await watcher.subscribe([topic, 0])
    const first = await Peer.connected(broker.port, version, { clientId })
    first.socket.pause()
    await Peer.connected(broker.port, 4, { clientId })
    first.send(publish(version, { topic }))
    first.socket.resume()
    await first.ended()
    // the second time the broker has read what came before the first
    expect([...(await watcher.settled()), ...(await watcher.settled())]).toEqual([])
  })
})

test("ten connections with one identifier in one moment: one is left, the session is whole", async () => {
  const [clientId, topic] = [randomId(), randomId()]
  const fields = { clientId, clean: false, properties: properties(sessionExpiry(100)) }
  const setUp = await Peer.connected(broker.port, 5, fields)
  await setUp.subscribe([topic, 1])
  const peers = Array.from({ length: 10 }, () => new Peer(broker.port, 5))
  for (const peer of peers) peer.send(connect(5, fields))
  await setUp.ended()
  await waitFor(() => peers.filter((peer) => peer.closed).length === 9, { what: "nine of ten are cut off" })
  const survivor = peers.find((peer) => !peer.closed)
  expect(readConnack((await survivor?.next()) ?? Buffer.alloc(0))).toMatchObject({ present: 1, reason: 0 })
  for (const { waiting } of peers.filter((peer) => peer.closed)) {
    // no DISCONNECT before a CONNACK [MQTT-3.14.0-1]
    const told = waiting.map((one) => one.toString("hex").slice(0, 2)).join(" ")
    expect(["", "20", "20 e0"]).toContain(told)
  }
  const publisher = await Peer.connected(broker.port, 4)
  publisher.send(publish(4, { topic, qos: 1, packetId: 1 }))
  expect(await publisher.next()).toEqual(puback(1))
  expect(await survivor?.nextPublish()).toMatchObject({ topic })
})
