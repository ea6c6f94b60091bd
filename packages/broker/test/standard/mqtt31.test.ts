import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { hex, packet, PINGRESP, puback, publish, subscribe, word, type Part } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })
const ACCEPTED = hex("20 02 00 00")

/** CONNECT of MQTT 3.1. */
const connect31 = (flags: number, payload: Part[], head = 0x10): Buffer => packet(head, "MQIsdp", [3, flags, 0, 10], ...payload)

async function connected(): Promise<Peer> {
  const peer = new Peer(broker.port, 4)
  peer.send(connect31(2, [randomId()]))
  expect(await peer.next()).toEqual(ACCEPTED)
  return peer
}

describe("CONNECT of MQTT 3.1: what the version does not use is disregarded [3.1 section 3.1]", () => {
  test.each<[name: string, flags: number, payload: Part[]]>([
    ["the reserved bit 0", 0x01, ["p"]],
    ["Will QoS without a Will", 0x12, ["p"]],
    ["Will QoS 3 without a Will", 0x1a, ["p"]],
    ["Will Retain without a Will", 0x22, ["p"]],
    ["the reserved bit beside a Will, a user name and a password", 0xef, ["p", "w", "x", "u", "s"]],
    ["the user name is announced and missing", 0x82, ["p"]],
    ["user name and password are announced and missing", 0xc2, ["p"]],
    ["the password is announced and missing", 0xc2, ["p", "u"]],
  ])("%s", async (_name, flags, payload) => {
    const peer = new Peer(broker.port, 4)
    peer.send(connect31(flags, payload))
    expect(await peer.next()).toEqual(ACCEPTED)
    peer.cut()
  })

  test.each([1, 2, 4, 8, 15])("the low bits %i of the first byte", async (bits) => {
    const peer = new Peer(broker.port, 4)
    peer.send(connect31(2, ["bits"], 0x10 | bits))
    expect(await peer.next()).toEqual(ACCEPTED)
    peer.cut()
  })

  test.each<[name: string, bytes: Buffer]>([
    ["Will QoS 3 with a Will", connect31(0x1e, ["p", "w", "x"])],
    ["a password without a user name", connect31(0x42, ["p", "s"])],
    ["a user name that is cut", connect31(0x82, ["p", [0]])],
    ["reserved bit 0 in 3.1.1 [MQTT-3.1.2-3]", packet(0x10, "MQTT", [4, 3, 0, 10], "p")],
    ["a user name that is missing in 3.1.1", packet(0x10, "MQTT", [4, 0x82, 0, 10], "p")],
    ["bits of the first byte in 3.1.1 [MQTT-2.2.2-2]", packet(0x12, "MQTT", [4, 2, 0, 10], "p")],
  ])("still refused: %s", async (_name, bytes) => {
    const peer = new Peer(broker.port, 4)
    peer.send(bytes)
    expect(await peer.ended()).toEqual([])
  })
})

describe("other packets of MQTT 3.1", () => {
  test("the upper bits of a requested QoS are not used [3.1 section 3.8]", async () => {
    const peer = await connected()
    expect(await peer.subscribe(["a", 0xfd], ["b", 0x06])).toEqual([1, 2])
  })

  test("DUP, QoS and RETAIN where the version does not use them [3.1 section 2.1]", async () => {
    const [topic, peer] = [randomId(), await connected()]
    const filter = subscribe(4, 1, [topic, 1])
    filter[0] = 0x8b
    peer.send(filter)
    expect(await peer.next()).toEqual(packet(0x90, word(1), [1]))
    peer.send(publish(4, { topic, qos: 1, packetId: 7 }))
    const came = [await peer.next(), await peer.next()]
    expect(came).toContainEqual(puback(7))
    const message = came.find((bytes) => bytes[0] === 0x32)
    const identifier = readPublish(message ?? Buffer.alloc(0), 4).packetId
    peer.send(packet(0x4f, word(identifier)), hex("cf 00"))
    expect(await peer.next()).toEqual(PINGRESP)
    peer.send(packet(0x3c - 0x04, topic), hex("c0 00"))
    expect((await peer.next()).subarray(0, 1)).toEqual(hex("30"))
    expect(await peer.next()).toEqual(PINGRESP)
    peer.send(hex("ef 00"))
    expect(await peer.ended()).toEqual([])
  })
})
