import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { CheckedTopic } from "../support/checked-topic.js"
import { Peer } from "../support/peer.js"
import { readPublish, type Publication } from "../support/read.js"
import { properties, puback, publish, sessionExpiry, word, type ConnectFields } from "../support/wire.js"

const broker = await startBroker()

interface Setting {
  name: string
  version: 4 | 5
  session: ConnectFields
}

/** Publishes numbered messages at QoS 1 and waits for their PUBACKs. */
async function publishNumbers(topic: string, from: number, to: number, { port } = broker): Promise<void> {
  const publisher = await Peer.connected(port, 4)
  for (let n = from; n <= to; n++) publisher.send(publish(4, { topic, qos: 1, packetId: n, payload: `${n}` }))
  for (let n = from; n <= to; n++) expect(await publisher.next()).toEqual(puback(n))
  publisher.cut()
}

const number = (message: Publication): number => Number(message.payload.toString())

async function take(peer: Peer, count: number): Promise<Publication[]> {
  const taken: Publication[] = []
  while (taken.length < count) taken.push(await peer.nextPublish())
  return taken
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

/** Settings for a window of `window` messages, which only 5.0 lets a client choose. */
function settings(window: number): Setting[] {
  const block = properties(sessionExpiry(1000), [0x21, ...word(window)])
  const clean = properties([0x21, ...word(window)])
  return [
    { name: "5.0, persistent", version: 5, session: { clean: false, properties: block } },
    { name: "5.0, clean", version: 5, session: { clean: true, properties: clean } },
  ]
}

describe.each(settings(3))("window: $name", ({ version, session }) => {
  test("no more than Receive Maximum messages are unacknowledged [MQTT-3.3.4-9]", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, version, { ...session, clientId: randomId() })
    await peer.subscribe([topic, 1])
    await publishNumbers(topic, 1, 10)
    const first = await take(peer, 3)
    expect(first.map(number)).toEqual([1, 2, 3])
    expect(new Set(first.map(({ packetId }) => packetId)).size).toBe(3)
    expect(await peer.settled()).toEqual([])
    peer.send(puback(first[0]?.packetId ?? 0))
    expect(number(await peer.nextPublish())).toBe(4)
    expect(await peer.settled()).toEqual([])
  })

  test("acknowledgements may come in any order; identifiers in flight are never given twice [MQTT-2.2.1-3]", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, version, { ...session, clientId: randomId() })
    await peer.subscribe([topic, 1])
    await publishNumbers(topic, 1, 60)
    const seen = new CheckedTopic(topic, 1)
    seen.published(60)
    const inFlight: number[] = []
    for (let count = 1; count <= 60; count++) {
      const message = await peer.nextPublish()
      expect(message.packetId).toBeGreaterThan(0)
      seen.delivered(message)
      inFlight.push(message.packetId)
      expect(inFlight.length).toBeLessThanOrEqual(3)
      if (inFlight.length < 3) continue
      // the newest first, and sometimes all of them
      for (const packetId of inFlight.splice(count % 7 > 0 ? -1 : 0)) {
        seen.released(packetId)
        peer.send(puback(packetId))
      }
    }
    expect(seen.verdict()).toMatchObject({ clean: true, firstCopies: 60, repeats: 0 })
  })
})

test("3.1.1: at most 100 messages are in flight unless --max-inflight says otherwise", async () => {
  const topic = randomId()
  const peer = await Peer.connected(broker.port, 4, { clientId: randomId(), clean: false })
  await peer.subscribe([topic, 1])
  await publishNumbers(topic, 1, 120)
  expect((await take(peer, 100)).map(number)).toEqual(range(1, 100))
  expect(await peer.settled()).toEqual([])
})

test("--max-inflight 2: two messages are in flight", async () => {
  const narrow = await startBroker({ store: "memory:", args: ["--max-inflight", "2"] })
  const peer = await Peer.connected(narrow.port, 4, { clientId: randomId(), clean: false })
  await peer.subscribe(["x", 1])
  await publishNumbers("x", 1, 3, narrow)
  expect(await peer.settled()).toHaveLength(2)
})

test("QoS 0 passes a full window [5.0 section 4.9]", async () => {
  const topic = randomId()
  const block = properties([0x21, ...word(1)])
  const peer = await Peer.connected(broker.port, 5, { clientId: randomId(), properties: block })
  await peer.subscribe([topic, 1])
  await publishNumbers(topic, 1, 2)
  expect(number(await peer.nextPublish())).toBe(1)
  peer.send(publish(5, { topic, payload: "0" }))
  const message = await peer.nextPublish()
  expect([number(message), message.qos]).toEqual([0, 0])
})

describe.each(settings(5).filter(({ session }) => !session.clean))("redelivery: $name", ({ version, session }) => {
  test("what was not acknowledged comes again, DUP 1, the same identifiers, in order, before what waited [MQTT-4.4.0-1]", async () => {
    const topic = randomId()
    const fields = { ...session, clientId: randomId() }
    const first = await Peer.connected(broker.port, version, fields)
    await first.subscribe([topic, 1])
    await publishNumbers(topic, 1, 12)
    const sent = await take(first, 5)
    expect(sent.every(({ dup }) => !dup)).toBe(true)
    first.send(puback(sent[1]?.packetId ?? 0))
    sent.push(await first.nextPublish())
    first.cut()
    const again = await Peer.connected(broker.port, version, fields)
    const resent = await take(again, 5)
    expect(resent.map((message) => [number(message), message.packetId, message.dup])).toEqual(
      [0, 2, 3, 4, 5].map((n) => [n + 1, sent[n]?.packetId, true]),
    )
    for (const { packetId } of resent) again.send(puback(packetId))
    const rest = await take(again, 5)
    expect(rest.map((message) => [number(message), message.dup])).toEqual(range(7, 11).map((n) => [n, false]))
  })

  test("a smaller Receive Maximum than before holds for the redelivery too [MQTT-3.3.4-9]", async () => {
    const topic = randomId()
    const fields = { ...session, clientId: randomId() }
    const first = await Peer.connected(broker.port, version, fields)
    await first.subscribe([topic, 1])
    await publishNumbers(topic, 1, 5)
    await take(first, 5)
    first.cut()
    const block = properties(sessionExpiry(1000), [0x21, 0, 2])
    const again = await Peer.connected(broker.port, version, { ...fields, properties: block })
    expect((await take(again, 2)).map(number)).toEqual([1, 2])
    expect(await again.settled()).toEqual([])
  })

  test("after kill -9 of the broker nothing is missing, and what may have been sent before carries DUP", async () => {
    const own = await startBroker()
    const fields = { ...session, clientId: randomId() }
    const first = await Peer.connected(own.port, version, fields)
    await first.subscribe(["x", 1])
    await publishNumbers("x", 1, 8, own)
    expect((await take(first, 5)).map(number)).toEqual(range(1, 5))
    await own.kill9()
    await own.restart()
    const again = await Peer.connected(own.port, version, fields)
    const resent = await take(again, 5)
    expect(resent.map((message) => [number(message), message.dup])).toEqual(range(1, 5).map((n) => [n, true]))
    for (const { packetId } of resent) again.send(puback(packetId))
    expect((await take(again, 3)).map(number)).toEqual([6, 7, 8])
  })
})

test("a PUBACK for an identifier that is not in flight does no harm", async () => {
  const topic = randomId()
  const peer = await Peer.connected(broker.port, 5)
  await peer.subscribe([topic, 1])
  peer.send(puback(77), publish(5, { topic, qos: 1, packetId: 3 }))
  expect((await peer.settled()).map((one) => one[0] === 0x32 && readPublish(one, 5).topic)).toContain(topic)
})

test("a PUBACK with Packet Identifier 0 or a body that is too short is malformed", async () => {
  for (const bytes of [puback(0), Buffer.from([0x40, 1, 0])]) {
    const peer = await Peer.connected(broker.port, 5)
    peer.send(bytes)
    expect((await peer.ended()).map((one) => one[0])).toEqual([0xe0])
  }
})

test("a clean session that is never acknowledged does not stop the others", async () => {
  const topic = randomId()
  const lazy = await Peer.connected(broker.port, 4)
  await lazy.subscribe([topic, 1])
  const other = await Peer.connected(broker.port, 4)
  await other.subscribe([topic, 1])
  const publisher = await Peer.connected(broker.port, 4)
  for (let n = 1; n <= 500; n++) {
    publisher.send(publish(4, { topic, qos: 1, packetId: n, payload: `${n}` }))
    const message = await other.nextPublish()
    expect(number(message)).toBe(n)
    other.send(puback(message.packetId))
  }
})
