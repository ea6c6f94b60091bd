import { randomId, startBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { complete, lasting, numberOf } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { publish, subscribe } from "../support/wire.js"

const SUBSCRIBERS = 1000
const SEEN_BY_EACH = 8
const AT_ONCE = 10
const WINDOW = 100

/** Publishes the numbers from 1 on with RETAIN, a window of them at a time, until it is told to stop. */
class Counter {
  n = 0
  private stopped = false
  private readonly ended: Promise<void>

  constructor(
    private readonly peer: Peer,
    private readonly topic: string,
  ) {
    for (let slot = 0; slot < WINDOW; slot++) this.next()
    this.ended = this.run()
    this.ended.catch(() => {}) // stop() tells
  }

  stop(): Promise<void> {
    this.stopped = true
    return this.ended
  }

  private next(): void {
    const packetId = (this.n++ % 65_535) + 1
    this.peer.send(publish(4, { topic: this.topic, payload: `${this.n}`, qos: 1, packetId, retain: true }))
  }

  private async run(): Promise<void> {
    for (let acknowledged = 0; acknowledged < this.n; acknowledged++) {
      await this.peer.next()
      if (!this.stopped) this.next()
    }
  }
}

/** Subscribes at whatever moment this is, and looks at the numbers that come. */
async function arrive(port: number, n: number): Promise<{ retained: boolean; numbers: number[] }> {
  const version = n % 2 ? 4 : 5
  const fields = n % 4 < 2 ? { clientId: randomId() } : lasting(randomId())
  const peer = await Peer.connected(port, version, fields)
  peer.send(subscribe(version, 1, [n % 5 ? "counter" : "+", n % 3]))
  const numbers: number[] = []
  let retained = false
  while (numbers.length < SEEN_BY_EACH) {
    const bytes = await peer.next()
    if (bytes[0] === 0x90) continue // messages may come before SUBACK [section 3.8.4]
    const message = readPublish(bytes, version)
    retained ||= message.retain
    if (message.retain) expect(numbers).toEqual([])
    numbers.push(numberOf(message))
    if (message.qos === 1) await complete(peer, message)
  }
  peer.cut()
  return { retained, numbers }
}

test(`${SUBSCRIBERS} subscribers arrive while a retained counter counts: each sees a suffix without a gap [section 3.3.1.3]`, async () => {
  const broker = await startBroker()
  const counter = new Counter(await Peer.connected(broker.port, 4), "counter")
  let arrived = 0
  let withRetained = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (arrived < SUBSCRIBERS) {
        const { retained, numbers } = await arrive(broker.port, arrived++)
        const [first = 0] = numbers
        expect(numbers).toEqual(numbers.map((_, index) => first + index))
        if (retained) withRetained++
      }
    }),
  )
  await counter.stop()
  // a newer message may take the retained one's place on its way; mostly it does not
  expect(withRetained).toBeGreaterThan(SUBSCRIBERS / 2)
  expect(counter.n).toBeGreaterThan(1000)
})
