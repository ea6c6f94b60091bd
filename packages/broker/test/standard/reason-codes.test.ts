import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { lasting, publishNumbers } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readConnack } from "../support/read.js"
import { hex, packet, properties, sessionExpiry, subscribe, word } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })
const CODES = Array.from({ length: 256 }, (_, code) => code)
/** Where the code is not what matters: each of their bits is set and not set. */
const SOME = CODES.filter((code) => code % 11 === 0)
const [MALFORMED, PROTOCOL_ERROR] = [0x81, 0x82]

/** Reason Codes that are taken from a client, by the first byte of the packet (MQTT 5.0 sections 3.4.2.1 to 3.7.2.1 and 3.14.2.1). */
const ALLOWED: [name: string, head: number, codes: number[]][] = [
  ["PUBACK [MQTT-3.4.2-1]", 0x40, [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]],
  ["PUBREC [MQTT-3.5.2-1]", 0x50, [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]],
  ["PUBREL [MQTT-3.6.2-1]", 0x62, [0, 0x92]],
  ["PUBCOMP [MQTT-3.7.2-1]", 0x70, [0, 0x92]],
  ["DISCONNECT [MQTT-3.14.2-1]", 0xe0, [0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]],
]

/** The Reason Code of the DISCONNECT that ends the connection, "left" when it ends without, "stays" when it does not. */
async function outcome(bytes: Buffer): Promise<number | "left" | "stays"> {
  const peer = await Peer.connected(broker.port, 5)
  peer.send(bytes, hex("c0 00"))
  try {
    for (;;) {
      const answer = await peer.next()
      if (answer[0] === 0xe0) return answer[2] ?? 0
      if (answer[0] === 0xd0) return "stays"
    }
  } catch {
    return "left"
  } finally {
    peer.cut()
  }
}

/** What the packets of these codes lead to. */
async function outcomes(bytes: (code: number) => Buffer, codes = CODES): Promise<Record<string, number[]>> {
  const by: Record<string, number[]> = {}
  for (let from = 0; from < codes.length; from += 16)
    await Promise.all(
      codes.slice(from, from + 16).map(async (code) => {
        const end = await outcome(bytes(code))
        by[end] = [...(by[end] ?? []), code]
      }),
    )
  return Object.fromEntries(Object.entries(by).map(([end, some]) => [end, some.toSorted((a, b) => a - b)]))
}

describe("every Reason Code of a client, MQTT 5.0", () => {
  test.each(ALLOWED)("%s: those of its section are taken, others are malformed", async (_name, head, allowed) => {
    const identifier = head === 0xe0 ? [] : word(1)
    const good = head === 0xe0 ? "left" : "stays"
    const expected = (codes: number[]): unknown => ({ [good]: allowed, [MALFORMED]: codes.filter((code) => !allowed.includes(code)) })
    expect(await outcomes((code) => packet(head, identifier, [code]))).toEqual(expected(CODES))
    const some = CODES.filter((code) => allowed.includes(code) || SOME.includes(code))
    expect(await outcomes((code) => packet(head, identifier, [code], properties()), some)).toEqual(expected(some))
  })

  test("AUTH is a protocol error whatever it says: no Authentication Method was agreed on [5.0 section 4.12]", async () => {
    expect(await outcomes((code) => packet(0xf0, [code], properties()))).toEqual({ [PROTOCOL_ERROR]: CODES })
  })

  test.each([0x20, 0x90, 0xb0])("the server's packet %i is a protocol error", async (head) => {
    expect(await outcomes((code) => packet(head, word(1), properties(), [code]), SOME)).toEqual({ [PROTOCOL_ERROR]: SOME })
  })

  test("Subscription Options: QoS 3 and Retain Handling 3 are protocol errors, reserved bits malformed [5.0 section 3.8.3.1]", async () => {
    const reserved = CODES.filter((code) => code >= 0x40)
    const wrong = CODES.filter((code) => code < 0x40 && ((code & 3) === 3 || code >= 0x30))
    const stays = CODES.filter((code) => !reserved.includes(code) && !wrong.includes(code))
    expect(await outcomes((code) => subscribe(5, 1, ["a", code]))).toEqual({ stays, [PROTOCOL_ERROR]: wrong, [MALFORMED]: reserved })
  })
})

test("a PUBACK and a PUBCOMP out of nothing", async () => {
  expect(await outcome(hex("40 04 0001 ff 00"))).toBe(MALFORMED)
  expect(await outcome(hex("70 03 0001 80"))).toBe(MALFORMED)
})

test("a PUBACK with a code that it may not carry settles nothing: the message comes again", async () => {
  const topic = randomId()
  const fields = lasting(randomId())
  const first = await Peer.connected(broker.port, 5, fields)
  await first.subscribe([topic, 1])
  await publishNumbers(broker.port, { topic, qos: 1, from: 1, to: 1 })
  const { packetId } = await first.nextPublish()
  first.send(packet(0x40, word(packetId), [3]))
  expect(await first.ended()).toEqual([hex("e0 02 81 00")])
  const second = await Peer.connected(broker.port, 5, fields)
  expect(await second.nextPublish()).toMatchObject({ packetId, dup: true })
})

test("a DISCONNECT with a code that it may not carry does not change the Session Expiry Interval", async () => {
  const fields = lasting(randomId())
  const first = await Peer.connected(broker.port, 5, fields)
  first.send(packet(0xe0, [3], properties(sessionExpiry(0))))
  expect(await first.ended()).toEqual([hex("e0 02 81 00")])
  const [, connack] = await Peer.greeted(broker.port, 5, fields)
  expect(readConnack(connack).present).toBe(1)
})
