import { readdirSync, statfsSync, statSync } from "node:fs"
import { join } from "node:path"
import { startBroker, temporaryFolder, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { numbers } from "../support/numbered.js"
import { RawClient } from "../support/raw-client.js"
import { mayMount, smallDisk } from "../support/small-disk.js"
import { publish } from "../support/wire.js"

const MB = 1 << 20
const HEAD_ROOM = 16 * MB
/** Messages of one publisher that wait for their PUBACK. */
const WINDOW = 5
const CROWDED = "has no room for more messages"

const large = (n: number): Buffer => publish(4, { topic: "queued", qos: 1, packetId: n, payload: `${n}`.padEnd(100_000, "x") })

/** A broker whose store may take so much, and how much of it is taken. */
interface Bounded {
  broker: TestBroker
  /** bytes that are left of it */
  readonly left: () => number
  readonly store: string
}

/** By the size of its disk. */
async function onSmallDisk(megabytes: number): Promise<Bounded> {
  const disk = smallDisk(megabytes)
  const store = join(disk, "store")
  const broker = await startBroker({ store: `file:${store}` })
  const left = (): number => {
    const { bavail, bsize } = statfsSync(disk)
    return bavail * bsize
  }
  return { broker, left, store }
}

/** By --max-store. */
async function withMaxStore(megabytes: number): Promise<Bounded> {
  const dir = temporaryFolder()
  const broker = await startBroker({ dir, args: ["--max-store", `${megabytes}MB`] })
  const store = join(dir, "store")
  const left = (): number => megabytes * MB - readdirSync(store).reduce((sum, name) => sum + statSync(join(store, name)).size, 0)
  return { broker, left, store }
}

/** How often the log said that there is no room. */
const timesCrowded = (broker: TestBroker): number => broker.stderr.split(CROWDED).length - 1

/** Publishes until nothing is acknowledged any more for want of room. Returns the publisher, with WINDOW messages that wait. */
class Filler {
  sent = 0
  private constructor(readonly client: RawClient) {}

  static async fill({ broker, left }: Bounded, first = 1): Promise<Filler> {
    const filler = new Filler(await RawClient.open(broker.port, "filler", { clean: true }))
    filler.sent = first - 1
    let least = Infinity
    const before = filler.sent
    const isFull = (): boolean => {
      least = Math.min(least, left())
      while (filler.sent - before - filler.acknowledged < WINDOW) filler.client.send(large(++filler.sent))
      return timesCrowded(broker) > 0 && broker.stderr.lastIndexOf(CROWDED) > broker.stderr.lastIndexOf("has room for messages again")
    }
    await waitFor(isFull, { what: "the store to be full", timeoutMs: 25_000 })
    await waitFor(() => filler.acknowledged === filler.sent - before - WINDOW, { what: "what was taken before" })
    expect(least).toBeGreaterThan(0)
    return filler
  }

  get acknowledged(): number {
    return this.client.pubacks.length
  }
}

async function absentSession(broker: TestBroker): Promise<void> {
  const session = await RawClient.open(broker.port, "absent")
  await session.subscribe("queued")
  session.cut()
}

/** Numbers of the messages that came, in their order. */
const numbersOf = (client: RawClient): number[] => client.messages.map(({ payload }) => Number.parseInt(payload, 10))

const bounds = [["--max-store", withMaxStore] as const, ...(mayMount ? [["a small disk", onSmallDisk] as const] : [])]

describe.each(bounds)("a queue that fills its store, bounded by %s", (_, begin) => {
  test("publishers wait, who empties it comes in, and publishers go on by themselves, twice", async () => {
    const bounded = await begin(96)
    const { broker, left } = bounded
    await absentSession(broker)
    let first = 1
    const amounts: number[] = []
    for (const round of [1, 2, 3]) {
      const filler = await Filler.fill(bounded, first)
      amounts.push(filler.sent - first + 1)
      expect(left()).toBeLessThan(4 * HEAD_ROOM)
      console.log(round, filler.sent, left() / MB, readdirSync(bounded.store).map((name) => `${name} ${statSync(join(bounded.store, name)).size / MB}`).join(", "))
      const reader = await RawClient.open(broker.port, "absent").catch((error: unknown) => {
        console.log(left() / MB, timesCrowded(broker), broker.stderr.slice(-1500))
        throw error
      })
      expect(reader.sessionPresent).toBe(true)
      const t0 = performance.now()
      const dbg = setInterval(() => console.log(round, Math.round(performance.now() - t0), reader.messages.length, filler.sent - first + 1, filler.acknowledged, left() / MB, broker.stderr.slice(-300)), 3000)
      await waitFor(() => reader.messages.length === filler.sent - first + 1, { what: "all of it", timeoutMs: 20_000 }).finally(() => clearInterval(dbg))
      expect(numbersOf(reader)).toEqual(numbers(first, filler.sent))
      await waitFor(() => filler.client.pubacks.at(-1) === filler.sent, { what: "the last PUBACK" })
      expect(filler.client.pubacks).toEqual(numbers(first, filler.sent))
      await new Promise((r) => setTimeout(r, 1500))
      console.log("emptied", left() / MB, readdirSync(bounded.store).map((name) => `${name} ${statSync(join(bounded.store, name)).size / MB}`).join(", "))
      reader.cut()
      filler.client.cut()
      first = filler.sent + 1
      expect(timesCrowded(broker), `round ${round}`).toBeGreaterThan(0)
    }
    console.log(amounts)
    const [one = 0, ...others] = amounts
    // the file of tables does not shrink: what is free in it is used again
    for (const other of others) expect(other).toBeGreaterThan(one / 3)
    expect(await broker.stop()).toBe(0)
  }, 170_000)
})
