import { randomId, startBroker, waitFor, type TestBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { CheckedTopic } from "../support/checked-topic.js"
import { answers, complete, lasting, numberOf, publishNumbers, pubcomp, pubrec, pubrel, range, take } from "../support/messages.js"
import { compileDisk, diskEnvironment, hasCompiler } from "../support/misbehaving-disk.js"
import { Peer } from "../support/peer.js"
import { readPublish, type Publication } from "../support/read.js"
import { hex, packet, properties, puback, publish, word } from "../support/wire.js"

const broker = await startBroker()

/** A session that lasts, subscribed to `topic` at QoS 2, with `count` messages published to it at QoS 2. */
async function subscriber(version: 4 | 5, topic: string, count: number, own: TestBroker = broker): Promise<[Peer, clientId: string]> {
  const clientId = randomId()
  const peer = await Peer.connected(own.port, version, lasting(clientId))
  await peer.subscribe([topic, 2])
  await publishNumbers(own.port, { topic, qos: 2, from: 1, to: count })
  return [peer, clientId]
}

/** What a packet says, in short: `PUBLISH 3 id 3 DUP`, `PUBREL 4`. */
function said(bytes: Buffer, version: 4 | 5): string {
  if (bytes[0] === 0x62) return `PUBREL ${bytes.readUInt16BE(2)}`
  const message = readPublish(bytes, version)
  return `PUBLISH ${numberOf(message)} id ${message.packetId}${message.dup ? " DUP" : ""}`
}

const ids = (messages: Publication[]): number[] => messages.map(({ packetId }) => packetId)

describe.each([4, 5] as const)("version %i", (version) => {
  test("PUBLISH, PUBREC, PUBREL, PUBCOMP [MQTT-4.3.3-2 to -7]", async () => {
    const [peer] = await subscriber(version, randomId(), 1)
    const message = await peer.nextPublish()
    expect(message).toMatchObject({ qos: 2, dup: false })
    peer.send(pubrec(message.packetId))
    expect(await peer.next()).toEqual(pubrel(message.packetId))
    peer.send(pubcomp(message.packetId))
    expect(await peer.settled()).toEqual([])
  })

  test("a clean session gets it in the same steps, and nothing of it after a reconnect [MQTT-3.1.2-6]", async () => {
    const [clientId, topic] = [randomId(), randomId()]
    const peer = await Peer.connected(broker.port, version, { clientId })
    await peer.subscribe([topic, 2])
    await publishNumbers(broker.port, { topic, qos: 2, from: 1, to: 2 })
    const [first, second] = await take(peer, 2)
    expect([first?.qos, second?.qos]).toEqual([2, 2])
    peer.send(pubrec(first?.packetId ?? 0))
    expect(await peer.next()).toEqual(pubrel(first?.packetId ?? 0))
    peer.cut()
    const again = await Peer.connected(broker.port, version, { clientId })
    expect(await again.settled()).toEqual([])
  })

  test.each(["reconnect", "takeover"])(
    "after a %s: PUBLISH with DUP or PUBREL, the same identifiers, the same order [MQTT-4.4.0-1]",
    async (how) => {
      const [first, clientId] = await subscriber(version, randomId(), 8)
      const sent = ids(await take(first, 8))
      const [, two = 0, , four = 0, five = 0, six = 0] = sent
      first.send(pubrec(two), pubrec(four), pubrec(five), pubrec(six))
      expect(await answers(first, 4)).toEqual([two, four, five, six].map((id) => pubrel(id)))
      first.send(pubcomp(four), pubcomp(six))
      await first.settled()
      if (how === "reconnect") first.cut()
      const second = await Peer.connected(broker.port, version, lasting(clientId))
      const expected = [1, 2, 3, 5, 7, 8].map((n) => {
        const id = sent[n - 1] ?? 0
        return n === 2 || n === 5 ? `PUBREL ${id}` : `PUBLISH ${n} id ${id} DUP`
      })
      expect((await answers(second, 6)).map((bytes) => said(bytes, version))).toEqual(expected)
      for (const id of [two, five]) second.send(pubcomp(id))
      for (const n of [1, 3, 7, 8]) await complete(second, { ...sentMessage, packetId: sent[n - 1] ?? 0 })
      expect(await second.settled()).toEqual([])
    },
  )

  test("after kill -9: the same identifiers and phases, first what was in flight, then what waited [section 4.4]", async () => {
    const own = await startBroker()
    const peer = await Peer.connected(own.port, version, lasting("s", 5))
    await peer.subscribe(["t", 2])
    const window = version === 5 ? 5 : 100
    await publishNumbers(own.port, { topic: "t", qos: 2, from: 1, to: window + 3 })
    const sent = ids(await take(peer, window))
    peer.send(pubrec(sent[1] ?? 0))
    expect(await peer.next()).toEqual(pubrel(sent[1] ?? 0))
    await own.kill9()
    await own.restart()
    const again = await Peer.connected(own.port, version, lasting("s", 5))
    const expected = range(1, window).map((n) => (n === 2 ? `PUBREL ${sent[1]}` : `PUBLISH ${n} id ${sent[n - 1]} DUP`))
    expect((await answers(again, window)).map((bytes) => said(bytes, version))).toEqual(expected)
    again.send(pubcomp(sent[1] ?? 0))
    const next = await again.nextPublish()
    expect([numberOf(next), next.dup]).toEqual([window + 1, false])
    expect(sent).not.toContain(next.packetId)
    for (const n of range(1, window)) if (n !== 2) again.send(pubrec(sent[n - 1] ?? 0))
    for (const n of range(1, window)) if (n !== 2) expect(await again.next()).toEqual(pubrel(sent[n - 1] ?? 0))
    for (const n of range(1, window)) if (n !== 2) again.send(pubcomp(sent[n - 1] ?? 0))
    expect((await take(again, 2)).map(numberOf)).toEqual([window + 2, window + 3])
  })

  test("what was completed before kill -9 does not come again, though an older one is open", async () => {
    const own = await startBroker()
    const [peer] = await subscriber(version, "t", 6, own)
    const clientId = "s"
    peer.cut()
    const first = await Peer.connected(own.port, version, lasting(clientId))
    await first.subscribe(["u", 2])
    await publishNumbers(own.port, { topic: "u", qos: 2, from: 1, to: 6 })
    const messages = await take(first, 6)
    for (const message of messages.slice(2)) await complete(first, message)
    // a PUBREL of later date is durable with what came before it
    first.send(pubrec(messages[1]?.packetId ?? 0))
    expect(await first.next()).toEqual(pubrel(messages[1]?.packetId ?? 0))
    await own.kill9()
    await own.restart()
    const second = await Peer.connected(own.port, version, lasting(clientId))
    const expected = [`PUBLISH 1 id ${messages[0]?.packetId} DUP`, `PUBREL ${messages[1]?.packetId}`]
    expect((await answers(second, 2)).map((bytes) => said(bytes, version))).toEqual(expected)
  })

  test("PUBREC sent again is answered by PUBREL again [MQTT-4.3.3-4]", async () => {
    const [peer] = await subscriber(version, randomId(), 1)
    const { packetId } = await peer.nextPublish()
    peer.send(pubrec(packetId), pubrec(packetId))
    expect(await answers(peer, 2)).toEqual([pubrel(packetId), pubrel(packetId)])
    peer.send(pubcomp(packetId))
    expect(await peer.settled()).toEqual([])
  })

  test("PUBREC for an identifier that is not in flight: PUBREL, 5.0 says 0x92 [5.0 section 3.6.2.1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(pubrec(77))
    expect(await peer.next()).toEqual(version === 5 ? pubrel(77, 0x92) : pubrel(77))
    peer.send(pubcomp(77))
    expect(await peer.settled()).toEqual([])
  })

  test("PUBCOMP for an identifier that is not in flight does no harm", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(pubcomp(77), pubcomp(77))
    expect(await peer.settled()).toEqual([])
  })

  test.each([
    ["PUBACK for a message of QoS 2", 2, puback],
    ["PUBCOMP before PUBREC", 2, pubcomp],
    ["PUBREC for a message of QoS 1", 1, pubrec],
    ["PUBCOMP for a message of QoS 1", 1, pubcomp],
  ] as const)("%s ends the connection, 5.0: 0x82; the message comes again [section 4.13]", async (_name, qos, answer) => {
    const [topic, clientId] = [randomId(), randomId()]
    const peer = await Peer.connected(broker.port, version, lasting(clientId))
    await peer.subscribe([topic, qos])
    await publishNumbers(broker.port, { topic, qos, from: 1, to: 1 })
    const { packetId } = await peer.nextPublish()
    peer.send(answer(packetId))
    expect(await peer.ended()).toEqual(version === 5 ? [hex("e0 02 82 00")] : [])
    const again = await Peer.connected(broker.port, version, lasting(clientId))
    expect(await again.nextPublish()).toMatchObject({ packetId, qos, dup: true })
  })
})

const sentMessage = { qos: 2, dup: false, retain: false, topic: "", packetId: 0, properties: [], payload: Buffer.alloc(0) }

test("PUBREC with a reason code of 0x80 or more ends the exchange: no PUBREL, the place is free [5.0 section 4.3.3]", async () => {
  const topic = randomId()
  const clientId = randomId()
  const peer = await Peer.connected(broker.port, 5, lasting(clientId, 1))
  await peer.subscribe([topic, 2])
  await publishNumbers(broker.port, { topic, qos: 2, from: 1, to: 3 })
  const first = await peer.nextPublish()
  peer.send(pubrec(first.packetId, 0x97))
  const second = await peer.nextPublish()
  expect(numberOf(second)).toBe(2)
  peer.cut()
  const again = await Peer.connected(broker.port, 5, lasting(clientId))
  expect((await take(again, 2)).map((message) => [numberOf(message), message.dup])).toEqual([
    [2, true],
    [3, false],
  ])
})

test("PUBREC with a reason code below 0x80 goes on with PUBREL [5.0 section 4.3.3]", async () => {
  const [peer] = await subscriber(5, randomId(), 1)
  const { packetId } = await peer.nextPublish()
  peer.send(pubrec(packetId, 0x10))
  expect(await peer.next()).toEqual(pubrel(packetId))
})

test("Receive Maximum of the client: a place is free at PUBCOMP, not at PUBREC [MQTT-3.3.4-9, 5.0 section 4.9]", async () => {
  const topic = randomId()
  const peer = await Peer.connected(broker.port, 5, { properties: properties([0x21, ...word(2)]) })
  await peer.subscribe([topic, 2])
  await publishNumbers(broker.port, { topic, qos: 2, from: 1, to: 5 })
  const [first, second] = await take(peer, 2)
  expect(await peer.settled()).toEqual([])
  peer.send(pubrec(first?.packetId ?? 0), pubrec(second?.packetId ?? 0))
  expect(await answers(peer, 2)).toEqual([pubrel(first?.packetId ?? 0), pubrel(second?.packetId ?? 0)])
  peer.send(pubcomp(second?.packetId ?? 0))
  expect(numberOf(await peer.nextPublish())).toBe(3)
  expect(await peer.settled()).toEqual([])
})

test("65,600 messages: identifiers wrap around, none is given twice, each message once", { timeout: 60_000 }, async () => {
  const topic = randomId()
  const peer = await Peer.connected(broker.port, 5, lasting(randomId(), 1000))
  await peer.subscribe([topic, 2])
  const published = (async (): Promise<void> => {
    for (const quarter of [0, 1, 2, 3])
      await publishNumbers(broker.port, { topic, qos: 2, from: quarter * 16_400 + 1, to: (quarter + 1) * 16_400 })
  })()
  const seen = new CheckedTopic(topic, 2)
  seen.published(65_600)
  for (let completed = 0; completed < 65_600;) {
    const bytes = await peer.next()
    if (bytes[0] === 0x62) {
      const id = bytes.readUInt16BE(2)
      seen.released(id)
      peer.send(pubcomp(id))
      completed++
      continue
    }
    const message = readPublish(bytes, 5)
    if (message.packetId === 0) throw new Error("Packet Identifier 0")
    seen.delivered(message)
    peer.send(pubrec(message.packetId))
  }
  await published
  expect(await peer.settled()).toEqual([])
  expect(seen.verdict()).toMatchObject({ clean: true, firstCopies: 65_600 })
})

test.each([1, 0])("a lower grant (QoS %i) does not change what is in flight: it comes again at QoS 2 [MQTT-4.4.0-1]", async (granted) => {
  const topic = randomId()
  const [first, clientId] = await subscriber(5, topic, 1)
  const { packetId } = await first.nextPublish()
  await first.subscribe([topic, granted])
  first.cut()
  const second = await Peer.connected(broker.port, 5, lasting(clientId))
  const message = await second.nextPublish()
  expect(message).toMatchObject({ packetId, qos: 2, dup: true })
  await complete(second, message)
  expect(await second.settled()).toEqual([])
})

test.each(["reconnect", "kill -9"])(
  "UNSUBSCRIBE does not end what is in flight: it comes again after a %s [MQTT-3.10.4-3]",
  async (how) => {
    const own = await startBroker()
    const [first, clientId] = await subscriber(5, "t", 2, own)
    const [one, two] = await take(first, 2)
    first.send(pubrec(one?.packetId ?? 0))
    expect(await first.next()).toEqual(pubrel(one?.packetId ?? 0))
    first.send(packet(0xa2, word(9), [0], "t"))
    expect((await first.next())[0]).toBe(0xb0)
    if (how === "kill -9") {
      await own.kill9()
      await own.restart()
    } else first.cut()
    const second = await Peer.connected(own.port, 5, lasting(clientId))
    const expected = [`PUBREL ${one?.packetId}`, `PUBLISH 2 id ${two?.packetId} DUP`]
    expect((await answers(second, 2)).map((bytes) => said(bytes, 5))).toEqual(expected)
  },
)

test("a message that was sent does not expire: it comes again after its interval [MQTT-4.3.3-7]", async () => {
  const [topic, clientId] = [randomId(), randomId()]
  const first = await Peer.connected(broker.port, 5, lasting(clientId, 1))
  await first.subscribe([topic, 2])
  const publisher = await Peer.connected(broker.port, 5)
  const start = performance.now()
  for (const packetId of [1, 2])
    publisher.send(publish(5, { topic, qos: 2, packetId, payload: `${packetId}`, properties: properties([2, 0, 0, 0, 1]) }))
  const { packetId } = await first.nextPublish()
  await waitFor(() => performance.now() - start > 2100, { what: "the Message Expiry Interval" })
  first.cut()
  const second = await Peer.connected(broker.port, 5, lasting(clientId, 1))
  const message = await second.nextPublish()
  expect(message).toMatchObject({ packetId, qos: 2, dup: true })
  await complete(second, message)
  // the other one waited for the window, and expired there
  expect(await second.settled()).toEqual([])
})

test("a session that changes its version between connections goes on in the new one", async () => {
  const [first, clientId] = await subscriber(5, randomId(), 3)
  const sent = ids(await take(first, 3))
  first.send(pubrec(sent[0] ?? 0))
  expect(await first.next()).toEqual(pubrel(sent[0] ?? 0))
  first.cut()
  const second = await Peer.connected(broker.port, 4, lasting(clientId))
  const expected = [`PUBREL ${sent[0]}`, `PUBLISH 2 id ${sent[1]} DUP`, `PUBLISH 3 id ${sent[2]} DUP`]
  expect((await answers(second, 3)).map((bytes) => said(bytes, 4))).toEqual(expected)
})

test("3.1.1: --max-inflight counts exchanges that are not complete", async () => {
  const narrow = await startBroker({ store: "memory:", args: ["--max-inflight", "2"] })
  const [peer] = await subscriber(4, "t", 4, narrow)
  const [first] = await take(peer, 2)
  peer.send(pubrec(first?.packetId ?? 0))
  expect(await answers(peer, 1)).toEqual([pubrel(first?.packetId ?? 0)])
  peer.send(pubcomp(first?.packetId ?? 0))
  expect(numberOf(await peer.nextPublish())).toBe(3)
  expect(await peer.settled()).toEqual([])
})

describe.runIf(hasCompiler())("with a disk that takes 100 ms for each sync", () => {
  test("PUBLISH and PUBREL leave only after identifier and phase are stored: killed at that moment, both are the same", async () => {
    const own = await startBroker({ env: diskEnvironment(compileDisk(), { delayMs: 100 }) })
    const [first, clientId] = await subscriber(5, "t", 1, own)
    const message = await first.nextPublish()
    await own.kill9()
    await own.restart()
    const second = await Peer.connected(own.port, 5, lasting(clientId))
    expect(await second.nextPublish()).toMatchObject({ packetId: message.packetId, dup: true })
    second.send(pubrec(message.packetId))
    expect(await second.next()).toEqual(pubrel(message.packetId))
    await own.kill9()
    await own.restart()
    const third = await Peer.connected(own.port, 5, lasting(clientId))
    expect(await answers(third, 1)).toEqual([pubrel(message.packetId)])
  })
})

test("a grant that is raised, kill -9 at once: what was sent at QoS 1 does not come again at QoS 2", async () => {
  const own = await startBroker()
  const clientId = randomId()
  const first = await Peer.connected(own.port, 4, lasting(clientId))
  await first.subscribe(["t", 1])
  await publishNumbers(own.port, { topic: "t", qos: 2, from: 1, to: 3 })
  const [one, two, three] = await take(first, 3)
  for (const done of [one, three]) first.send(puback(done?.packetId ?? 0))
  await first.subscribe(["t", 2])
  await own.kill9()
  await own.restart()
  const second = await Peer.connected(own.port, 4, lasting(clientId))
  expect(await second.nextPublish()).toMatchObject({ packetId: two?.packetId, qos: 1, dup: true, payload: two?.payload })
  second.send(puback(two?.packetId ?? 0))
  expect(await second.settled()).toEqual([])
})
