import { startBroker, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { answers, complete, lasting } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { packet, publish, puback, subscribe, word } from "../support/wire.js"

/** Publishes with RETAIN and returns who got it live. */
class Keeper {
  private constructor(
    private readonly port: number,
    private readonly publisher: Peer,
    private readonly live: Peer,
  ) {}

  static async join(port: number): Promise<Keeper> {
    const live = await Peer.connected(port, 4)
    await live.subscribe(["#", 0])
    return new Keeper(port, await Peer.connected(port, 4), live)
  }

  /** Resolves when it is acknowledged and was delivered to a subscriber. */
  async retain(topic: string, payload: string): Promise<void> {
    this.publisher.send(publish(4, { topic, payload, qos: 1, packetId: 1, retain: true }))
    expect(await this.publisher.next()).toEqual(puback(1))
    expect(await this.live.nextPublish()).toMatchObject({ topic, payload: Buffer.from(payload) })
  }

  async kept(): Promise<string> {
    const peer = await Peer.connected(this.port, 4)
    await peer.subscribe(["#", 0])
    const topics = (await peer.settled()).map((bytes) => readPublish(bytes, 4).topic)
    peer.cut()
    return topics.toSorted((a, b) => a.localeCompare(b)).join(" ")
  }
}

test("--max-retained: further topics are not kept, others are replaced, removing makes room, also after a restart", async () => {
  const broker = await startBroker({ args: ["--max-retained", "2"] })
  const keeper = await Keeper.join(broker.port)
  for (const topic of ["a", "b", "c"]) await keeper.retain(topic, "1")
  expect(await keeper.kept()).toBe("a b")
  await keeper.retain("b", "2")
  await keeper.retain("a", "")
  await keeper.retain("c", "3")
  expect(await keeper.kept()).toBe("b c")
  await broker.kill9()
  await broker.restart()
  const second = await Keeper.join(broker.port)
  expect((await second.kept()).split(" ")).toHaveLength(2)
})

test("--max-retained 0: nothing is kept", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--max-retained", "0"] })
  const keeper = await Keeper.join(broker.port)
  await keeper.retain("a", "1")
  expect(await keeper.kept()).toBe("")
})

test("--max-retained-size: bytes of all together; a smaller message in the place of a larger one makes room", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--max-retained-size", "3KB"] })
  const keeper = await Keeper.join(broker.port)
  await keeper.retain("a", "x".repeat(2000))
  await keeper.retain("b", "x".repeat(2000))
  expect(await keeper.kept()).toBe("a")
  await keeper.retain("a", "x".repeat(500))
  await keeper.retain("b", "x".repeat(2000))
  expect(await keeper.kept()).toBe("a b")
  await keeper.retain("a", "x".repeat(2000)) // refused: the older one is not the last message any more [section 3.3.1.3]
  expect(await keeper.kept()).toBe("b")
  await keeper.retain("b", "")
  await keeper.retain("c", "x".repeat(2000))
  expect(await keeper.kept()).toBe("c")
  await waitFor(() => broker.stderr.includes("not kept, --max-retained"), { what: "the log line" })
})

const MANY = 10_000

/** A broker with MANY retained messages of 1,000 bytes. */
async function full(): Promise<TestBroker> {
  const broker = await startBroker()
  const publisher = await Peer.connected(broker.port, 4)
  const payload = "x".repeat(1000)
  for (let n = 1; n <= MANY; n++) publisher.send(publish(4, { topic: `t/${n}`, payload, qos: 1, packetId: n, retain: true }))
  await answers(publisher, MANY)
  publisher.cut()
  return broker
}

test.each(["connection breaks", "broker is killed"])(
  "SUBACK of a session that lasts, then the %s: every retained message comes all the same",
  async (how) => {
    const broker = await full()
    const first = await Peer.connected(broker.port, 4, lasting("s"))
    first.send(subscribe(4, 1, ["t/+", 1]))
    while ((await first.next())[0] !== 0x90); // messages may come before SUBACK [section 3.8.4]
    if (how === "connection breaks") first.cut()
    else {
      await broker.kill9()
      await broker.restart()
    }
    const second = await Peer.connected(broker.port, 4, lasting("s"))
    const topics = new Set<string>()
    while (topics.size < MANY) {
      const message = await second.nextPublish()
      topics.add(message.topic)
      await complete(second, message)
    }
    expect(await second.settled()).toEqual([])
  },
)

test.each([
  ["clean", {}],
  ["lasting", lasting("s")],
])("UNSUBACK of a %s session ends what its SUBSCRIBE began: no retained message is added [MQTT-3.10.4-2]", async (_name, fields) => {
  const broker = await full()
  const peer = await Peer.connected(broker.port, 4, fields)
  peer.send(subscribe(4, 1, ["t/+", 1]), packet(0xa2, word(2), "t/+"))
  const inFlight = new Set<string>()
  for (let bytes = await peer.next(); bytes[0] !== 0xb0; bytes = await peer.next()) {
    if (bytes[0] === 0x90) continue
    inFlight.add(readPublish(bytes, 4).topic)
  }
  // the window of 100 is what may be on its way
  for (const bytes of await peer.settled()) inFlight.add(readPublish(bytes, 4).topic)
  expect(inFlight.size).toBeLessThanOrEqual(100)
})

test.each([
  ["clean", {}],
  ["lasting", lasting("s")],
])("10,000 retained messages to one SUBSCRIBE of a %s session: each once, at the window's pace", async (_name, fields) => {
  const broker = await startBroker({ store: "memory:" })
  const publisher = await Peer.connected(broker.port, 4)
  for (let n = 1; n <= 10_000; n++) publisher.send(publish(4, { topic: `t/${n}`, payload: "x", qos: 1, packetId: n, retain: true }))
  await answers(publisher, 10_000)
  const peer = await Peer.connected(broker.port, 4, fields)
  await peer.subscribe(["t/+", 1])
  const topics = new Set<string>()
  for (let n = 1; n <= 10_000; n++) {
    const message = await peer.nextPublish()
    expect(message.retain).toBe(true)
    topics.add(message.topic)
    await complete(peer, message)
  }
  expect(topics.size).toBe(10_000)
  expect(await peer.settled()).toEqual([])
})
