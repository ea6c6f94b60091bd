import { randomId, startBroker, type TestBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { KINDS, logged, startDoors } from "../support/doors.js"
import { numberOf, range, take } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { DISCONNECT, PINGREQ, PINGRESP, publish } from "../support/wire.js"

const limited = (...args: string[]): Promise<TestBroker> => startBroker({ store: "memory:", args })

/** Messages 1 to `count`, in one piece. */
function flood(topic: string, count: number, { qos = 0, size = 10 }: { qos?: 0 | 1; size?: number } = {}): Buffer {
  return Buffer.concat(range(1, count).map((n) => publish(4, { topic, qos, packetId: n, payload: `${n}`.padEnd(size) })))
}

async function subscriber({ port }: TestBroker, topic: string): Promise<Peer> {
  const peer = await Peer.connected(port, 4)
  await peer.subscribe([topic, 0])
  return peer
}

/** Messages per second from now on, but for the first `burst`, which come at once; `count` are awaited, in order. */
async function rateOf(peer: Peer, burst: number, count: number): Promise<number> {
  const since = performance.now()
  expect((await take(peer, count)).map(numberOf)).toEqual(range(1, count))
  return ((count - burst) * 1000) / (performance.now() - since)
}

function expectAbout(measured: number, wanted: number, what?: string): void {
  expect(measured, what).toBeGreaterThan(wanted * 0.85)
  expect(measured, what).toBeLessThan(wanted * 1.15)
}

describe("a client that is faster than it may be gets its rate, and loses nothing", () => {
  const CASES = [
    { args: "--max-rate 200/s", qos: 0, size: 10, burst: 200, count: 1000, rate: 200 },
    { args: "--max-rate 12000/m", qos: 1, size: 10, burst: 200, count: 1000, rate: 200 },
    { args: "--max-byte-rate 100KB/s", qos: 0, size: 10_227, burst: 11, count: 41, rate: 10 },
    { args: "--max-byte-rate 100KB/s --max-rate 50/s", qos: 1, size: 10, burst: 50, count: 200, rate: 50 },
  ] as const

  test("messages, bytes and both, at QoS 0 and 1, each at a broker of its own", async () => {
    const [topic, brokers] = [randomId(), await Promise.all(CASES.map(({ args }) => limited(...args.split(" "))))]
    const measure = async (broker: TestBroker, n: number): Promise<void> => {
      const { args, qos, size, burst, count, rate } = CASES[n] ?? CASES[0]
      const peer = await subscriber(broker, topic)
      const publisher = await Peer.connected(broker.port, 4)
      publisher.send(flood(topic, count, { qos, size }))
      expectAbout(await rateOf(peer, burst, count), rate, args)
      expect(await publisher.settled(), args).toHaveLength(qos * count)
    }
    await Promise.all(brokers.map(measure))
  })

  test("there is no rate where nobody asked for one", async () => {
    const [topic, broker] = [randomId(), await limited()]
    const peer = await subscriber(broker, topic)
    const publisher = await Peer.connected(broker.port, 4)
    publisher.send(flood(topic, 20_000))
    expect(await rateOf(peer, 1, 20_000)).toBeGreaterThan(5000)
  })

  test("from every kind of listener comes all that came before a DISCONNECT", async () => {
    const doors = await startDoors(["--max-rate", "100/s"])
    const peers = await Promise.all(KINDS.map((_, n) => subscriber(doors.broker, `t${n}`)))
    const publishers = await Promise.all(KINDS.map((kind) => Peer.connected(doors.open(kind), 4)))
    for (const [n, publisher] of publishers.entries()) {
      publisher.send(flood(`t${n}`, 300), DISCONNECT)
      publisher.socket.end()
    }
    const rates = await Promise.all(peers.map((peer) => rateOf(peer, 100, 300)))
    for (const [n, rate] of rates.entries()) expectAbout(rate, 100, KINDS[n])
  })
})

test("50 clients that are too fast: each gets its rate, and a bystander notices nothing", async () => {
  const broker = await limited("--max-rate", "40/s")
  const subscribers = await Promise.all(range(1, 50).map((n) => subscriber(broker, `t${n}`)))
  const publishers = await Promise.all(range(1, 50).map(() => Peer.connected(broker.port, 4)))
  const bystander = await subscriber(broker, "bystander")
  // more than what is counted: they stay too fast until the end
  const floods = range(1, 50).map((n) => flood(`t${n}`, 1000))
  for (const [n, publisher] of publishers.entries()) publisher.send(floods[n] ?? PINGREQ)
  const rates = Promise.all(subscribers.map((peer) => rateOf(peer, 40, 200)))
  const slow: number[] = []
  for (let done = false; !done;) {
    const since = performance.now()
    bystander.send(publish(4, { topic: "bystander", payload: `${since}` }))
    await bystander.nextPublish()
    slow.push(performance.now() - since)
    done = await Promise.race([rates.then(() => true), new Promise<false>((resolve) => setTimeout(resolve, 50, false))])
  }
  for (const rate of await rates) expectAbout(rate, 40)
  slow.sort((a, b) => a - b)
  process.stderr.write(`bystander: median ${slow[slow.length >> 1]?.toFixed(1)} ms, longest ${slow.at(-1)?.toFixed(1)} ms\n`)
  expect(slow.length).toBeGreaterThan(40)
  expect(slow[Math.floor(slow.length * 0.95)]).toBeLessThan(100)
})

test("Keep Alive does not end whom we do not read; its PINGREQ waits behind its messages", async () => {
  const broker = await limited("--max-rate", "1/s")
  const peer = await Peer.connected(broker.port, 4, { keepAlive: 1 })
  const since = performance.now()
  peer.send(flood("t", 5), PINGREQ)
  expect(await peer.next()).toEqual(PINGRESP)
  const seconds = (performance.now() - since) / 1000
  expect(seconds).toBeGreaterThan(3.8)
  expect(seconds).toBeLessThan(4.8)
  expect((await peer.ended()).length).toBe(0) // now it says nothing more
})

test("a broker with such a client stops as ever", async () => {
  const broker = await limited("--max-rate", "1/h")
  const peer = await Peer.connected(broker.port, 4)
  await peer.subscribe(["t", 0])
  peer.send(flood("t", 10_000))
  expect(numberOf(await peer.nextPublish())).toBe(1)
  const since = performance.now()
  expect(await broker.stop()).toBe(0)
  expect(performance.now() - since).toBeLessThan(2500)
  expect(await peer.ended()).toEqual([])
})

test("the log shows a packet once, however often it was looked at", async () => {
  const broker = await limited("--max-rate", "10/s", "--log-level", "debug")
  const peer = await Peer.connected(broker.port, 4)
  const bytes = flood("t", 15)
  peer.send(bytes.subarray(0, -1)) // the last one comes in two pieces
  peer.send(bytes.subarray(-1))
  await peer.settled()
  await logged(broker, '"packet":"pingreq"')
  expect(broker.stderr.match(/from \S+: PUBLISH/g)).toHaveLength(15)
})
