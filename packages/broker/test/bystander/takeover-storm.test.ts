import { Checker } from "@mqtt-trio/torture"
import { startBroker, type TestBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { lasting, numberOf, pubcomp, pubrec, range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readConnack, readPublish } from "../support/read.js"
import { fullConnect } from "../support/will.js"
import { publish, puback, word } from "../support/wire.js"

/** Client identifiers that are fought for at once, and connections for each: more takeovers of one would be damped. */
const FIGHTERS = 8
const CONNECTIONS = 6
const MOST = 2000

/** What is published: even numbers at QoS 1 and odd ones at QoS 2 on topic `t`, and a Will of each connection. */
class Storm {
  readonly checker = new Checker()
  private readonly streams = new Map<string, { stream: number; n: number }>()
  private readonly even = this.checker.addStream({ publisher: "publisher", topic: "t", qos: 1 })
  private readonly odd = this.checker.addStream({ publisher: "publisher", topic: "t", qos: 2 })

  publish(n: number): void {
    const { stream, n: place } = this.place("t", n)
    this.checker.published(stream, place, 1)
  }

  acknowledged(n: number): void {
    const { stream, n: place } = this.place("t", n)
    this.checker.acknowledged(stream, place)
  }

  /** A connection with a Will was accepted: it is sent, whatever happens. */
  will(n: number): void {
    const stream = this.checker.addStream({ publisher: `connection ${n}`, topic: "wills", qos: 2 })
    this.streams.set(`wills ${n}`, { stream, n: 0 })
    this.checker.published(stream, 0, 1)
    this.checker.acknowledged(stream, 0)
  }

  /** Where the checker knows message `n` of a topic. */
  place(topic: string, n: number): { stream: number; n: number } {
    if (topic === "t") return { stream: n % 2 ? this.odd : this.even, n: n >> 1 }
    return this.streams.get(`${topic} ${n}`) ?? { stream: -1, n }
  }
}

/** Acknowledges a packet, as `willing` says. Returns the Packet Identifier that is free with it. */
function reply(peer: Peer, bytes: Buffer, willing: (n: number) => boolean): number | null {
  if (bytes[0] === 0x62) {
    peer.send(pubcomp(bytes.readUInt16BE(2)))
    return bytes.readUInt16BE(2)
  }
  const message = readPublish(bytes, peer.version)
  const { qos, packetId } = message
  if (!willing(numberOf(message))) return null
  peer.send(qos === 2 ? pubrec(packetId) : puback(packetId))
  return qos === 2 ? null : packetId
}

/** One client identifier over all of its connections. */
class Receiver {
  /** messages that came, whatever the checker says of them */
  readonly came = new Set<number>()
  private readonly session: number

  constructor(
    readonly clientId: string,
    filter: string,
    private readonly storm: Storm,
  ) {
    this.session = storm.checker.addSession(clientId, [{ filter, qos: 2 }])
  }

  connected(present: number): void {
    this.storm.checker.connected(this.session, present === 1)
  }

  take(peer: Peer, bytes: Buffer, willing: (n: number) => boolean): void {
    const { checker } = this.storm
    if (bytes[0] !== 0x62) {
      const message = readPublish(bytes, peer.version)
      const { topic, qos, dup, packetId } = message
      this.came.add(numberOf(message))
      checker.delivered(this.session, { ...this.storm.place(topic, numberOf(message)), topic, qos, dup, packetId })
    }
    const free = reply(peer, bytes, willing)
    if (free !== null) checker.released(this.session, free)
  }
}

/** Publishes until it is stopped. */
class Publisher {
  sent = 0
  private stopped = false
  private readonly done: Promise<void>

  constructor(
    private readonly peer: Peer,
    private readonly storm: Storm,
  ) {
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
      for (const n of numbers) {
        this.storm.publish(n)
        this.peer.send(publish(4, { topic: "t", payload: `${n}`, qos: n % 2 ? 2 : 1, packetId: n + 1 }))
      }
      for (const n of numbers) {
        expect((await this.peer.next())[0]).toBe(n % 2 ? 0x50 : 0x40)
        this.storm.acknowledged(n)
      }
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

/** What waits for a session that lasts: `count` messages, acknowledged. */
async function collect(broker: TestBroker, receiver: Receiver, count: number): Promise<void> {
  const [peer, connack] = await Peer.greeted(broker.port, 5, lasting(receiver.clientId))
  receiver.connected(readConnack(connack).present)
  while (receiver.came.size < count) receiver.take(peer, await peer.next(), () => true)
  for (const bytes of await peer.settled()) receiver.take(peer, bytes, () => true)
  peer.cut()
}

async function sleeper(broker: TestBroker, storm: Storm, clientId: string, filter: string): Promise<Receiver> {
  const peer = await Peer.connected(broker.port, 5, lasting(clientId))
  await peer.subscribe([filter, 2])
  peer.cut()
  const receiver = new Receiver(clientId, filter, storm)
  receiver.connected(1)
  return receiver
}

const willing = (n: number): boolean => n % 3 > 0

/** A connection takes over, reads a part of what comes and acknowledges a part of that; the next comes while it is on its way. */
async function skirmish(
  broker: TestBroker,
  storm: Storm,
  options: { clientId: string; n: number; clean: boolean; receiver?: Receiver },
): Promise<number> {
  const { clean, n, receiver } = options
  const [peer, present] = await fight(broker, options)
  storm.will(n)
  receiver?.connected(present)
  if (clean) await subscribeInStorm(peer)
  for (const bytes of (await peer.settled()).slice(0, (n * 7) % 23)) {
    if (receiver) receiver.take(peer, bytes, willing)
    else reply(peer, bytes, willing)
  }
  return present
}

test("sessions that last, QoS 1 and 2 in flight, kill -9 right after a takeover: nothing lost, each Will once", async () => {
  const broker = await startBroker()
  const storm = new Storm()
  const heir = await sleeper(broker, storm, "heir", "wills")
  const fighters = await Promise.all(range(1, FIGHTERS).map((n) => sleeper(broker, storm, `fighter-${n}`, "t")))
  const publisher = new Publisher(await Peer.connected(broker.port, 4), storm)
  let n = 0
  for (let round = 1; round <= CONNECTIONS; round++) {
    if (round === CONNECTIONS) await publisher.stop()
    const attacks = fighters.map(async (receiver) =>
      skirmish(broker, storm, { clientId: receiver.clientId, receiver, n: ++n, clean: false }),
    )
    expect(await Promise.all(attacks)).toEqual(fighters.map(() => 1))
  }
  await broker.kill9()
  storm.checker.brokerEnded()
  await broker.restart()
  expect(publisher.sent).toBeGreaterThan(0)
  for (const receiver of fighters) await collect(broker, receiver, publisher.sent)
  await collect(broker, heir, n)
  expectClean(storm, publisher.sent * FIGHTERS + n)
})

test("clean and lasting in turn: each clean one begins empty, nobody else loses anything, each Will once", async () => {
  const broker = await startBroker()
  const storm = new Storm()
  const heir = await sleeper(broker, storm, "heir", "wills")
  const keeper = await sleeper(broker, storm, "keeper", "t")
  const publisher = new Publisher(await Peer.connected(broker.port, 4), storm)
  let n = 0
  for (let round = 1; round <= CONNECTIONS; round++) {
    const clean = round % 2 === 1
    if (round === CONNECTIONS) await publisher.stop()
    const connect = async (fighter: number): Promise<number> => skirmish(broker, storm, { clientId: `fighter-${fighter}`, n: ++n, clean })
    expect(await Promise.all(range(1, FIGHTERS).map(connect))).toEqual(range(1, FIGHTERS).map(() => (clean ? 0 : 1)))
  }
  await broker.kill9()
  storm.checker.brokerEnded()
  await broker.restart()
  await collect(broker, keeper, publisher.sent)
  await collect(broker, heir, n)
  expectClean(storm, publisher.sent + n)
})

function expectClean(storm: Storm, expected: number): void {
  const { anomalies, ...numbers } = storm.checker.verdict()
  expect(anomalies).toEqual([])
  expect(numbers).toMatchObject({ expected, firstCopies: expected })
}

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
