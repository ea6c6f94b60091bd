import { doorOf, randomId, startBroker, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { expectAlive } from "../support/alive.js"
import { openPort } from "../support/doors.js"
import { HOSTILE } from "../support/hostile-packets.js"
import { Peer } from "../support/peer.js"
import { anonymousMemory, bytesRead } from "../support/processes.js"
import { hex, puback, publish, subscribe } from "../support/wire.js"

const MOST_GROWTH = 50 * 1024 * 1024
const FLOOD = 64 * 1024 * 1024
const linux = process.platform === "linux"

/** Two clients that must notice nothing: one publishes, the other gets it, number for number. */
class Bystanders {
  private n = 0

  private constructor(
    private readonly publisher: Peer,
    private readonly subscriber: Peer,
    private readonly topic: string,
  ) {}

  static async join(port: number): Promise<Bystanders> {
    const topic = randomId()
    const subscriber = await Peer.connected(port, 4, { clientId: randomId(), clean: false })
    await subscriber.subscribe([topic, 1])
    return new Bystanders(await Peer.connected(port, 5), subscriber, topic)
  }

  async exchange(): Promise<void> {
    const packetId = (this.n++ % 65_535) + 1
    this.publisher.send(publish(5, { topic: this.topic, qos: 1, packetId, payload: `${this.n}` }))
    const message = await this.subscriber.nextPublish()
    expect(message.payload.toString()).toBe(`${this.n}`)
    this.subscriber.send(puback(message.packetId))
    expect(await this.publisher.next()).toEqual(puback(packetId))
  }
}

/** How long a connection stays open that sends this and nothing more, in milliseconds. */
async function stays(port: number, bytes?: Buffer): Promise<number> {
  const start = performance.now()
  const peer = new Peer(port, 4)
  if (bytes) peer.send(bytes)
  await peer.ended(20_000)
  return performance.now() - start
}

// the clock runs while the other tests do
const quiet = await (async () => {
  const broker = await startBroker({ store: "memory:" })
  return [stays(broker.port), stays(broker.port, hex("10 20 0004 4d51"))] as const
})()

test(`${HOSTILE.length} hostile first packets: the broker lives, others do not notice, memory stays`, async () => {
  expect(HOSTILE.length).toBeGreaterThanOrEqual(200)
  const broker = await startBroker()
  const bystanders = await Bystanders.join(broker.port)
  await bystanders.exchange()
  const before = linux ? anonymousMemory(broker.pid) : 0
  const open: Peer[] = []
  for (const [, bytes] of HOSTILE) {
    const peer = new Peer(broker.port, 4)
    peer.send(bytes)
    open.push(peer)
    if (open.length % 10 === 0) await bystanders.exchange()
  }
  await bystanders.exchange()
  if (linux) expect(anonymousMemory(broker.pid) - before).toBeLessThan(MOST_GROWTH)
  for (const peer of open) peer.cut()
  await bystanders.exchange()
  await expectAlive(broker)
  expect(broker.stderr).not.toMatch(/internal error|unhandled|TypeError|RangeError/i)
  expect(await broker.stop()).toBe(0)
})

test("fifty connections that announce 256 MB and send what they may: memory stays", async () => {
  const broker = await startBroker()
  const bystanders = await Bystanders.join(broker.port)
  await bystanders.exchange()
  const before = linux ? anonymousMemory(broker.pid) : 0
  const peers = Array.from({ length: 50 }, () => new Peer(broker.port, 4))
  for (const peer of peers) peer.send(hex("10 ff ff ff 7f"), Buffer.alloc(1_500_000, 1))
  for (const peer of peers) await peer.ended(20_000)
  await bystanders.exchange()
  // what TLS and WebSocket leave behind lies about until it is collected
  if (linux && !doorOf(broker.port)) expect(anonymousMemory(broker.pid) - before).toBeLessThan(MOST_GROWTH)
})

test("a connected client that announces 256 MB is refused at once; the limit holds before anything is buffered", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--max-packet", "2KB"] })
  for (const first of [hex("30 ff ff ff 7f"), hex("32 80 11"), hex("82 80 11")]) {
    const peer = await Peer.connected(broker.port, 5)
    peer.send(first)
    expect((await peer.ended()).map((one) => [one[0], one[2]])).toEqual([[0xe0, 0x95]])
  }
  const peer = await Peer.connected(broker.port, 5)
  await peer.subscribe(["x", 0])
  peer.send(publish(5, { topic: "x", payload: Buffer.alloc(2040) }))
  expect((await peer.nextPublish()).payload).toHaveLength(2040)
})

test("a connection that never says anything is closed after ten seconds, and one that says half a CONNECT too", async () => {
  const [silent, half] = quiet
  for (const ms of [await silent, await half]) expect(ms).toBeGreaterThan(8000)
}, 30_000)

test("10,000 filters in one SUBSCRIBE and in many: served, others do not notice", async () => {
  const broker = await startBroker({ store: "memory:" })
  const bystanders = await Bystanders.join(broker.port)
  const peer = await Peer.connected(broker.port, 5)
  const filters = Array.from({ length: 10_000 }, (_, n): [string, number] => [`f/${n}`, 1])
  peer.send(subscribe(5, 1, ...filters))
  await bystanders.exchange()
  const suback = await peer.next()
  expect(suback.subarray(-10_000).every((code) => code === 1)).toBe(true)
  peer.send(publish(5, { topic: "f/9999", qos: 0 }))
  expect((await peer.nextPublish()).topic).toBe("f/9999")
})

test.runIf(linux)("what a refused client goes on sending is not read without end", async () => {
  const broker = await startBroker({ store: "memory:" })
  const before = bytesRead(broker.pid)
  const socket = openPort(broker.port, { allowHalfOpen: true }) // it goes on although the broker said its last word
  let over = false
  socket.on("error", () => (over = true)).on("close", () => (over = true))
  const block = Buffer.alloc(65_536, 1)
  socket.write(Buffer.concat([hex("10 ff ff ff 7f"), block])) // it is refused while more of what came with it is there
  let sent = 0
  const goOn = (): void =>
    void socket.write(block, (error) => {
      if (!error && (sent += block.length) < FLOOD) goOn()
      else over = true
    })
  goOn()
  await waitFor(() => over, { what: "the end of the flood" })
  expect(broker.stderr).toMatch(/limit is/)
  expect(bytesRead(broker.pid) - before).toBeLessThan(FLOOD / 8)
})
