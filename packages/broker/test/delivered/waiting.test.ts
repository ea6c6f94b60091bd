import { runCli, startBroker, type TestBroker } from "@mqtt-trio/testing"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { answers, complete, lasting, publishNumbers, pubrec, pubrel } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readConnack, readPublish } from "../support/read.js"
import { long, packet, properties, publish, sessionExpiry, word } from "../support/wire.js"

interface Depth {
  messages: number
  exact: boolean
  records: string[]
}

/** What `mqtt-broker queue` says about the Session `s`. */
async function queue(broker: TestBroker, peek = 1000): Promise<Depth> {
  const { stdout } = await runCli("mqtt-broker", ["queue", "s", "--store", `file:${broker.dir}/store`, "--json", "--peek", `${peek}`])
  const [session, ...records] = stdout.split("\n").filter(Boolean)
  const payloads = records.map((line): string => JSON.parse(line).payload)
  return { ...JSON.parse(session ?? ""), records: payloads }
}

/** What CONNACK says about it; undefined: nothing. */
function told(connack: Buffer): number | undefined {
  const pair = readConnack(connack).properties.find(({ id, value }) => id === 0x26 && value.includes("messages-waiting"))
  return pair && Number(pair.value.subarray(2 + 16 + 2).toString())
}

/** What comes up to an answer that waits for the store as they do. */
async function behindStore(peer: Peer): Promise<Buffer[]> {
  peer.send(publish(5, { topic: "$nobody", qos: 1, packetId: 65_535 }))
  const came: Buffer[] = []
  for (let bytes = await peer.next(); bytes[0] !== 0x40; bytes = await peer.next()) came.push(bytes)
  return came
}

/** The Session `s` comes back: what it is told, and how many messages come. */
async function comeBack(broker: TestBroker): Promise<{ said: number | undefined; came: number; peer: Peer }> {
  const [peer, connack] = await Peer.greeted(broker.port, 5, lasting("s"))
  const said = told(connack)
  /** Answers a packet; how many messages it is. */
  const take = (bytes: Buffer): number => {
    const isPublish = bytes[0] !== 0x62
    const { qos, packetId } = isPublish ? readPublish(bytes, 5) : { qos: 0, packetId: 0 }
    if (isPublish) peer.send(packet(qos === 2 ? 0x50 : 0x40, word(packetId)))
    else peer.send(packet(0x70, bytes.subarray(2, 4)))
    return isPublish ? 1 : 0
  }
  let came = 0
  for (const wanted = said ?? 0; came < wanted;) came += take(await peer.next())
  // and nothing more
  for (let quiet = 0; quiet < 2; quiet++)
    for (const bytes of await behindStore(peer)) {
      quiet = -1
      came += take(bytes)
    }
  return { said, came, peer }
}

async function away(broker: TestBroker, ...filters: [string, number][]): Promise<void> {
  const peer = await Peer.connected(broker.port, 5, lasting("s"))
  await peer.subscribe(...filters)
  peer.send(packet(0xe0))
  await peer.ended()
}

const expiring = (topic: string, packetId: number, seconds: number): Buffer =>
  publish(5, { topic, payload: "short", qos: 1, packetId, properties: properties([2, ...long(seconds)]) })

describe("how many messages wait is how many will come", () => {
  test("three filters that match the same message, and one that expired", async () => {
    const broker = await startBroker()
    await away(broker, ["t/#", 1], ["t/a", 1], ["+/a", 2])
    const publisher = await Peer.connected(broker.port, 5)
    publisher.send(expiring("t/a", 1, 1), publish(5, { topic: "t/a", payload: "long", qos: 1, packetId: 2 }), expiring("t/b", 3, 100))
    for (let n = 0; n < 3; n++) expect((await publisher.next())[0]).toBe(0x40)
    expect(await queue(broker)).toMatchObject({ messages: 3, exact: true, records: ["short", "long", "short"] })
    const timed = await Peer.connected(broker.port, 4, { keepAlive: 1 })
    await timed.ended()
    expect(await queue(broker)).toMatchObject({ messages: 2, exact: true, records: ["long", "short"] })
    await broker.kill9()
    await broker.restart()
    expect(await queue(broker)).toMatchObject({ messages: 2, exact: true, records: ["long", "short"] })
    expect(await comeBack(broker)).toMatchObject({ said: 2, came: 2 })
    expect(await queue(broker)).toMatchObject({ messages: 0, exact: true, records: [] })
  })

  test("in flight counts as long as the message may come again: not behind PUBREC, not what was acknowledged out of turn", async () => {
    const broker = await startBroker()
    const first = await Peer.connected(broker.port, 5, lasting("s", 3))
    await first.subscribe(["t", 2])
    await publishNumbers(broker.port, { topic: "t", qos: 1, from: 1, to: 2 })
    await publishNumbers(broker.port, { topic: "t", qos: 2, from: 3, to: 5 })
    const [one, two, three] = [await first.nextPublish(), await first.nextPublish(), await first.nextPublish()]
    first.send(pubrec(three.packetId))
    expect(await first.next()).toEqual(pubrel(three.packetId))
    await complete(first, two)
    const four = await first.nextPublish()
    expect([one, two, three, four].map(({ payload }) => payload.toString())).toEqual(["1", "2", "3", "4"])
    expect(await queue(broker)).toMatchObject({ messages: 3, exact: true, records: ["1", "4", "5"] })
    first.cut()
    await first.ended()
    expect(await comeBack(broker)).toMatchObject({ said: 3, came: 3 })
  })

  test("a SUBSCRIBE that lowers and raises its grant, UNSUBSCRIBE, retained messages", async () => {
    const broker = await startBroker()
    await publishNumbers(broker.port, { topic: "t", qos: 1, from: 1, to: 1, retain: true })
    const first = await Peer.connected(broker.port, 5, lasting("s", 1))
    await first.subscribe(["t", 1], ["+", 1])
    await publishNumbers(broker.port, { topic: "t", qos: 1, from: 2, to: 4 })
    await first.nextPublish()
    first.send(packet(0x82, word(2), [0], "t", [0x20]), packet(0xa2, word(3), [0], "+"), packet(0x82, word(4), [0], "t", [0x21]))
    for (const head of [0x90, 0xb0, 0x90]) expect((await first.next())[0]).toBe(head)
    await publishNumbers(broker.port, { topic: "t", qos: 1, from: 5, to: 5 })
    const { messages, exact, records } = await queue(broker)
    expect({ messages, exact }).toEqual({ messages: records.length, exact: true })
    first.cut()
    await first.ended()
    expect(await comeBack(broker)).toMatchObject({ said: messages, came: messages })
  })

  test("random filters, topics, restarts", async () => {
    const broker = await startBroker()
    const filter = fc.constantFrom("a", "b", "a/b", "+", "#", "a/#", "+/b", "a/+", "b/#")
    const topic = fc.constantFrom("a", "b", "a/b", "a/c", "c/b", "b/x")
    const round = fc.record({
      filters: fc.uniqueArray(filter, { minLength: 1, maxLength: 5 }),
      topics: fc.array(topic, { maxLength: 30 }),
      qos: fc.constantFrom(1, 2),
      kill: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    })
    await fc.assert(
      fc.asyncProperty(round, async ({ filters, topics, qos, kill }) => {
        await (await Peer.connected(broker.port, 5, { clientId: "s", clean: true })).settled()
        await away(broker, ...filters.map((name): [string, number] => [name, qos]))
        const publisher = await Peer.connected(broker.port, 5)
        for (const [n, name] of topics.entries()) publisher.send(publish(5, { topic: name, payload: "x", qos: 1, packetId: n + 1 }))
        await answers(publisher, topics.length)
        publisher.cut()
        if (kill) {
          await broker.kill9()
          await broker.restart()
        }
        const { said, came, peer } = await comeBack(broker)
        peer.cut()
        expect(said).toBe(came)
      }),
      { numRuns: 15 },
    )
  })
})

test("what is larger than the client takes does not count", async () => {
  const broker = await startBroker()
  const first = await Peer.connected(broker.port, 5, lasting("s"))
  await first.subscribe(["t", 1])
  first.send(packet(0xe0))
  await first.ended()
  const publisher = await Peer.connected(broker.port, 5)
  for (const [n, payload] of ["small", "x".repeat(300), "last"].entries()) {
    publisher.send(publish(5, { topic: "t", qos: 1, packetId: n + 1, payload }))
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    expect((await publisher.next())[0]).toBe(0x40)
  }
  const size = { clientId: "s", clean: false, properties: properties(sessionExpiry(1000), [39], long(100)) }
  const [second, connack] = await Peer.greeted(broker.port, 5, size)
  expect(told(connack)).toBe(2)
  const payloads = [await second.nextPublish(), await second.nextPublish()].map(({ payload }) => payload.toString())
  expect(payloads).toEqual(["small", "last"])
})

const MANY = 10_000
/** As many messages as take too long to count one by one: so large that a chunk has few of them. */
async function fill(broker: TestBroker): Promise<void> {
  const publisher = await Peer.connected(broker.port, 4)
  const payload = "x".repeat(1000)
  for (let n = 1; n <= MANY; n++) publisher.send(publish(4, { topic: "t/a", payload, qos: 1, packetId: n }))
  for (let n = 1; n <= MANY; n++) await publisher.next()
}

test("a queue that takes too long to count: CONNACK says nothing, the tool says at least so many", async () => {
  const broker = await startBroker()
  await away(broker, ["t/#", 1], ["t/+", 1])
  await fill(broker)
  const { messages, exact } = await queue(broker, 0)
  expect([messages, exact]).toEqual([MANY, false])
  const text = await runCli("mqtt-broker", ["queue", "s", "--store", `file:${broker.dir}/store`, "--peek", "0"])
  expect(text.stderr).toContain(`s: at least ${MANY} messages`)
  const [, connack] = await Peer.greeted(broker.port, 5, { ...lasting("s"), properties: properties(sessionExpiry(1000)) })
  expect(told(connack)).toBeUndefined()
})

test("as many in one filter are counted exactly", async () => {
  const broker = await startBroker()
  await away(broker, ["t/#", 1], ["u/+", 1])
  await fill(broker)
  await publishNumbers(broker.port, { topic: "u/a", qos: 1, from: 1, to: 5 })
  const [, connack] = await Peer.greeted(broker.port, 5, lasting("s"))
  expect(told(connack)).toBe(MANY + 5)
})
