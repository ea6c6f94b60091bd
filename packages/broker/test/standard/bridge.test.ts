import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { logged } from "../support/doors.js"
import { complete, lasting, publishNumbers } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { hex, packet, publish, word, type Part } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })
const ACCEPTED = hex("20 02 00 00")
const REFUSED_VERSION = hex("20 02 00 01")

const connectAs = (name: string, level: number, clientId: string = randomId(), flags = 2): Buffer =>
  packet(0x10, name, [level, flags, ...word(0)], clientId)

async function bridge(bytes = connectAs("MQTT", 0x84), { port } = broker): Promise<Peer> {
  const peer = new Peer(port, 4)
  peer.send(bytes)
  expect((await peer.next()).subarray(0, 2)).toEqual(ACCEPTED.subarray(0, 2))
  return peer
}

/** First bytes and payloads of the messages that came until all is quiet. */
async function came(peer: Peer, qos: 0 | 1 | 2): Promise<[head: number, payload: string][]> {
  const messages: [number, string][] = []
  for (const bytes of await peer.settled()) {
    if (bytes[0] === undefined || bytes[0] >> 4 !== 3) continue
    const message = readPublish(bytes, 4)
    messages.push([bytes[0], message.payload.toString()])
    await complete(peer, { ...message, qos })
  }
  return messages
}

describe.each([
  ["MQTT", 0x84],
  ["MQIsdp", 0x83],
])("a CONNECT of %s with protocol level %i, as mosquitto's bridges send it", (name, level) => {
  test.each([0, 1, 2] as const)("QoS %i: no echo of what it publishes, RETAIN as published, to others as ever", async (qos) => {
    const [topic, peer] = [randomId(), await bridge(connectAs(name, level))]
    const other = await Peer.connected(broker.port, 4)
    expect([await peer.subscribe([topic, qos]), await other.subscribe([topic, qos])]).toEqual([[qos], [qos]])
    peer.send(publish(4, { topic, qos, packetId: 9, payload: "own", retain: true }))
    if (qos === 2) {
      expect(await peer.next()).toEqual(packet(0x50, word(9)))
      peer.send(packet(0x62, word(9)))
    }
    if (qos > 0) expect(await peer.next()).toEqual(packet(qos === 1 ? 0x40 : 0x70, word(9)))
    expect(await peer.settled()).toEqual([])
    expect(await came(other, qos)).toEqual([[0x30 | (qos << 1), "own"]])
    await publishNumbers(broker.port, { topic, qos, from: 1, to: 1, retain: true })
    await publishNumbers(broker.port, { topic, qos, from: 2, to: 2 })
    const head = 0x30 | (qos << 1)
    expect(await came(peer, qos)).toEqual([
      [head | 1, "1"],
      [head, "2"],
    ])
  })

  test("what is retained comes with the Subscription, its own too", async () => {
    const [topic, peer] = [randomId(), await bridge(connectAs(name, level))]
    peer.send(publish(4, { topic, payload: "own", retain: true }))
    await peer.settled()
    await peer.subscribe([topic, 0])
    expect(await came(peer, 0)).toEqual([[0x31, "own"]])
  })
})

test("a session that lasts: no echo, RETAIN as published, also after the broker was killed", async () => {
  const [topic, connect, mortal] = [randomId(), connectAs("MQTT", 0x84, randomId(), 0), await startBroker()]
  await (await bridge(connect, mortal)).subscribe([topic, 1])
  await mortal.kill9()
  await mortal.restart()
  const peer = await bridge(connect, mortal)
  peer.send(publish(4, { topic, qos: 1, packetId: 1, payload: "own" }))
  expect(await peer.next()).toEqual(packet(0x40, word(1)))
  await publishNumbers(mortal.port, { topic, qos: 1, from: 1, to: 1, retain: true })
  expect(await came(peer, 1)).toEqual([[0x33, "1"]])
})

test("the same client without the bit: an echo, and RETAIN 0", async () => {
  const [topic, peer] = [randomId(), await Peer.connected(broker.port, 4, lasting(randomId()))]
  await peer.subscribe([topic, 0])
  peer.send(publish(4, { topic, payload: "own", retain: true }))
  expect(await came(peer, 0)).toEqual([[0x30, "own"]])
})

test("the log says that it is one", async () => {
  const fresh = await startBroker({ store: "memory:" })
  await bridge(undefined, fresh)
  await Peer.connected(fresh.port, 4)
  await logged(fresh, /"connected"[^]*"connected"/)
  expect(fresh.stderr.match(/"version":"3.1.1","bridge":\w+/g)).toEqual([
    '"version":"3.1.1","bridge":true',
    '"version":"3.1.1","bridge":false',
  ])
})

test("a Shared Subscription stays one, refused as for everybody", async () => {
  expect(await (await bridge()).subscribe(["$share/g/a", 1])).toEqual([0x80])
})

test.each<[name: string, bytes: Part[]]>([
  ["5.0, which asks for all of it itself", ["MQTT", [0x85]]],
  ["3.1.1 under the name of 3.1", ["MQIsdp", [0x84]]],
  ["3.1 under the name of 3.1.1", ["MQTT", [0x83]]],
  ["no version", ["MQTT", [0x80]]],
])("the bit with another version is none that is supported: %s", async (_name, protocol) => {
  const peer = new Peer(broker.port, 4)
  peer.send(packet(0x10, ...protocol, [2, ...word(0)], "p"))
  expect(await peer.ended()).toEqual([REFUSED_VERSION])
})
