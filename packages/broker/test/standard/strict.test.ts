import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { lasting, publishNumbers, pubcomp, pubrec, pubrel } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readConnack } from "../support/read.js"
import { fullConnect } from "../support/will.js"
import { connect, hex, packet, PINGREQ, properties, puback, publish, subscribe, word, type Part } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })
const [MALFORMED, PROTOCOL_ERROR, FILTER, TOPIC, ALIAS] = [0x81, 0x82, 0x8f, 0x90, 0x94]

/** A packet of a connected client that ends its connection; in 5.0 with this reason. */
type Wrong = [name: string, reason: number, bytes: Buffer]

/** SUBSCRIBE with one filter as raw bytes. */
const filterBytes = (version: 4 | 5, bytes: Buffer, options = 0): Buffer =>
  packet(0x82, word(1), version === 5 ? [0] : [], word(bytes.length), bytes, [options])

const topicBytes = (version: 4 | 5, bytes: Buffer): Buffer =>
  packet(0x30, word(bytes.length), bytes, version === 5 ? [0] : [], Buffer.from("x"))

const unsubscribe = (version: 4 | 5, ...parts: Part[]): Buffer => packet(0xa2, word(1), version === 5 ? [0] : [], ...parts)

const ILL_FORMED: [name: string, bytes: Buffer][] = [
  ["U+0000 [MQTT-1.5.4-2]", hex("61 00 62")],
  ["a lone continuation byte [MQTT-1.5.4-1]", hex("61 80")],
  ["an overlong slash [MQTT-1.5.4-1]", hex("c0 af")],
  ["half a surrogate pair [MQTT-1.5.4-1]", hex("ed a0 80")],
  ["a truncated character [MQTT-1.5.4-1]", hex("61 e2 82")],
  ["beyond U+10FFFF [MQTT-1.5.4-1]", hex("f4 90 80 80")],
]

function both(version: 4 | 5): Wrong[] {
  return [
    ["Packet Identifier 0 in PUBLISH [MQTT-2.2.1-3]", MALFORMED, publish(version, { topic: "a", qos: 1, packetId: 0 })],
    ["Packet Identifier 0 in SUBSCRIBE [MQTT-2.2.1-3]", MALFORMED, subscribe(version, 0, ["a", 0])],
    ["Packet Identifier 0 in UNSUBSCRIBE [MQTT-2.2.1-3]", MALFORMED, packet(0xa2, word(0), version === 5 ? [0] : [], "a")],
    ...[puback(0), pubrec(0), pubrel(0), pubcomp(0)].map((bytes): Wrong => [
      `Packet Identifier 0 in ${bytes.toString("hex")} [MQTT-2.2.1-3]`,
      MALFORMED,
      bytes,
    ]),
    ["QoS 3 [MQTT-3.3.1-4]", MALFORMED, packet(0x36, "a", word(1), version === 5 ? [0] : [])],
    ["DUP at QoS 0 [MQTT-3.3.1-2]", MALFORMED, packet(0x38, "a", version === 5 ? [0] : [])],
    ["a wildcard + in a topic [MQTT-3.3.2-2]", TOPIC, publish(version, { topic: "a/+" })],
    ["a wildcard # in a topic [MQTT-3.3.2-2]", TOPIC, publish(version, { topic: "#" })],
    ["an empty topic [MQTT-4.7.3-1]", version === 5 ? PROTOCOL_ERROR : TOPIC, publish(version, { topic: "" })],
    ["a topic longer than the packet", MALFORMED, hex("30 05 00 0a 61 62 63")],
    ["a PUBLISH without the length of its topic", MALFORMED, hex("30 01 00")],
    ["an empty PUBLISH", MALFORMED, hex("30 00")],
    ["a PUBLISH of QoS 1 that ends before its identifier", MALFORMED, hex("32 03 00 01 61")],
    ...ILL_FORMED.map(([name, bytes]): Wrong => [`${name}, in a topic`, MALFORMED, topicBytes(version, bytes)]),
    ...ILL_FORMED.map(([name, bytes]): Wrong => [`${name}, in a filter of SUBSCRIBE`, MALFORMED, filterBytes(version, bytes)]),
    ["half a surrogate pair in a filter of UNSUBSCRIBE", MALFORMED, unsubscribe(version, word(3), hex("ed a0 80"))],
    ["SUBSCRIBE with QoS 3 [5.0 section 3.8.3.1]", PROTOCOL_ERROR, subscribe(version, 1, ["a", 3])],
    ["SUBSCRIBE with reserved option bits [MQTT-3.8.3-5]", MALFORMED, subscribe(version, 1, ["a", 0xc0])],
    ["SUBSCRIBE without a filter [MQTT-3.8.3-2]", PROTOCOL_ERROR, subscribe(version, 1)],
    ["SUBSCRIBE whose filter has no options", MALFORMED, packet(0x82, word(1), version === 5 ? [0] : [], "a")],
    ["SUBSCRIBE whose second filter is cut", MALFORMED, packet(0x82, word(1), version === 5 ? [0] : [], "a", [0], word(9), [0x61])],
    ["UNSUBSCRIBE without a filter [MQTT-3.10.3-2]", PROTOCOL_ERROR, unsubscribe(version)],
    ["UNSUBSCRIBE with bytes behind its last filter", MALFORMED, unsubscribe(version, "a", [0])],
    ...["a#", "a/#/b", "a+", "+a", "a/b+/c", "##", ""].map((filter): Wrong => [
      `the filter "${filter}" in SUBSCRIBE [MQTT-4.7.1-1, -2, 4.7.3-1]`,
      FILTER,
      subscribe(version, 1, [filter, 0]),
    ]),
    ["the filter a#b in UNSUBSCRIBE", FILTER, unsubscribe(version, "a#b")],
    ["reserved bits in SUBSCRIBE [MQTT-3.8.1-1]", MALFORMED, packet(0x80, word(1), version === 5 ? [0] : [], "a", [0])],
    ["reserved bits in UNSUBSCRIBE [MQTT-3.10.1-1]", MALFORMED, packet(0xa0, word(1), version === 5 ? [0] : [], "a")],
    ["reserved bits in PUBREL [MQTT-3.6.1-1]", MALFORMED, packet(0x60, word(1))],
    ["reserved bits in PUBACK", MALFORMED, packet(0x42, word(1))],
    ["reserved bits in PINGREQ", MALFORMED, hex("c1 00")],
    ["PINGREQ with a body", MALFORMED, hex("c0 01 00")],
    ["an acknowledgement of one byte", MALFORMED, packet(0x40, [1])],
    ["a second CONNECT [MQTT-3.1.0-2]", PROTOCOL_ERROR, connect(version)],
    ...([0x20, 0x90, 0xb0, 0xd0] as const).map((head): Wrong => [
      `a packet that only a server sends: ${head.toString(16)}`,
      PROTOCOL_ERROR,
      packet(head, word(1)),
    ]),
    ["packet type 0 [section 2.1.2]", PROTOCOL_ERROR, hex("00 00")],
    ["a Remaining Length of five bytes [section 1.5.5]", MALFORMED, hex("30 ff ff ff ff 01")],
  ]
}

/** A property block before nothing, at PUBLISH "a" of QoS 0. */
const publishWith = (...parts: Part[]): Buffer => packet(0x30, "a", properties(...parts), Buffer.from("x"))
const subscribeWith = (...parts: Part[]): Buffer => packet(0x82, word(1), properties(...parts), "a", [0])

const ONLY_5: Wrong[] = [
  ["a property length beyond the packet, PUBLISH", MALFORMED, packet(0x30, "a", [200])],
  ["a property length beyond the packet, SUBSCRIBE", MALFORMED, packet(0x82, word(1), [200], "a", [0])],
  ["a PUBLISH without a property length", MALFORMED, packet(0x30, "a")],
  ["an unknown property", MALFORMED, publishWith([0x7f, 1])],
  ["a property of another packet: Session Expiry Interval in PUBLISH", MALFORMED, publishWith([0x11, 0, 0, 0, 1])],
  ["a property of another packet: Topic Alias in SUBSCRIBE", MALFORMED, subscribeWith([0x23, 0, 1])],
  ["a property that is cut: Message Expiry Interval", MALFORMED, publishWith([2, 0, 0])],
  ["a property twice: Message Expiry Interval [section 3.3.2.3.3]", PROTOCOL_ERROR, publishWith([2, 0, 0, 0, 1, 2, 0, 0, 0, 1])],
  ["a property twice: Content Type [section 3.3.2.3.9]", PROTOCOL_ERROR, publishWith([3], "a", [3], "a")],
  ["Payload Format Indicator 2 [section 3.3.2.3.2]", PROTOCOL_ERROR, publishWith([1, 2])],
  ["Topic Alias 0 [MQTT-3.3.2-8]", ALIAS, publishWith([0x23, 0, 0])],
  ["a Topic Alias above our Topic Alias Maximum [MQTT-3.3.2-9]", ALIAS, publishWith([0x23, 0xff, 0xff])],
  ["an empty topic without a Topic Alias [section 3.3.2.1]", PROTOCOL_ERROR, publish(5, { topic: "" })],
  ["a wildcard in the Response Topic [MQTT-3.3.2-14]", PROTOCOL_ERROR, publishWith([8], "a/#")],
  ["a Subscription Identifier from a client [MQTT-3.3.4-6]", PROTOCOL_ERROR, publishWith([0x0b, 1])],
  ["ill-formed UTF-8 in a User Property", MALFORMED, publishWith([0x26], "k", word(2), hex("c0 af"))],
  ["Subscription Identifier 0 [section 3.8.2.1.2]", PROTOCOL_ERROR, subscribeWith([0x0b, 0])],
  ["Subscription Identifier twice in SUBSCRIBE [section 3.8.2.1.2]", PROTOCOL_ERROR, subscribeWith([0x0b, 1, 0x0b, 2])],
  ["Retain Handling 3 [section 3.8.3.1]", PROTOCOL_ERROR, subscribe(5, 1, ["a", 0x30])],
  ["No Local on a Shared Subscription [MQTT-3.8.3-4]", PROTOCOL_ERROR, subscribe(5, 1, ["$share/g/a", 4])],
  ["properties of PUBACK that do not add up", MALFORMED, packet(0x40, word(1), [0, 9])],
  ["bytes behind the properties of DISCONNECT", MALFORMED, packet(0xe0, [0, 0, 7])],
  ["AUTH without extended authentication [section 3.15]", PROTOCOL_ERROR, hex("f0 00")],
]

const ONLY_4: Wrong[] = [
  ["PUBACK with a third byte", MALFORMED, packet(0x40, word(1), [0])],
  ["PUBREL with a third byte", MALFORMED, packet(0x62, word(1), [0])],
  ["DISCONNECT with a body", MALFORMED, hex("e0 01 00")],
  ["AUTH", PROTOCOL_ERROR, hex("f0 00")],
]

describe.each([4, 5] as const)("version %i: the connection ends, 5.0 says why [section 4.13; 3.1.1 section 4.8]", (version) => {
  const rows = [...both(version), ...(version === 5 ? ONLY_5 : ONLY_4)]

  test.each(rows)("%s", async (_name, reason, bytes) => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(bytes)
    expect(await peer.ended()).toEqual(version === 5 ? [hex(`e0 02 ${reason.toString(16)} 00`)] : [])
  })

  test("what came before in the same segment is done, what comes behind is not", async () => {
    const topic = randomId()
    const watcher = await Peer.connected(broker.port, 4)
    await watcher.subscribe([topic, 0])
    const peer = await Peer.connected(broker.port, version)
    peer.send(publish(version, { topic, payload: "before" }), hex("c1 00"), publish(version, { topic, payload: "behind" }), PINGREQ)
    await peer.ended()
    expect((await watcher.settled()).map((one) => one.subarray(4 + topic.length).toString())).toEqual(["before"])
  })
})

/** A first packet: refused by CONNACK in 5.0, in 3.1.1 by the end of the connection, or with a return code. */
const FIRST: [name: string, reason: number, bytes: Buffer][] = [
  ["the reserved flag [MQTT-3.1.2-3]", MALFORMED, packet(0x10, "MQTT", [5, 3, 0, 0, 0], "a")],
  ["Will QoS 3 [MQTT-3.1.2-12]", MALFORMED, packet(0x10, "MQTT", [5, 0x1e, 0, 0, 0], "a", [0], "w", "x")],
  ["Will Retain without Will Flag [MQTT-3.1.2-13]", MALFORMED, packet(0x10, "MQTT", [5, 0x22, 0, 0, 0], "a")],
  ["a wildcard in the Will Topic", TOPIC, fullConnect(5, { clientId: "a", will: { topic: "w/#", payload: "" } })],
  ["U+0000 in the client identifier [MQTT-3.1.3-4]", MALFORMED, connect(5, { clientId: "a\0" })],
  ["U+0000 in the user name [MQTT-3.1.3-11]", MALFORMED, fullConnect(5, { clientId: "a", userName: "a\0" })],
  ["bytes behind the payload", MALFORMED, packet(0x10, "MQTT", [5, 2, 0, 0, 0], "a", [1])],
  [
    "Session Expiry Interval twice [section 3.1.2.11.2]",
    PROTOCOL_ERROR,
    connect(5, { properties: properties([0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1]) }),
  ],
  ["Receive Maximum 0 [section 3.1.2.11.3]", PROTOCOL_ERROR, connect(5, { properties: properties([0x21, 0, 0]) })],
  ["Maximum Packet Size 0 [section 3.1.2.11.4]", PROTOCOL_ERROR, connect(5, { properties: properties([0x27, 0, 0, 0, 0]) })],
  ["Authentication Data without a method [section 3.1.2.11.10]", PROTOCOL_ERROR, connect(5, { properties: properties([0x16], "x") })],
  ["an Authentication Method that nobody knows [section 4.12]", 0x8c, connect(5, { properties: properties([0x15], "SCRAM") })],
  ["protocol version 6 [MQTT-3.1.2-2]", 0x84, packet(0x10, "MQTT", [6, 2, 0, 0, 0], "a")],
]

test.each(FIRST)("CONNECT, 5.0: %s: CONNACK says it", async (_name, reason, bytes) => {
  const peer = new Peer(broker.port, 5)
  peer.send(bytes)
  const [connack = Buffer.alloc(0), ...more] = await peer.ended()
  expect(more).toEqual([])
  // with version 6 it can only be that of 3.1.1
  if (reason === 0x84) expect(connack).toEqual(hex("20 02 00 01"))
  else expect(readConnack(connack)).toMatchObject({ reason, present: 0 })
})

describe.each([4, 5] as const)("version %i: acknowledgements out of turn", (version) => {
  test("an exchange of another session is not ended by them", async () => {
    const topic = randomId()
    const fields = lasting(randomId())
    const [mine, other] = [await Peer.connected(broker.port, version, fields), await Peer.connected(broker.port, version)]
    await mine.subscribe([topic, 1])
    await publishNumbers(broker.port, { topic, qos: 1, from: 1, to: 1 })
    const { packetId } = await mine.nextPublish()
    other.send(puback(packetId), pubcomp(packetId))
    expect(await other.settled()).toEqual([])
    const back = await Peer.connected(broker.port, version, fields)
    expect(await back.nextPublish()).toMatchObject({ topic, packetId, dup: true })
    back.send(puback(packetId), puback(packetId))
    expect(await back.settled()).toEqual([])
    expect(await (await Peer.connected(broker.port, version, fields)).settled()).toEqual([])
  })
})
