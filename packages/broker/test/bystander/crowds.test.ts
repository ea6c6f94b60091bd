import { startBroker, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { anonymousMemory } from "../support/processes.js"
import { type ConnectFields, publish } from "../support/wire.js"

const CROWD = 1000
const MB = 1 << 20
/** Without turns of others between it is some thousand. */
const LONGEST_MS = 700

/** Publishes one message after the other until it is told to stop; knows how long a PUBACK took at most, in ms. */
class Bystander {
  longest = 0
  answered = 0
  private stopped = false
  private readonly running: Promise<void>

  private constructor(private readonly peer: Peer) {
    this.running = this.run()
  }

  static async begin(broker: TestBroker): Promise<Bystander> {
    return new Bystander(await Peer.connected(broker.port, 4, { clientId: "bystander" }))
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const start = performance.now()
      this.peer.send(publish(4, { topic: "by", qos: 1, packetId: 1, payload: "x" }))
      await this.peer.next(60_000) // oxlint-disable-line no-await-in-loop -- one after the other
      this.longest = Math.max(this.longest, performance.now() - start)
      this.answered++
    }
  }

  async stop(): Promise<number> {
    this.stopped = true
    await this.running
    return this.longest
  }
}

/** Clients that never read what they are sent. */
async function frozen(broker: TestBroker, count: number, fields: (n: number) => ConnectFields): Promise<void> {
  for (const n of range(1, count)) {
    // oxlint-disable-next-line no-await-in-loop -- the broker has others to serve
    const peer = await Peer.connected(broker.port, 4, fields(n))
    await peer.subscribe(["t", 1]) // oxlint-disable-line no-await-in-loop
    peer.socket.pause()
  }
}

test(`${CROWD} frozen receivers of large messages do not keep others waiting`, async () => {
  const broker = await startBroker({ store: "memory:" })
  await frozen(broker, CROWD, (n) => ({ clientId: `f${n}` }))
  const publisher = await Peer.connected(broker.port, 4, { clientId: "p" })
  const bystander = await Bystander.begin(broker)
  const MESSAGES = 30
  for (const n of range(1, MESSAGES)) publisher.send(publish(4, { topic: "t", qos: 1, packetId: n, payload: Buffer.alloc(100_000) }))
  await waitFor(() => publisher.waiting.length === MESSAGES, { what: "the PUBACKs", timeoutMs: 60_000 })
  const before = bystander.answered
  await waitFor(() => bystander.answered >= before + 20, { what: "the bystander" })
  expect(await bystander.stop()).toBeLessThan(LONGEST_MS)
})

test("what many are sent is in memory once, whether their sessions last or not", async () => {
  const broker = await startBroker({})
  await frozen(broker, 150, (n) => ({ clientId: `clean${n}` }))
  await frozen(broker, 150, (n) => ({ clientId: `lasting${n}`, clean: false }))
  const publisher = await Peer.connected(broker.port, 4, { clientId: "p" })
  const before = anonymousMemory(broker.pid)
  const MESSAGES = 8
  for (const n of range(1, MESSAGES)) publisher.send(publish(4, { topic: "t", qos: 1, packetId: n, payload: Buffer.alloc(900_000, n) }))
  await waitFor(() => publisher.waiting.length === MESSAGES, { what: "the PUBACKs", timeoutMs: 60_000 })
  // what the sockets do not take would be more than a gigabyte
  expect((anonymousMemory(broker.pid) - before) / MB).toBeLessThan(150)
})

test(`messages to two topics in turn that ${CROWD} receive do not keep others waiting`, async () => {
  const broker = await startBroker({ store: "memory:" })
  for (const n of range(1, CROWD)) {
    const peer = await Peer.connected(broker.port, 4, { clientId: `f${n}` }) // oxlint-disable-line no-await-in-loop
    await peer.subscribe(["t/1", 0], ["t/2", 0]) // oxlint-disable-line no-await-in-loop
    peer.socket.pause()
  }
  const publisher = await Peer.connected(broker.port, 4, { clientId: "p" })
  const bystander = await Bystander.begin(broker)
  const some = range(1, 12_000).map((n) => publish(4, { topic: `t/${1 + (n % 2)}`, qos: 0, payload: "x" }))
  publisher.send(...some)
  expect(await publisher.settled()).toEqual([])
  expect(await bystander.stop()).toBeLessThan(LONGEST_MS)
})

test("what was freed goes back to the system, although nothing happens any more", { timeout: 120_000 }, async () => {
  const broker = await startBroker({ store: "memory:" })
  const before = anonymousMemory(broker.pid)
  const almost = publish(4, { topic: "t", payload: Buffer.alloc(MB - 32, 65) }).subarray(0, -1)
  const peers = await Promise.all(range(1, 150).map(async (n) => Peer.connected(broker.port, 4, { clientId: `c${n}` })))
  for (const peer of peers) peer.send(almost)
  const grown = (): number => (anonymousMemory(broker.pid) - before) / MB
  await waitFor(() => grown() > 120, { what: "what comes" })
  for (const peer of peers) peer.cut()
  await waitFor(() => grown() < 90, { what: "the memory", timeoutMs: 60_000 })
})
