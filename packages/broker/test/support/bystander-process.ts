/*
 * Somebody who has nothing to do with what goes on: node bystander-process.js PORT ADDRESS. Two publishers at QoS 1, one to a
 * Clean Session and one to a persistent Session of their own, each with a message every 20 ms, whether those before are
 * acknowledged or not. A process of its own, so that it measures the broker and not whoever attacks. Lines of stdin:
 *   measure   from now on times count
 *   report    one line of JSON: what came of it so far; who waits still counts with the time that it has waited
 *   finish    the same once all that was published is acknowledged and has come, or 20 s later
 */
import { connect as connectTcp } from "node:net"
import { setPriority } from "node:os"
import { createInterface } from "node:readline"
import { setTimeout as after } from "node:timers/promises"
import { acknowledgementPacket, PACKET, PacketSplitter } from "@mqtt-trio/torture"
import type { BystanderReport, LineReport, Times } from "./bystander.js"
import { connect, type ConnectFields, publish, subscribe } from "./wire.js"

const EVERY_MS = 20
const FINISH_MS = 20_000
const MOST_IDENTIFIERS = 65_535
const PORT = Number(process.argv[2])
const ADDRESS = process.argv[3] ?? ""

/** A client: reads, acknowledges what comes at QoS 1. */
class Client {
  closed = false
  private readonly socket = connectTcp({ port: PORT, host: "127.0.0.1", localAddress: ADDRESS, noDelay: true })
  private readonly splitter = new PacketSplitter()

  constructor(fields: ConnectFields, taken: (head: number, body: Buffer) => void) {
    this.socket.on("data", (chunk: Buffer) => this.splitter.push(chunk, ({ head, body }) => taken(head, body)))
    this.socket.on("error", () => {}) // 'close' follows
    this.socket.on("close", () => (this.closed = true))
    this.send(connect(4, fields))
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes)
  }
}

/** What waited, in the order in which it began, and how long what is done took. */
class Stopwatch {
  private readonly started: number[] = []
  private done = 0
  private times: number[] = []

  start(now: number): void {
    this.started.push(now)
  }

  /** The one that waited longest is done. */
  stop(): void {
    this.times.push(performance.now() - (this.started[this.done++] ?? Number.NaN))
  }

  get waiting(): number {
    return this.started.length - this.done
  }

  reset(): void {
    this.times = []
  }

  report(): Times {
    const now = performance.now()
    const sorted = [...this.times, ...this.started.slice(this.done).map((from) => now - from)].toSorted((a, b) => a - b)
    const quantile = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Infinity
    return { count: sorted.length, p50: quantile(0.5), p99: quantile(0.99), max: sorted.at(-1) ?? Infinity }
  }
}

/** A publisher and its subscriber. */
class Line {
  private sent = 0
  private received = 0
  private inOrder = true
  private steps = 0
  private readonly acknowledged = new Stopwatch()
  private readonly delivered = new Stopwatch()
  private readonly subscriber: Client
  private readonly publisher: Client

  constructor(private readonly topic: string) {
    this.subscriber = new Client({ clientId: `${topic}-subscriber`, clean: topic === "clean" }, (head, body) => this.heard(head, body))
    this.publisher = new Client({ clientId: `${topic}-publisher` }, (head, body) => this.answered(head, body))
    this.subscriber.send(subscribe(4, 1, [topic, 1]))
  }

  /** Both are connected and the Subscription is made. */
  get ready(): boolean {
    return this.steps === 2
  }

  get finished(): boolean {
    return this.acknowledged.waiting + this.delivered.waiting === 0
  }

  publish(): void {
    const now = performance.now()
    this.acknowledged.start(now)
    this.delivered.start(now)
    const packetId = (this.sent % MOST_IDENTIFIERS) + 1
    this.publisher.send(publish(4, { topic: this.topic, qos: 1, packetId, payload: `${this.sent++}`.padEnd(64) }))
  }

  measure(): void {
    this.acknowledged.reset()
    this.delivered.reset()
  }

  report(): LineReport {
    const { acknowledged, delivered, publisher, subscriber, inOrder } = this
    return {
      puback: acknowledged.report(),
      delivery: delivered.report(),
      missing: acknowledged.waiting + delivered.waiting,
      inOrder,
      connected: !publisher.closed && !subscriber.closed,
    }
  }

  private heard(head: number, body: Buffer): void {
    if (head === PACKET.suback) this.steps++
    if (head !== (PACKET.publish | 2)) return
    const end = 2 + body.readUInt16BE(0)
    this.subscriber.send(acknowledgementPacket(PACKET.puback, body.readUInt16BE(end)))
    this.inOrder &&= Number(body.toString("latin1", end + 2)) === this.received
    this.received++
    this.delivered.stop()
  }

  private answered(head: number, body: Buffer): void {
    if (head === PACKET.connack) this.steps++
    if (head !== PACKET.puback) return
    this.inOrder &&= body.readUInt16BE(0) === ((this.sent - this.acknowledged.waiting) % MOST_IDENTIFIERS) + 1
    this.acknowledged.stop()
  }
}

try {
  setPriority(-15) // what it measures is not how long it waits for a core
} catch {
  // that needs a right which not every user has
}
const lines = { clean: new Line("clean"), stored: new Line("stored") }
while (!lines.clean.ready || !lines.stored.ready) await after(5)
const began = performance.now()
let turns = 0
const timer = setInterval(() => {
  // as many as there should be by now: a timer that comes late does not make it rarer
  for (; turns < (performance.now() - began) / EVERY_MS; turns++) for (const line of Object.values(lines)) line.publish()
}, EVERY_MS / 2)
const tell = (): void => {
  const report: BystanderReport = { clean: lines.clean.report(), stored: lines.stored.report() }
  process.stdout.write(`${JSON.stringify(report, (_key, value: unknown) => (value === Infinity ? 1e9 : value))}\n`)
}
process.stdout.write("ready\n")
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "measure") for (const one of Object.values(lines)) one.measure()
  if (line === "report") tell()
  if (line !== "finish") continue
  clearInterval(timer)
  for (const until = performance.now() + FINISH_MS; performance.now() < until && !(lines.clean.finished && lines.stored.finished);)
    await after(10)
  tell()
  break
}
process.exit() // oxlint-disable-line unicorn/no-process-exit -- its sockets would keep it
