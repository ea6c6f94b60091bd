import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { readConnack } from "../support/read.js"
import { fullConnect } from "../support/will.js"
import { connect, hex, packet, properties, sessionExpiry, type ConnectFields } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })

/** What comes back to one first packet. */
async function answer(first: Buffer): Promise<Buffer> {
  const peer = new Peer(broker.port, 4)
  peer.send(first)
  return peer.next()
}

/** What comes before the broker closes. */
async function refusal(first: Buffer): Promise<string> {
  const peer = new Peer(broker.port, 4)
  peer.send(first)
  return Buffer.concat(await peer.ended()).toString("hex")
}

/** What the CONNACK of version 5 says. */
async function greeting(fields: ConnectFields = {}): Promise<ReturnType<typeof readConnack>> {
  return readConnack(await answer(connect(5, { clientId: randomId(), ...fields })))
}

describe("user name and password", () => {
  test.each([
    ["a password without a user name [5.0 section 3.1.2.9]", fullConnect(5, { clientId: randomId(), password: "secret" })],
    ["an empty user name, 5.0", fullConnect(5, { clientId: randomId(), userName: "", password: "secret" })],
    ["an empty user name, 3.1.1", fullConnect(4, { clientId: randomId(), userName: "", password: "secret" })],
    ["both empty, 3.1.1", fullConnect(4, { clientId: randomId(), userName: "", password: "" })],
  ])("%s is taken", async (_name, first) => {
    const connack = await answer(first)
    expect([connack[0], connack[2], connack[3]]).toEqual([0x20, 0, 0])
  })

  test("a password without a user name is refused before 5.0 [MQTT-3.1.2-22]", async () => {
    expect(await refusal(fullConnect(4, { clientId: randomId(), password: "secret" }))).toBe("")
    expect(broker.stderr).not.toContain("internal error")
  })

  test("an empty Authentication Method is one that nobody knows: 0x8c [5.0 section 4.12]", async () => {
    expect((await greeting({ properties: properties([0x15], "") })).reason).toBe(0x8c)
  })
})

describe("MQTT 3.1.1", () => {
  test("CONNECT is answered with CONNACK, return code 0 [3.1.1 section 3.2]", async () => {
    expect(await answer(hex("10 0d 0004 4d515454 04 02 003c 0001 61"))).toEqual(hex("20 02 00 00"))
  })

  test("MQTT 3.1 (MQIsdp, level 3) is spoken too", async () => {
    expect(await answer(packet(0x10, "MQIsdp", [3, 2, 0, 60], randomId()))).toEqual(hex("20 02 00 00"))
  })

  test("MQTT 3.1: an empty client identifier is refused with return code 2 [3.1 section 3.1]", async () => {
    expect(await refusal(packet(0x10, "MQIsdp", [3, 2, 0, 60], ""))).toBe("20020002")
  })

  test("MQTT 3.1: SUBSCRIBE, PUBREL and UNSUBSCRIBE may come again with DUP [3.1 section 2.1]", async () => {
    const peer = new Peer(broker.port, 4)
    peer.send(packet(0x10, "MQIsdp", [3, 2, 0, 60], randomId()))
    expect(await peer.next()).toEqual(hex("20 02 00 00"))
    peer.send(packet(0x8a, [0, 1], "t", [1]))
    expect(await peer.next()).toEqual(hex("90 03 0001 01"))
    peer.send(packet(0x6a, [0, 2]))
    expect(await peer.next()).toEqual(hex("70 02 0002"))
    peer.send(packet(0xaa, [0, 3], "t"))
    expect(await peer.next()).toEqual(hex("b0 02 0003"))
  })

  test("an empty client identifier is served with Clean Session 1 [MQTT-3.1.3-6, -7]", async () => {
    expect(await answer(connect(4, { clientId: "" }))).toEqual(hex("20 02 00 00"))
  })

  test("an empty client identifier with Clean Session 0 is refused with return code 2 [MQTT-3.1.3-8]", async () => {
    expect(await refusal(connect(4, { clientId: "", clean: false }))).toBe("20020002")
  })

  test("another protocol level is refused with return code 1 [MQTT-3.1.2-2]", async () => {
    expect(await refusal(packet(0x10, "MQTT", [9, 2, 0, 0], "a"))).toBe("20020001")
  })

  test("Session Present is 0, then 1 for a session that was kept [MQTT-3.2.2-1, -2]", async () => {
    const clientId = randomId()
    expect(await answer(connect(4, { clientId, clean: false }))).toEqual(hex("20 02 00 00"))
    expect(await answer(connect(4, { clientId, clean: false }))).toEqual(hex("20 02 01 00"))
  })

  test("Clean Session 1 discards what was kept [MQTT-3.1.2-6]", async () => {
    const clientId = randomId()
    await answer(connect(4, { clientId, clean: false }))
    expect(await answer(connect(4, { clientId, clean: true }))).toEqual(hex("20 02 00 00"))
    expect(await answer(connect(4, { clientId, clean: false }))).toEqual(hex("20 02 00 00"))
  })

  test("the reserved flag set to 1 closes the connection without a CONNACK [MQTT-3.1.2-3]", async () => {
    expect(await refusal(packet(0x10, "MQTT", [4, 3, 0, 0], "a"))).toBe("")
  })

  test("a second CONNECT closes the connection [MQTT-3.1.0-2]", async () => {
    const peer = await Peer.connected(broker.port, 4)
    peer.send(connect(4))
    expect(await peer.ended()).toEqual([])
  })

  test("a first packet that is no CONNECT closes the connection [MQTT-3.1.0-1]", async () => {
    expect(await refusal(hex("c0 00"))).toBe("")
  })
})

describe("MQTT 5.0", () => {
  test("CONNECT is answered with CONNACK, Reason Code 0, Session Present 0 [5.0 section 3.2]", async () => {
    expect(await greeting()).toMatchObject({ present: 0, reason: 0 })
  })

  test("CONNACK tells the Maximum Packet Size [5.0 section 3.2.2.3.6]", async () => {
    expect((await greeting()).properties).toContainEqual({ id: 0x27, value: hex("00 10 00 00") })
  })

  test("an empty client identifier gets an Assigned Client Identifier that nobody else has [MQTT-3.2.2-16]", async () => {
    const given = await Promise.all([greeting({ clientId: "" }), greeting({ clientId: "" })])
    const names = given.map(({ properties }) => properties.find(({ id }) => id === 0x12)?.value.toString("utf8", 2) ?? "")
    expect(names[0]).toMatch(/.{8,}/)
    expect(names[1]).toMatch(/.{8,}/)
    expect(names[0]).not.toBe(names[1])
  })

  test("no identifier is assigned to a client that brought one [5.0 section 3.2.2.3.7]", async () => {
    expect((await greeting()).properties.filter(({ id }) => id === 0x12)).toEqual([])
  })

  test("an assigned identifier finds its session again [5.0 section 3.2.2.3.7]", async () => {
    const { properties: given } = await greeting({ clientId: "", properties: properties(sessionExpiry(100)) })
    const clientId = given.find(({ id }) => id === 0x12)?.value.toString("utf8", 2) ?? "?"
    expect((await greeting({ clientId, clean: false })).present).toBe(1)
  })

  test("Session Expiry Interval above 0 keeps the session, whatever Clean Start says [5.0 section 3.1.2.11.2]", async () => {
    const clientId = randomId()
    expect((await greeting({ clientId, properties: properties(sessionExpiry(100)) })).present).toBe(0)
    expect((await greeting({ clientId, clean: false })).present).toBe(1)
  })

  test("Session Expiry Interval absent: the session ends with the connection [5.0 section 3.1.2.11.2]", async () => {
    const clientId = randomId()
    const [first] = await Peer.greeted(broker.port, 5, { clientId })
    first.cut()
    await first.ended()
    const [, connack] = await Peer.greeted(broker.port, 5, { clientId, clean: false })
    expect(readConnack(connack).present).toBe(0)
  })

  test("Clean Start 1 discards the session that was kept [MQTT-3.1.2-4]", async () => {
    const clientId = randomId()
    await greeting({ clientId, properties: properties(sessionExpiry(100)) })
    expect((await greeting({ clientId, clean: true })).present).toBe(0)
    expect((await greeting({ clientId, clean: false })).present).toBe(0)
  })

  test("a session of 3.1.1 is found again with 5.0, and the other way round", async () => {
    const clientId = randomId()
    await answer(connect(4, { clientId, clean: false }))
    expect((await greeting({ clientId, clean: false, properties: properties(sessionExpiry(100)) })).present).toBe(1)
    expect(await answer(connect(4, { clientId, clean: false }))).toEqual(hex("20 02 01 00"))
  })

  test("a property that stands twice is a Protocol Error: 0x82 [5.0 section 3.1.2.11]", async () => {
    const twice = connect(5, { clientId: "a", properties: properties(sessionExpiry(1), sessionExpiry(1)) })
    const connack = await answer(twice)
    expect(readConnack(connack)).toMatchObject({ present: 0, reason: 0x82 })
  })

  test("Receive Maximum 0 is a Protocol Error: 0x82 [5.0 section 3.1.2.11.3]", async () => {
    expect(readConnack(await answer(connect(5, { properties: properties([0x21, 0, 0]) })))).toMatchObject({ reason: 0x82 })
  })

  test("an authentication method that nobody knows is refused: 0x8C [5.0 section 4.12]", async () => {
    expect(readConnack(await answer(connect(5, { properties: properties([0x15], "riddles") })))).toMatchObject({ reason: 0x8c })
  })

  test("a second CONNECT is a Protocol Error: DISCONNECT 0x82 and the end [MQTT-3.1.0-2]", async () => {
    const peer = await Peer.connected(broker.port, 5)
    peer.send(connect(5))
    const [disconnect] = await peer.ended()
    expect(disconnect?.subarray(0, 1)).toEqual(hex("e0"))
    expect(disconnect?.[2]).toBe(0x82)
  })
})

test.each(["constructor", "__proto__", "toString", "hasOwnProperty"])(
  "the client identifier %s is one like any other",
  async (clientId) => {
    expect(await answer(connect(4, { clientId, clean: false }))).toEqual(hex("20 02 00 00"))
    expect(await answer(connect(4, { clientId, clean: false }))).toEqual(hex("20 02 01 00"))
  },
)
