import { randomId, startBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { answers, complete, lasting, numberOf, publishNumbers, pubrec, pubrel, take } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { bodyAt, readPublish } from "../support/read.js"
import { DISCONNECT, packet, properties, sessionExpiry, word, type ConnectFields } from "../support/wire.js"

const broker = await startBroker()

async function present(version: 4 | 5, fields: ConnectFields, port = broker.port): Promise<boolean> {
  const [peer, connack] = await Peer.greeted(port, version, fields)
  peer.send(DISCONNECT)
  await peer.ended()
  return connack[bodyAt(connack)] === 1
}

const keeping = (clientId: string, seconds: number, more: ConnectFields = {}): ConnectFields => ({
  clientId,
  clean: false,
  properties: properties(sessionExpiry(seconds)),
  ...more,
})

describe.each([4, 5] as const)("version %i", (version) => {
  test("Session Present 1 also without a subscription, also after kill -9 [MQTT-3.2.2-2, -3]", async () => {
    const own = await startBroker()
    expect(await present(version, lasting("s"), own.port)).toBe(false)
    expect(await present(version, lasting("s"), own.port)).toBe(true)
    await own.kill9()
    await own.restart()
    expect(await present(version, lasting("s"), own.port)).toBe(true)
  })

  test("a session made, and discarded, is so after kill -9 right behind its CONNACK", async () => {
    const own = await startBroker()
    await Peer.connected(own.port, version, lasting("made"))
    expect(await present(version, lasting("discarded"), own.port)).toBe(false)
    await Peer.connected(own.port, version, { clientId: "discarded", clean: true })
    await own.kill9()
    await own.restart()
    expect(await present(version, lasting("made"), own.port)).toBe(true)
    expect(await present(version, lasting("discarded"), own.port)).toBe(false)
  })

  test("a clean session leaves nothing [MQTT-3.1.2-6, 3.2.2-2]", async () => {
    const clientId = randomId()
    expect(await present(version, { clientId })).toBe(false)
    expect(await present(version, lasting(clientId))).toBe(false)
  })

  test("Clean Start discards subscriptions, queue, what is in flight and identifiers, also after kill -9 [MQTT-3.1.2-4, -6]", async () => {
    const own = await startBroker()
    const first = await Peer.connected(own.port, version, lasting("s"))
    await first.subscribe(["t", 2])
    await publishNumbers(own.port, { topic: "t", qos: 2, from: 1, to: 3 })
    await publishNumbers(own.port, { topic: "t", qos: 1, from: 4, to: 6 })
    const [one] = await take(first, 6)
    first.send(pubrec(one?.packetId ?? 0))
    expect(await first.next()).toEqual(pubrel(one?.packetId ?? 0))
    first.cut()
    await publishNumbers(own.port, { topic: "t", qos: 1, from: 7, to: 9 })
    expect(await present(version, { clientId: "s", clean: true }, own.port)).toBe(false)
    await own.kill9()
    await own.restart()
    const [again, connack] = await Peer.greeted(own.port, version, lasting("s"))
    expect(connack[bodyAt(connack)]).toBe(0)
    await publishNumbers(own.port, { topic: "t", qos: 1, from: 10, to: 10 })
    expect(await again.settled()).toEqual([])
    await again.subscribe(["t", 2])
    await publishNumbers(own.port, { topic: "t", qos: 1, from: 11, to: 11 })
    expect(numberOf(await again.nextPublish())).toBe(11)
  })

  test("the grant of now caps what waits: queued at QoS 2, subscribed again at QoS 1 [MQTT-3.8.4-3, -8]", async () => {
    const topic = randomId()
    const clientId = randomId()
    const window = version === 5 ? 1 : 100
    const first = await Peer.connected(broker.port, version, lasting(clientId, 1))
    await first.subscribe([topic, 2])
    first.cut()
    await first.ended()
    await publishNumbers(broker.port, { topic, qos: 2, from: 1, to: window + 2 })
    const second = await Peer.connected(broker.port, version, lasting(clientId, 1))
    const sent = await take(second, window)
    expect(sent.every(({ qos }) => qos === 2)).toBe(true)
    await second.subscribe([topic, 1])
    for (const message of sent.slice(0, 1)) await complete(second, message)
    const next = await second.nextPublish()
    expect([numberOf(next), next.qos]).toEqual([window + 1, 1])
  })
})

describe("Session Expiry Interval [5.0 section 3.1.2.11.2]", () => {
  test("0 and none at all: the session ends with its connection, DISCONNECT or not", async () => {
    for (const block of [properties(), properties(sessionExpiry(0))]) {
      const clientId = randomId()
      const peer = await Peer.connected(broker.port, 5, { clientId, clean: false, properties: block })
      peer.socket.end()
      await peer.ended()
      await waitFor(async () => !(await present(5, { clientId, clean: false, properties: block })), { what: "the end" })
    }
  })

  test("0xFFFFFFFF: never ends; Clean Start 1 with an interval makes a session that lasts", async () => {
    const clientId = randomId()
    expect(await present(5, keeping(clientId, 0xffff_ffff, { clean: true }))).toBe(false)
    expect(await present(5, keeping(clientId, 0xffff_ffff))).toBe(true)
    expect(await present(5, keeping(clientId, 0xffff_ffff, { clean: true }))).toBe(false)
  })

  test("Clean Start 0 with interval 0 resumes, and ends the session with this connection", async () => {
    const clientId = randomId()
    const topic = randomId()
    const first = await Peer.connected(broker.port, 5, lasting(clientId))
    await first.subscribe([topic, 1])
    first.cut()
    await publishNumbers(broker.port, { topic, qos: 1, from: 1, to: 2 })
    const [second, connack] = await Peer.greeted(broker.port, 5, { clientId, clean: false })
    expect(connack[bodyAt(connack)]).toBe(1)
    expect((await take(second, 2)).map(numberOf)).toEqual([1, 2])
    second.send(DISCONNECT)
    await second.ended()
    expect(await present(5, lasting(clientId))).toBe(false)
  })

  test("the same when kill -9 ends the connection", async () => {
    const own = await startBroker()
    expect(await present(5, lasting("s"), own.port)).toBe(false)
    await Peer.connected(own.port, 5, { clientId: "s", clean: false })
    await own.kill9()
    await own.restart()
    expect(await present(5, lasting("s"), own.port)).toBe(false)
  })

  test("DISCONNECT shortens it to 0 and lengthens it, also for the next start of the broker [section 3.14.2.2.2]", async () => {
    const own = await startBroker()
    for (const [clientId, at, changed] of [
      ["shorter", 1000, 0],
      ["longer", 1, 1000],
    ] as const) {
      const peer = await Peer.connected(own.port, 5, keeping(clientId, at))
      peer.send(packet(0xe0, [0], properties(sessionExpiry(changed))))
      await peer.ended()
    }
    await own.kill9()
    const down = performance.now()
    await waitFor(() => performance.now() - down > 1100, { what: "the interval that CONNECT asked for" })
    await own.restart()
    expect(await present(5, lasting("longer"), own.port)).toBe(true)
    expect(await present(5, lasting("shorter"), own.port)).toBe(false)
  })

  test("the time while the broker is down counts; a session in time is whole", async () => {
    const own = await startBroker()
    for (const [clientId, seconds] of [
      ["short", 1],
      ["long", 1000],
      ["never", 0xffff_ffff],
    ] as const) {
      const peer = await Peer.connected(own.port, 5, keeping(clientId, seconds))
      await peer.subscribe(["t", 1])
      peer.cut()
      await peer.ended()
    }
    await publishNumbers(own.port, { topic: "t", qos: 1, from: 1, to: 1 })
    await own.stop()
    const down = performance.now()
    await waitFor(() => performance.now() - down > 1500, { what: "an interval" })
    await own.restart()
    for (const clientId of ["long", "never"]) {
      const [peer, connack] = await Peer.greeted(own.port, 5, lasting(clientId))
      expect(connack[bodyAt(connack)]).toBe(1)
      expect(numberOf(await peer.nextPublish())).toBe(1)
    }
    expect(await present(5, lasting("short"), own.port)).toBe(false)
  })

  test("it counts from the end of the connection, not from its beginning", async () => {
    const clientId = randomId()
    const peer = await Peer.connected(broker.port, 5, keeping(clientId, 1))
    const start = performance.now()
    await waitFor(() => performance.now() - start > 1500, { what: "more than the interval" })
    await peer.settled()
    peer.cut()
    await peer.ended()
    expect(await present(5, keeping(clientId, 1))).toBe(true)
  })
})

test("takeover by a clean session in the middle of an exchange: nothing of the old session comes [MQTT-3.1.2-6]", async () => {
  const [topic, clientId] = [randomId(), randomId()]
  const first = await Peer.connected(broker.port, 4, lasting(clientId))
  await first.subscribe([topic, 2])
  await publishNumbers(broker.port, { topic, qos: 2, from: 1, to: 4 })
  const [one] = await take(first, 4)
  first.send(pubrec(one?.packetId ?? 0))
  expect(await first.next()).toEqual(pubrel(one?.packetId ?? 0))
  const second = await Peer.connected(broker.port, 5, { clientId })
  expect(await second.settled()).toEqual([])
  await second.subscribe([topic, 2])
  await publishNumbers(broker.port, { topic, qos: 2, from: 5, to: 5 })
  const came = await answers(second, 1)
  expect(came.map((bytes) => numberOf(readPublish(bytes, 5)))).toEqual([5])
  expect(word(readPublish(came[0] ?? Buffer.alloc(0), 5).packetId)).not.toEqual([0, 0])
})
