import { startBroker, type TestBroker } from "@mqtt-trio/common/testing"
import { expect, test } from "vitest"
import { lasting, numberOf, pubcomp, pubrec, range } from "./support/messages.js"
import { Peer } from "./support/peer.js"
import { readConnack, readPublish } from "./support/read.js"
import { fullConnect } from "./support/will.js"
import { publish, puback, word } from "./support/wire.js"

/** Client identifiers that are fought for at once, and connections for each: more takeovers of one would be damped. */
const FIGHTERS = 8
const CONNECTIONS = 6
const MOST = 2000

/** What one client identifier got over all of its connections: QoS 1 and 2 on a topic each. */
class Receiver {
  readonly first: Record<1 | 2, number[]> = { 1: [], 2: [] }
  private readonly seen = new Set<number>()
  /** identifiers at QoS 2 whose PUBREL has not come: a PUBLISH with one is a repeat [MQTT-4.3.3-10] */
  private readonly open = new Map<number, number>()

  /** Takes packets; acknowledges a part of them, as `willing` says. */
  take(peer: Peer, bytes: Buffer, willing: (n: number) => boolean): void {
    if (bytes[0] === 0x62) {
      const packetId = bytes.readUInt16BE(2)
      this.open.delete(packetId)
      peer.send(pubcomp(packetId))
      return
    }
    const message = readPublish(bytes, peer.version)
    const n = numberOf(message)
    if (message.qos === 2) this.exactlyOnce(n, message.packetId)
    else this.atLeastOnce(n)
    if (willing(n)) peer.send(message.qos === 2 ? pubrec(message.packetId) : puback(message.packetId))
  }

  private exactlyOnce(n: number, packetId: number): void {
    if (this.open.get(packetId) === n) return
    if (this.open.has(packetId)) throw new Error(`identifier ${packetId} names ${n}, while ${this.open.get(packetId)} is open`)
    if (this.seen.has(n)) throw new Error(`${n} came twice at QoS 2`)
    this.open.set(packetId, n)
    this.seen.add(n)
    this.first[2].push(n)
  }

  private atLeastOnce(n: number): void {
    if (!this.seen.has(n)) this.first[1].push(n)
    this.seen.add(n)
  }
}

/** Publishes even numbers at QoS 1 and odd ones at QoS 2, and counts what was acknowledged. */
class Publisher {
  sent = 0
  private stopped = false
  private readonly done: Promise<void>

  constructor(private readonly peer: Peer) {
    this.done = this.run()
    this.done.catch(() => {})
  }

  /** Resolves when all is acknowledged. */
  stop(): Promise<void> {
    this.stopped = true
    return this.done
  }

  private async run(): Promise<void> {
    while (!this.stopped && this.sent < MOST) {
      const numbers = range(this.sent, this.sent + 19)
      for (const n of numbers) this.peer.send(publish(4, { topic: "t", payload: `${n}`, qos: n % 2 ? 2 : 1, packetId: n + 1 }))
      for (const n of numbers) expect((await this.peer.next())[0]).toBe(n % 2 ? 0x50 : 0x40)
      for (const n of numbers) if (n % 2) this.peer.send(Buffer.from([0x62, 2, ...word(n + 1)]))
      for (const n of numbers) if (n % 2) expect((await this.peer.next())[0]).toBe(0x70)
      this.sent += numbers.length
    }
  }
}

/** Fights for a client identifier; its Will tells the number of the connection. */
async function fight(broker: TestBroker, options: { clientId: string; n: number; clean: boolean }): Promise<[Peer, present: number]> {
  const { clientId, n, clean } = options
  const peer = new Peer(broker.port, 5)
  peer.send(fullConnect(5, { ...lasting(clientId, 20), clientId, clean, will: { topic: "wills", payload: `${n}`, qos: 2 } }))
  const connack = readConnack(await peer.next())
  expect(connack.reason).toBe(0)
  return [peer, connack.present]
}

/** What waits for a session that lasts: everything, acknowledged. */
async function collect(broker: TestBroker, clientId: string, count: number, receiver: Receiver): Promise<void> {
  const peer = await Peer.connected(broker.port, 5, lasting(clientId))
  while (receiver.first[1].length + receiver.first[2].length < count) receiver.take(peer, await peer.next(), () => true)
  for (const bytes of await peer.settled()) receiver.take(peer, bytes, () => true)
  peer.cut()
}

async function sleeper(broker: TestBroker, clientId: string, filter: string): Promise<void> {
  const peer = await Peer.connected(broker.port, 5, lasting(clientId))
  await peer.subscribe([filter, 2])
  peer.cut()
}

/** Every Will once: of those that were taken over, and of the last, whom the broker took with it. */
async function expectWills(broker: TestBroker, count: number): Promise<void> {
  const heir = new Receiver()
  await collect(broker, "heir", count, heir)
  expect(heir.first[2].toSorted((a, b) => a - b)).toEqual(range(1, count))
}

const evens = (below: number): number[] => range(0, below - 1).filter((n) => n % 2 === 0)
const odds = (below: number): number[] => range(0, below - 1).filter((n) => n % 2 === 1)

/** A connection takes over, reads a part of what comes and acknowledges a part of that; the next comes while it is on its way. */
async function skirmish(broker: TestBroker, options: { clientId: string; n: number; clean: boolean; receiver: Receiver }): Promise<number> {
  const [peer, present] = await fight(broker, options)
  if (options.clean) await subscribeInStorm(peer)
  const came = await peer.settled()
  for (const bytes of came.slice(0, (options.n * 7) % 23)) options.receiver.take(peer, bytes, (number) => number % 3 > 0)
  return present
}

test("sessions that last, QoS 1 and 2 in flight, kill -9 right after a takeover: nothing lost, each Will once", async () => {
  const broker = await startBroker()
  await sleeper(broker, "heir", "wills")
  const fighters = range(1, FIGHTERS).map((n) => ({ clientId: `fighter-${n}`, receiver: new Receiver() }))
  for (const { clientId } of fighters) await sleeper(broker, clientId, "t")
  const publisher = new Publisher(await Peer.connected(broker.port, 4))
  let n = 0
  for (let round = 1; round <= CONNECTIONS; round++) {
    if (round === CONNECTIONS) await publisher.stop()
    const present = await Promise.all(fighters.map(async (fighter) => skirmish(broker, { ...fighter, n: ++n, clean: false })))
    expect(present).toEqual(fighters.map(() => 1))
  }
  await broker.kill9()
  await broker.restart()
  expect(publisher.sent).toBeGreaterThan(0)
  for (const { clientId, receiver } of fighters) {
    await collect(broker, clientId, publisher.sent, receiver)
    expect(receiver.first).toEqual({ 1: evens(publisher.sent), 2: odds(publisher.sent) })
  }
  await expectWills(broker, n)
})

test("clean and lasting in turn: each clean one begins empty, nobody else loses anything, each Will once", async () => {
  const broker = await startBroker()
  await sleeper(broker, "heir", "wills")
  await sleeper(broker, "keeper", "t")
  const publisher = new Publisher(await Peer.connected(broker.port, 4))
  let n = 0
  for (let round = 1; round <= CONNECTIONS; round++) {
    const clean = round % 2 === 1
    if (round === CONNECTIONS) await publisher.stop()
    const connect = async (fighter: number): Promise<number> =>
      skirmish(broker, { clientId: `fighter-${fighter}`, n: ++n, clean, receiver: new Receiver() })
    expect(await Promise.all(range(1, FIGHTERS).map(connect))).toEqual(range(1, FIGHTERS).map(() => (clean ? 0 : 1)))
  }
  await broker.kill9()
  await broker.restart()
  const keeper = new Receiver()
  await collect(broker, "keeper", publisher.sent, keeper)
  expect(keeper.first).toEqual({ 1: evens(publisher.sent), 2: odds(publisher.sent) })
  await expectWills(broker, n)
})

test("two clients that fight for one identifier: damped, and the log says it once", async () => {
  const broker = await startBroker({ store: "memory:" })
  const start = performance.now()
  for (const n of range(1, 8)) await fight(broker, { clientId: "one", n, clean: false })
  expect(performance.now() - start).toBeGreaterThan(1000)
  const lines = broker.stderr.split("\n").filter((line) => line.includes("one") && line.includes("keep taking the client identifier"))
  expect(lines).toHaveLength(1)
})

/** SUBSCRIBE whose SUBACK may come behind the first messages; those are left to be sent again. */
async function subscribeInStorm(peer: Peer): Promise<void> {
  peer.send(Buffer.from([0x82, 7, 0, 1, 0, 0, 1, 0x74, 2]))
  for (;;) {
    const bytes = await peer.next()
    if (bytes[0] === 0x90) return
  }
}
