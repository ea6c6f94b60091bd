import { BrokerTime } from "../../src/delivery/broker-time.js"
import { expect, test } from "vitest"
import { publish } from "../support/wire.js"
import { countFresh, framesOf, Reader, StoredLog } from "./subjects.js"

const HOLDS = 300

/** Holds of one Session whose Topic Filters differ at the end only, in each log one message. */
async function holds(beginning: string): Promise<Reader[]> {
  const session = { cursor: 1, wake: () => {}, pump: () => {}, readsMany: false }
  const readers: Reader[] = []
  for (let n = 0; n < HOLDS; n++) {
    const stored = new StoredLog()
    stored.append(framesOf(publish(4, { topic: "t", qos: 1, packetId: 1, payload: "x" }), false), n)
    await stored.flush()
    readers.push(new Reader(session, stored.inMemory, { since: 1, qos: 1, filter: `${beginning}/${n}/+` }))
  }
  return readers
}

/** The shortest of some times that a count takes, in ms. */
async function shortest(readers: Reader[], exact: boolean): Promise<number> {
  const times: number[] = []
  for (let n = 0; n < 3; n++) {
    const start = performance.now()
    const count = await countFresh(readers, 1, new BrokerTime())
    times.push(performance.now() - start)
    expect(count.exact).toBe(exact)
    if (exact) expect(count.messages).toBe(HOLDS)
  }
  return Math.min(...times)
}

test("300 Topic Filters of 5,000 bytes that begin alike are not compared: what waits is counted in twenty times the time of short ones, not exactly", async () => {
  const [short, long] = [await holds("a"), await holds("a".repeat(5000))]
  expect(await shortest(long, false)).toBeLessThan(20 * (await shortest(short, true)))
})
