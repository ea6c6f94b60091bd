import { randomId, startBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { answers, complete, lasting, numberOf, publishNumbers, range, take } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { long, properties, puback, publish, subscribe } from "../support/wire.js"

const broker = await startBroker()
const QOS = [0, 1, 2] as const
const [RETAIN_AS_PUBLISHED, IF_NEW, NEVER] = [0x08, 0x10, 0x20]

/** Keeps a message for `topic`; resolves with its PUBACK. */
async function retain(topic: string, payload: string, port = broker.port): Promise<void> {
  const publisher = await Peer.connected(port, 4)
  publisher.send(publish(4, { topic, payload, qos: 1, packetId: 1, retain: true }))
  expect(await publisher.next()).toEqual(puback(1))
  publisher.cut()
}

/** What a new clean subscriber at QoS 0 gets for a filter: topics and payloads. */
async function kept(filter: string, port = broker.port): Promise<string[]> {
  const peer = await Peer.connected(port, 4)
  await peer.subscribe([filter, 0])
  const came = (await peer.settled()).map((bytes) => readPublish(bytes, 4))
  peer.cut()
  expect(came.every((message) => message.retain && !message.dup)).toBe(true)
  return came.map(({ topic, payload }) => `${topic}=${payload.toString()}`).toSorted((a, b) => a.localeCompare(b))
}

/** Subscribes and returns what is left of the Message Expiry Interval of the one retained message that comes. */
async function intervalLeft(peer: Peer, qos: number, filter = "#"): Promise<number> {
  await peer.subscribe([filter, qos])
  const message = await peer.nextPublish()
  peer.cut()
  return message.properties.find(({ id }) => id === 2)?.value.readUInt32BE(0) ?? -1
}

describe.each([4, 5] as const)("version %i", (version) => {
  test("a new subscription gets the last message with RETAIN 1, one that exists with RETAIN 0 [MQTT-3.3.1-5, -6, -8, -9]", async () => {
    const topic = randomId()
    const before = await Peer.connected(broker.port, version)
    await before.subscribe([topic, 1])
    const publisher = await Peer.connected(broker.port, version)
    for (const payload of ["first", "last"]) {
      publisher.send(publish(version, { topic, payload, qos: 1, packetId: 1, retain: true }))
      const message = await before.nextPublish()
      expect(message).toMatchObject({ retain: false, payload: Buffer.from(payload) })
      before.send(puback(message.packetId))
      expect((await publisher.next())[0]).toBe(0x40)
    }
    const after = await Peer.connected(broker.port, version)
    await after.subscribe([topic, 1])
    expect(await after.nextPublish()).toMatchObject({ retain: true, dup: false, payload: Buffer.from("last") })
    expect(await after.settled()).toEqual([])
  })

  test("an empty payload removes; it is delivered as a message, not kept [MQTT-3.3.1-6, -10, -11]", async () => {
    const topic = randomId()
    await retain(topic, "x")
    expect(await kept(topic)).toEqual([`${topic}=x`])
    const before = await Peer.connected(broker.port, version)
    await before.subscribe([topic, 0])
    expect((await before.nextPublish()).retain).toBe(true)
    before.send(publish(version, { topic, qos: 1, packetId: 4, retain: true, payload: "" }))
    const came = await answers(before, 2)
    const live = came.find((one) => one[0] === 0x30)
    expect(live && readPublish(live, version)).toMatchObject({ retain: false, payload: Buffer.alloc(0) })
    expect(await kept(topic)).toEqual([])
  })

  test("a message without RETAIN changes nothing [MQTT-3.3.1-12; 5.0 MQTT-3.3.1-8]", async () => {
    const topic = randomId()
    await retain(topic, "kept")
    const publisher = await Peer.connected(broker.port, version)
    publisher.send(publish(version, { topic, qos: 1, packetId: 4, payload: "passing" }), publish(version, { topic, payload: "" }))
    expect((await publisher.next())[0]).toBe(0x40)
    expect(await kept(topic)).toEqual([`${topic}=kept`])
  })

  test("a message of QoS 0 replaces one of QoS 1 [MQTT-3.3.1-7]", async () => {
    const topic = randomId()
    await retain(topic, "one")
    const publisher = await Peer.connected(broker.port, version)
    publisher.send(publish(version, { topic, payload: "zero", retain: true }))
    await publisher.settled()
    expect(await kept(topic)).toEqual([`${topic}=zero`])
  })

  test.each(QOS.flatMap((published) => QOS.map((granted) => ({ published, granted }))))(
    "published at QoS $published, granted $granted: the lower of both, clean and lasting [MQTT-3.8.4-8]",
    async ({ published, granted }) => {
      const topic = randomId()
      await publishNumbers(broker.port, { topic, qos: published, from: 1, to: 1, retain: true })
      for (const fields of [{ clientId: randomId() }, lasting(randomId())]) {
        const peer = await Peer.connected(broker.port, version, fields)
        expect(await peer.subscribe([topic, granted])).toEqual([granted])
        const message = await peer.nextPublish()
        expect(message).toMatchObject({ topic, qos: Math.min(published, granted), retain: true, dup: false })
        await complete(peer, message)
        expect(await peer.settled()).toEqual([])
      }
    },
  )

  test("a second SUBSCRIBE with the same filter sends it again [MQTT-3.8.4-3]", async () => {
    const topic = randomId()
    await retain(topic, "x")
    const peer = await Peer.connected(broker.port, version)
    for (const _ of [1, 2]) {
      await peer.subscribe([topic, 0])
      expect((await peer.nextPublish()).retain).toBe(true)
      expect(await peer.settled()).toEqual([])
    }
  })
})

test("filters: levels, + and #, the parent of #, empty levels [section 4.7]", async () => {
  const own = await startBroker({ store: "memory:" })
  for (const topic of ["a", "a/b", "a/b/c", "a/c", "b", "/a", "a/", "$s/a", "$s"]) await retain(topic, "x", own.port)
  const expected: [filter: string, topics: string[]][] = [
    ["a", ["a"]],
    ["a/b", ["a/b"]],
    ["+", ["a", "b"]],
    ["a/+", ["a/b", "a/c", "a/"]],
    ["a/#", ["a", "a/", "a/b", "a/b/c", "a/c"]],
    ["+/b/#", ["a/b", "a/b/c"]],
    ["/+", ["/a"]],
    ["+/+", ["/a", "a/", "a/b", "a/c"]],
    ["#", ["a", "a/b", "a/b/c", "a/c", "b", "/a", "a/"]],
    ["$s/#", ["$s", "$s/a"]],
    ["$s/+", ["$s/a"]],
    ["+/a", ["/a"]],
    ["nothing/#", []],
  ]
  for (const [filter, topics] of expected)
    expect([filter, await kept(filter, own.port)]).toEqual([
      filter,
      topics.map((topic) => `${topic}=x`).toSorted((a, b) => a.localeCompare(b)),
    ])
})

/** How many retained messages a SUBSCRIBE brings. */
const came = async (peer: Peer, filter: string, options: number): Promise<number> => {
  await peer.subscribe([filter, options])
  return (await peer.settled()).length
}

describe("Retain Handling [5.0 section 3.8.3.1]", () => {
  test.each([
    { name: "0: always", options: 0, first: 1, again: 1 },
    { name: "1: only when the subscription is new", options: IF_NEW, first: 1, again: 0 },
    { name: "2: never", options: NEVER, first: 0, again: 0 },
  ])("$name [MQTT-3.3.1-9 to -11]", async ({ options, first, again }) => {
    const topic = randomId()
    await retain(topic, "x")
    const peer = await Peer.connected(broker.port, 5)
    expect(await came(peer, topic, options)).toBe(first)
    expect(await came(peer, topic, options)).toBe(again)
  })

  test("1 counts a subscription of a session that lasts as existing, also after a reconnect and a restart", async () => {
    const own = await startBroker()
    await retain("t", "x", own.port)
    const first = await Peer.connected(own.port, 5, lasting("s"))
    expect(await came(first, "t", IF_NEW)).toBe(1)
    first.cut()
    const second = await Peer.connected(own.port, 5, lasting("s"))
    expect(await came(second, "t", IF_NEW)).toBe(0)
    await own.stop()
    await own.restart()
    const third = await Peer.connected(own.port, 5, lasting("s"))
    expect(await came(third, "t", IF_NEW)).toBe(0)
    third.send(Buffer.from([0xa2, 6, 0, 2, 0, 0, 1, 0x74]))
    expect((await third.next())[0]).toBe(0xb0)
    expect(await came(third, "t", IF_NEW)).toBe(1)
  })

  test("each filter of one SUBSCRIBE has its own; RETAIN is 1 without Retain As Published too [MQTT-3.3.1-8]", async () => {
    const topic = randomId()
    for (const level of ["a", "b", "c"]) await retain(`${topic}/${level}`, level)
    const peer = await Peer.connected(broker.port, 5)
    peer.send(subscribe(5, 1, [`${topic}/a`, NEVER], [`${topic}/b`, 0], [`${topic}/c`, RETAIN_AS_PUBLISHED]))
    expect((await peer.next())[0]).toBe(0x90)
    const messages = (await peer.settled()).map((bytes) => readPublish(bytes, 5))
    expect(messages.map((message) => [message.payload.toString(), message.retain])).toEqual([
      ["b", true],
      ["c", true],
    ])
  })
})

/** PUBLISH of a retained message with a Message Expiry Interval. */
const expiring = (topic: string, seconds: number): Buffer =>
  publish(5, { topic, qos: 1, packetId: 1, payload: "x", retain: true, properties: properties([2, ...long(seconds)]) })

describe("Message Expiry Interval [5.0 section 3.3.2.3.3]", () => {
  test("an expired message is not sent, before and after kill -9; what is left of the interval is said", async () => {
    const own = await startBroker()
    const publisher = await Peer.connected(own.port, 5)
    for (const [topic, seconds] of [
      ["short", 1],
      ["long", 1000],
    ] as const) {
      publisher.send(expiring(topic, seconds))
      expect((await publisher.next())[0]).toBe(0x40)
    }
    expect(await kept("#", own.port)).toEqual(["long=x", "short=x"])
    await waitFor(async () => (await kept("short", own.port)).length === 0, { what: "the end of the interval" })
    const left = async (): Promise<number> => intervalLeft(await Peer.connected(own.port, 5), 0)
    await waitFor(async () => (await left()) <= 999, { what: "a second" })
    publisher.send(expiring("short", 1))
    expect((await publisher.next())[0]).toBe(0x40)
    await own.kill9()
    await own.restart()
    await waitFor(async () => (await kept("short", own.port)).length === 0, { what: "the end of the interval" })
    const seconds = await left()
    expect(seconds).toBeLessThanOrEqual(999)
    expect(seconds).toBeGreaterThan(900)
  })

  test.each(QOS)("what is left is said at granted QoS %i too, to clean and lasting sessions, live and from the queue", async (qos) => {
    const publisher = await Peer.connected(broker.port, 5)
    const topic = randomId()
    publisher.send(expiring(topic, 1000))
    expect((await publisher.next())[0]).toBe(0x40)
    for (const fields of [() => ({}), () => lasting(randomId())])
      await waitFor(async () => (await intervalLeft(await Peer.connected(broker.port, 5, fields()), qos, topic)) <= 999, {
        what: "an interval that is counted down",
        timeoutMs: 4000,
      })
  })
})

describe("durability", () => {
  test("what is acknowledged is there after kill -9: kept, replaced, removed", async () => {
    const own = await startBroker()
    for (const topic of ["kept", "replaced", "removed"]) await retain(topic, "1", own.port)
    await retain("replaced", "2", own.port)
    await retain("removed", "", own.port)
    for (const payload of ["1", "2", ""]) await retain("replaced and removed", payload, own.port)
    await own.kill9()
    await own.restart()
    expect(await kept("#", own.port)).toEqual(["kept=1", "replaced=2"])
    await retain("kept", "3", own.port)
    await own.kill9()
    await own.restart()
    expect(await kept("#", own.port)).toEqual(["kept=3", "replaced=2"])
  })

  test("QoS 0 too, when the broker is stopped in order", async () => {
    const own = await startBroker()
    const publisher = await Peer.connected(own.port, 4)
    publisher.send(publish(4, { topic: "zero", payload: "x", retain: true }))
    await publisher.settled()
    expect(await own.stop()).toBe(0)
    await own.restart()
    expect(await kept("#", own.port)).toEqual(["zero=x"])
  })

  test("a session that lasts gets them through its queue: in order at the window's pace, again after kill -9, RETAIN still 1", async () => {
    const own = await startBroker()
    for (const n of range(1, 6)) await publishNumbers(own.port, { topic: `t/${n}`, qos: 1, from: n, to: n, retain: true })
    const first = await Peer.connected(own.port, 5, lasting("s", 2))
    await first.subscribe(["t/#", 1])
    const [one, two] = await take(first, 2)
    if (!one || !two) throw new Error("no messages")
    expect([one.retain, two.retain]).toEqual([true, true])
    expect(await first.settled()).toEqual([])
    first.send(puback(one.packetId))
    const three = await first.nextPublish()
    const inFlight = [numberOf(two), numberOf(three)]
    await own.kill9()
    await own.restart()
    const second = await Peer.connected(own.port, 5, lasting("s", 100))
    const rest = await take(second, 5)
    // the PUBACK of the first may not have been stored yet: then it comes once more
    if (rest.some((message) => numberOf(message) === numberOf(one))) rest.push(await second.nextPublish())
    const again = rest.filter((message) => message.dup).map(numberOf)
    expect(again.filter((n) => n !== numberOf(one)).slice(0, 2)).toEqual(inFlight)
    expect(new Set([numberOf(one), ...rest.map(numberOf)])).toEqual(new Set(range(1, 6)))
    expect(await second.settled()).toEqual([])
    expect(rest.every((message) => message.retain && message.qos === 1)).toBe(true)
  })
})
