import { startBroker, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { lasting } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { anonymousMemory } from "../support/processes.js"
import { PINGREQ, puback, publish } from "../support/wire.js"

const SIZE = 10_000
const COUNT = 10_000
const MB = 1 << 20
const AHEAD = 100
const LONGEST_PAUSE_MS = 100
const TRIES = 3

/** A subscriber that reads: counts what comes, acknowledges it, remembers the longest time without a message. */
class Healthy {
  received = 0
  longestPause = 0
  inOrder = true
  private last = 0

  constructor(private readonly peer: Peer) {}

  async read(count: number): Promise<void> {
    this.last = performance.now()
    while (this.received < count) {
      const message = await this.peer.nextPublish()
      const now = performance.now()
      this.longestPause = Math.max(this.longestPause, now - this.last)
      this.last = now
      this.inOrder &&= Number(message.payload.toString("latin1", 0, 8)) === this.received
      this.received++
      if (message.qos === 1) this.peer.send(puback(message.packetId))
    }
  }
}

const numbered = (n: number): Buffer => Buffer.alloc(SIZE, `${n}`.padStart(8, "0").padEnd(16, "."), "latin1")

/** Publishes 100 MB, never more than a megabyte ahead of the healthy subscriber. */
async function flood(publisher: Peer, healthy: Healthy, qos: 0 | 1): Promise<void> {
  for (let n = 0; n < COUNT; n++) {
    publisher.send(publish(4, { topic: "t", qos, packetId: (n % 60_000) + 1, payload: numbered(n) }))
    if (n % AHEAD < AHEAD - 1) continue
    publisher.send(PINGREQ)
    while ((await publisher.next())[0] !== 0xd0); // PUBACKs come in between
    await waitFor(() => healthy.received > n - AHEAD, { what: "the healthy subscriber", timeoutMs: 20_000 })
  }
}

interface Round {
  healthy: Healthy
  growth: number
}

/** 100 MB to a healthy subscriber, with whoever is connected beside it. */
async function round(broker: TestBroker, qos: 0 | 1): Promise<Round> {
  const reader = await Peer.connected(broker.port, 4)
  await reader.subscribe(["t", qos])
  const publisher = await Peer.connected(broker.port, 4)
  const healthy = new Healthy(reader)
  const before = memory(broker)
  const reading = healthy.read(COUNT)
  let highest = before
  const sampler = setInterval(() => (highest = Math.max(highest, memory(broker))), 50)
  await Promise.all([reading, flood(publisher, healthy, qos)])
  clearInterval(sampler)
  reader.cut()
  publisher.cut()
  return { healthy, growth: highest - before }
}

function memory(broker: TestBroker): number {
  return process.platform === "linux" ? anonymousMemory(broker.pid) : 0
}

async function frozen(broker: TestBroker, qos: 0 | 1, clientId?: string): Promise<Peer> {
  const peer = await Peer.connected(broker.port, 5, clientId === undefined ? {} : lasting(clientId))
  await peer.subscribe(["t", qos])
  peer.socket.pause()
  return peer
}

/** The longest pause of a healthy subscriber in ms, and the limit: twice what the machine does by itself. */
interface Pause {
  longest: number
  limit: number
}

/** Bounded memory and every message in order, whatever the machine does; returns what it may be late for. */
function pauseOf({ healthy, growth }: Round, control: Round, name: string): Pause {
  process.stderr.write(
    `${name}: longest pause ${healthy.longestPause.toFixed(0)} ms (without: ${control.healthy.longestPause.toFixed(0)} ms), memory +${(growth / MB).toFixed(0)} MB\n`,
  )
  expect([control.healthy.inOrder, healthy.inOrder]).toEqual([true, true])
  expect(growth).toBeLessThan(150 * MB)
  return { longest: healthy.longestPause, limit: Math.max(LONGEST_PAUSE_MS, 2 * control.healthy.longestPause) }
}

/** A busy machine makes pauses of its own, but not each time at the same place: so the pause, and nothing else, has three tries. */
async function expectCalm(attempt: () => Promise<Pause>): Promise<void> {
  let pause = await attempt()
  for (let more = TRIES - 1; more > 0 && pause.longest >= pause.limit; more--) pause = await attempt()
  expect(pause.longest).toBeLessThan(pause.limit)
}

describe("a frozen subscriber beside a healthy one, 100 MB", { timeout: 360_000 }, () => {
  test("QoS 0: the frozen one's messages are dropped beyond a bound", () =>
    expectCalm(async () => {
      const broker = await startBroker({ store: "memory:" })
      const control = await round(broker, 0)
      const cold = await frozen(broker, 0)
      const pause = pauseOf(await round(broker, 0), control, "QoS 0")
      cold.socket.resume()
      const came = await cold.settled()
      expect(came.length).toBeGreaterThan(0)
      expect(came.length).toBeLessThan(COUNT / 2)
      await broker.stop()
      return pause
    }))

  test("QoS 1, a session that lasts: its messages stay in the store, all of them, in order", () =>
    expectCalm(async () => {
      const broker = await startBroker()
      const absent = await frozen(broker, 1, "absent")
      absent.cut()
      // the store has the same work in both rounds
      const control = await round(broker, 1)
      await Peer.connected(broker.port, 4, { clientId: "absent" })
      const cold = await frozen(broker, 1, "cold")
      const pause = pauseOf(await round(broker, 1), control, "QoS 1, lasting")
      cold.cut()
      const thawed = new Healthy(await Peer.connected(broker.port, 5, lasting("cold")))
      await thawed.read(COUNT)
      expect(thawed.inOrder).toBe(true)
      await broker.stop()
      return pause
    }))

  test("QoS 1, a clean session: closed with 0x97 when 64 MB wait; nobody else notices", () =>
    expectCalm(async () => {
      const broker = await startBroker({ store: "memory:" })
      const control = await round(broker, 1)
      const cold = await frozen(broker, 1)
      const pause = pauseOf(await round(broker, 1), control, "QoS 1, clean")
      cold.socket.resume()
      const [last] = (await cold.ended()).slice(-1)
      expect([last?.[0], last?.[2]]).toEqual([0xe0, 0x97])
      expect(broker.stderr).toMatch(/quota exceeded/)
      await broker.stop()
      return pause
    }))
})
