import { join } from "node:path"
import { startBroker, waitFor } from "@mqtt-trio/testing"
import * as fc from "fast-check"
import { expect, test, vi } from "vitest"
import { DueQueue, type Due } from "../../src/delivery/retained/due-queue.js"
import { GroupCommit } from "../../src/delivery/logs/group-commit.js"
import { Retained } from "../../src/delivery/retained/retained.js"
import { MemoryStore } from "../../src/stores/memory.js"
import { openStore } from "../../src/stores/open-store.js"
import { framesOf } from "../../src/wire/publish.js"
import { complete, pubrec } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { long, packet, properties, puback, publish, word } from "../support/wire.js"
import { place } from "../support/place.js"

const expiring = (topic: string, seconds: number): Buffer =>
  publish(5, { topic, payload: "x", qos: 1, packetId: 1, retain: true, properties: properties([2, ...long(seconds)]) })
const lasting = (topic: string, payload = "x"): Buffer => publish(5, { topic, payload, qos: 1, packetId: 1, retain: true })
const refused = (packetId: number): Buffer => packet(0x40, word(packetId), [0x97])

/** Topics and payloads of what is retained. */
async function kept(port: number): Promise<string[]> {
  const peer = await Peer.connected(port, 5)
  await peer.subscribe(["#", 0])
  const messages = (await peer.settled()).map((bytes) => readPublish(bytes, 5))
  peer.cut()
  return messages.map(({ topic, payload }) => `${topic}=${payload.toString()}`).toSorted((a, b) => a.localeCompare(b))
}

const passed = async (ms: number): Promise<void> => {
  const start = performance.now()
  await waitFor(() => performance.now() - start > ms, { what: "the time that they have" })
}

test("expired messages leave their place to others", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--max-retained", "3"] })
  const publisher = await Peer.connected(broker.port, 5)
  for (const topic of ["a", "b", "c"]) publisher.send(expiring(topic, 1))
  for (let n = 0; n < 3; n++) expect((await publisher.next())[0]).toBe(0x40)
  publisher.send(lasting("live"))
  expect(await publisher.next()).toEqual(refused(1))
  await waitFor(
    async () => {
      publisher.send(lasting("live"))
      return !(await publisher.next()).equals(refused(1))
    },
    { what: "a place" },
  )
  expect(await kept(broker.port)).toEqual(["live=x"])
})

test("expired messages make room at once, and replacing one needs no new place", () => {
  vi.useFakeTimers({ toFake: ["performance"] })
  const commits = new GroupCommit(new MemoryStore(), { position: 1, id: 1 }, { failing: () => {}, recovered: () => {} })
  const retained = new Retained(commits, { count: 3, bytes: 200 })
  const update = (bytes: Buffer): boolean => retained.fits(framesOf(bytes, true), place) && retained.update(framesOf(bytes, true), place)
  expect([expiring("a", 1), lasting("b"), expiring("c", 2)].map(update)).toEqual([true, true, true])
  expect([expiring("a", 1), lasting("d")].map(update)).toEqual([true, false])
  vi.advanceTimersByTime(1000)
  expect(update(lasting("d"))).toBe(true)
  expect(update(lasting("e"))).toBe(false)
  vi.advanceTimersByTime(1000)
  expect(update(lasting("e", "x".repeat(180)))).toBe(false) // all that expired is gone, and it is too large still
  expect(retained.count).toBe(2)
  vi.useRealTimers()
})

test("nobody subscribes: what expired is gone from the store all the same, also what expired while the broker was down", async () => {
  const broker = await startBroker()
  const MANY = 3000
  const retain = async (seconds: number): Promise<void> => {
    const publisher = await Peer.connected(broker.port, 5)
    for (let n = 0; n < MANY; n++) publisher.send(expiring(`t/${n}`, seconds))
    publisher.send(lasting("for ever"))
    for (let n = 0; n <= MANY; n++) expect((await publisher.next())[0]).toBe(0x40)
    publisher.cut()
  }
  const inStore = async (): Promise<number> => {
    const store = await openStore({ kind: "file", folder: join(broker.dir, "store") })
    const { retained } = await store.load()
    await store.close()
    return retained.length
  }
  await retain(1)
  await passed(3500)
  await broker.kill9()
  expect(await inStore()).toBe(1)
  await broker.restart()
  await retain(2)
  await broker.kill9()
  expect(await inStore()).toBe(MANY + 1)
  await passed(2000)
  await broker.restart()
  expect(await broker.stop()).toBe(0)
  expect(await inStore()).toBe(1)
})

test("MQTT 5.0: a retained message that finds no place is refused as a whole: 0x97, nobody gets it, the older one stays", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--max-retained", "2", "--max-retained-size", "2KB"] })
  const live = await Peer.connected(broker.port, 5)
  await live.subscribe(["#", 0])
  const publisher = await Peer.connected(broker.port, 5)
  const large = "x".repeat(3000)
  for (const [bytes, answer] of [
    [lasting("a", "old"), puback(1)],
    [lasting("a", large), refused(1)],
    [lasting("a", "new"), puback(1)],
    [lasting("b"), puback(1)],
    [lasting("c"), refused(1)],
  ] as const) {
    publisher.send(bytes)
    expect(await publisher.next()).toEqual(answer)
  }
  publisher.send(publish(5, { topic: "c", payload: "2", qos: 2, packetId: 9, retain: true }))
  expect(await publisher.next()).toEqual(pubrec(9, 0x97))
  publisher.send(publish(5, { topic: "c", payload: "not retained", qos: 1, packetId: 9 }))
  expect(await publisher.next()).toEqual(puback(9))
  const came = await live.settled()
  expect(came.map((bytes) => readPublish(bytes, 5).payload.toString())).toEqual(["old", "new", "x", "not retained"])
  expect(await kept(broker.port)).toEqual(["a=new", "b=x"])
  await waitFor(() => broker.stderr.includes("3 not kept"), { what: "the log line" })
})

test("at QoS 0 nobody can be told: it is delivered, and the older one is not the last message any more", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--max-retained-size", "2KB"] })
  const live = await Peer.connected(broker.port, 5)
  await live.subscribe(["#", 1])
  const publisher = await Peer.connected(broker.port, 5)
  publisher.send(lasting("a", "old"), publish(5, { topic: "a", payload: "x".repeat(3000), retain: true }))
  await complete(live, await live.nextPublish())
  expect((await live.nextPublish()).payload).toHaveLength(3000)
  expect(await kept(broker.port)).toEqual([])
})

test("DueQueue: the first is the earliest of those that are left", () => {
  const step = fc.record({ at: fc.integer({ min: 0, max: 50 }), remove: fc.option(fc.nat()) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new DueQueue<number>()
      const left: Due<number>[] = []
      for (const [n, { at, remove }] of steps.entries()) {
        left.push(queue.add(at, n))
        const [gone] = remove === null ? [] : left.splice(remove % left.length, 1)
        if (gone) queue.remove(gone)
        expect(queue.first?.at).toBe(left.length ? Math.min(...left.map((due) => due.at)) : undefined)
      }
    }),
  )
})
