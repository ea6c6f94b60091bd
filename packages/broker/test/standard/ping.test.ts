import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { hex, PINGREQ, PINGRESP, puback, publish, subscribe } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })

describe.each([4, 5] as const)("version %i", (version) => {
  test("PINGREQ is answered with PINGRESP [MQTT-3.12.4-1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(PINGREQ)
    expect(await peer.next()).toEqual(PINGRESP)
  })

  test("answers keep the order of what was sent", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, version)
    peer.send(PINGREQ, subscribe(version, 7, [topic, 0]), PINGREQ, publish(version, { topic, qos: 1, packetId: 8 }), PINGREQ)
    const came = [await peer.next(), await peer.next(), await peer.next()]
    expect(came[0]).toEqual(PINGRESP)
    expect(came[1]?.[0]).toBe(0x90)
    expect(came[2]).toEqual(PINGRESP)
    const rest = [await peer.next(), await peer.next(), await peer.next()].map((packet) => packet[0])
    expect(new Set(rest)).toEqual(new Set([0x30, 0x40, 0xd0]))
    expect(rest.indexOf(0x40)).toBeLessThan(rest.indexOf(0xd0))
  })

  test("packets may come byte by byte", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, version)
    const bytes = Buffer.concat([
      PINGREQ,
      subscribe(version, 1, [topic, 1]),
      publish(version, { topic, qos: 1, packetId: 2, payload: "x" }),
    ])
    for (const byte of bytes) {
      peer.send(Buffer.from([byte]))
      await new Promise(setImmediate)
    }
    expect(await peer.next()).toEqual(PINGRESP)
    expect((await peer.next())[0]).toBe(0x90)
    const rest = [await peer.next(), await peer.next()]
    expect(rest).toContainEqual(version === 5 ? hex("40 02 0002") : puback(2))
  })

  test("a PINGREQ with a body is malformed [section 3.12.1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(hex("c0 01 00"))
    const came = await peer.ended()
    expect(came.map((packet) => packet[2])).toEqual(version === 5 ? [0x81] : [])
  })

  test("reserved bits in the first byte of a PINGREQ are malformed [MQTT-2.1.3-1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(hex("c1 00"))
    const came = await peer.ended()
    expect(came.map((packet) => packet[2])).toEqual(version === 5 ? [0x81] : [])
  })
})
