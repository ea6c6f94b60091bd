import { randomId, startBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { readConnack } from "../support/read.js"
import { DISCONNECT, hex, packet, properties, publish, sessionExpiry } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })

/** Session Present of the next connection with this identifier. */
async function present(clientId: string): Promise<number> {
  const [peer, connack] = await Peer.greeted(broker.port, 5, { clientId, clean: false, properties: properties(sessionExpiry(1000)) })
  peer.cut()
  return readConnack(connack).present
}

describe.each([4, 5] as const)("version %i", (version) => {
  test("DISCONNECT closes the connection without an answer [MQTT-3.14.4-1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(DISCONNECT)
    expect(await peer.ended()).toEqual([])
  })

  test("what was published before DISCONNECT is acknowledged before the connection ends", async () => {
    const peer = await Peer.connected(broker.port, version)
    await peer.subscribe(["x", 0])
    peer.send(publish(version, { topic: "x", qos: 1, packetId: 6 }), DISCONNECT)
    expect((await peer.ended()).map((one) => one[0])).toContain(0x40)
  })

  test("what follows a DISCONNECT is not looked at [MQTT-3.14.4-2]", async () => {
    const topic = randomId()
    const other = await Peer.connected(broker.port, version)
    await other.subscribe([topic, 0])
    const peer = await Peer.connected(broker.port, version)
    peer.send(DISCONNECT, publish(version, { topic }))
    await peer.ended()
    expect(await other.settled()).toEqual([])
  })

  test("reserved bits are malformed [MQTT-3.14.1-1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(hex("e1 00"))
    expect((await peer.ended()).map((one) => one[2])).toEqual(version === 5 ? [0x81] : [])
  })
})

test("3.1.1: a DISCONNECT with a body is malformed", async () => {
  const peer = await Peer.connected(broker.port, 4)
  peer.send(hex("e0 01 00"))
  expect(await peer.ended()).toEqual([])
})

test("Session Expiry Interval 0 in DISCONNECT ends the session at once [5.0 section 3.14.2.2.2]", async () => {
  const clientId = randomId()
  const peer = await Peer.connected(broker.port, 5, { clientId, properties: properties(sessionExpiry(1000)) })
  peer.send(packet(0xe0, [0], properties(sessionExpiry(0))))
  await peer.ended()
  expect(await present(clientId)).toBe(0)
})

test("without it the session stays as CONNECT said [5.0 section 3.14.2.2.2]", async () => {
  const clientId = randomId()
  const peer = await Peer.connected(broker.port, 5, { clientId, properties: properties(sessionExpiry(1000)) })
  peer.send(DISCONNECT)
  await peer.ended()
  expect(await present(clientId)).toBe(1)
})

test("it cannot make a session last that was to end: DISCONNECT 0x82 [MQTT-3.1.2-23]", async () => {
  const clientId = randomId()
  const peer = await Peer.connected(broker.port, 5, { clientId })
  peer.send(packet(0xe0, [0], properties(sessionExpiry(1000))))
  expect((await peer.ended()).map((one) => [one[0], one[2]])).toEqual([[0xe0, 0x82]])
  expect(await present(clientId)).toBe(0)
})

test("a session ends when its Session Expiry Interval is over [5.0 section 3.1.2.11.2]", async () => {
  const clientId = randomId()
  const peer = await Peer.connected(broker.port, 5, { clientId, properties: properties(sessionExpiry(1)) })
  peer.cut()
  await peer.ended()
  const away = performance.now()
  const queue = await Peer.connected(broker.port, 5, { clientId: `${clientId}-kept`, properties: properties(sessionExpiry(1000)) })
  queue.cut()
  await waitFor(() => performance.now() - away > 2500, { what: "the interval and a sweep" })
  expect(await present(clientId)).toBe(0)
  expect(await present(`${clientId}-kept`)).toBe(1)
})

test("Reason String and User Property of a DISCONNECT are taken [5.0 section 3.14.2.2]", async () => {
  const peer = await Peer.connected(broker.port, 5)
  peer.send(packet(0xe0, [0], properties([0x1f], "bye", [0x26], "why", "done")))
  expect(await peer.ended()).toEqual([])
})
