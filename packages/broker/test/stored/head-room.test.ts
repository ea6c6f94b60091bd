import { readdirSync, statfsSync, statSync } from "node:fs"
import { join } from "node:path"
import { startBroker, temporaryFolder, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { numbers } from "../support/numbered.js"
import { Peer } from "../support/peer.js"
import { RawClient } from "../support/raw-client.js"
import { mayMount, smallDisk } from "../support/small-disk.js"
import { connect, type ConnectFields, DISCONNECT, packet, properties, publish, sessionExpiry, subscribe, word } from "../support/wire.js"

const MB = 1 << 20
/** Messages of one publisher that wait for their PUBACK. */
const WINDOW = 2
const QUIET_MS = 1500
const CROWDED = "has no room for more messages"
const ROOM_AGAIN = "has room for messages again"

const large = (n: number): Buffer => publish(4, { topic: "queued", qos: 1, packetId: n, payload: `${n}`.padEnd(100_000, "x") })

/** A broker whose store may take so much. */
interface Bounded {
  readonly broker: TestBroker
  /** bytes that are left of it */
  readonly left: () => number
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
  return { broker, left }
}

/** By --max-store. */
async function withMaxStore(megabytes: number): Promise<Bounded> {
  const dir = temporaryFolder()
  const broker = await startBroker({ dir, args: ["--max-store", `${megabytes}MB`] })
  const store = join(dir, "store")
  const left = (): number => megabytes * MB - readdirSync(store).reduce((sum, name) => sum + sizeOf(join(store, name)), 0)
  return { broker, left }
}

/** A file of the journal may be gone by now. */
const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** Publishes until nothing is acknowledged any more for want of room. Returns the publisher, with WINDOW messages that wait. */
class Filler {
  sent = 0
  private constructor(readonly client: RawClient) {}

  static async fill({ broker, left }: Bounded, first = 1): Promise<Filler> {
    const filler = new Filler(await RawClient.open(broker.port, "filler", { clean: true }))
    filler.sent = first - 1
    let least = Infinity
    let acknowledged = 0
    let lastAt = performance.now()
    const before = filler.sent
    const said = broker.stderr.length
    const isFull = (): boolean => {
      least = Math.min(least, left())
      while (filler.sent - before - filler.acknowledged < WINDOW) filler.client.send(large(++filler.sent))
      if (filler.acknowledged > acknowledged) lastAt = performance.now()
      acknowledged = filler.acknowledged
      // a fold that makes room may be slow
      return broker.stderr.lastIndexOf(CROWDED) >= said && performance.now() - lastAt > QUIET_MS
    }
    await waitFor(isFull, { what: "the store to be full", timeoutMs: 60_000 })
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
  test("publishers wait, who empties it comes in, and publishers go on by themselves, with as much again", async () => {
    const bounded = await begin(56)
    const { broker } = bounded
    await absentSession(broker)
    const amounts: number[] = []
    for (let round = 1, first = 1; round <= 2; round++) {
      const filler = await Filler.fill(bounded, first)
      const reader = await RawClient.open(broker.port, "absent")
      expect(reader.sessionPresent).toBe(true)
      await waitFor(() => reader.messages.length === filler.sent - first + 1, { what: "all of it", timeoutMs: 25_000 })
      expect(numbersOf(reader)).toEqual(numbers(first, filler.sent))
      await waitFor(() => filler.client.pubacks.at(-1) === filler.sent, { what: "the last PUBACK" })
      expect(filler.client.pubacks).toEqual(numbers(first, filler.sent))
      await waitFor(() => broker.stderr.lastIndexOf(ROOM_AGAIN) > broker.stderr.lastIndexOf(CROWDED), { what: "the log line" })
      amounts.push(filler.sent - first + 1)
      first = filler.sent + 1
      reader.cut()
      filler.client.cut()
    }
    const [one = 0, two] = amounts
    // the file of tables does not shrink: what is unused in it is used again
    expect(one).toBeGreaterThan(200)
    expect(two).toBeGreaterThan(one * 0.7)
    expect(await broker.stop()).toBe(0)
  }, 150_000)

  test("after a kill -9 too", async () => {
    const bounded = await begin(40)
    const { broker } = bounded
    await absentSession(broker)
    const filler = await Filler.fill(bounded)
    const acknowledged = filler.client.pubacks.length
    await broker.kill9()
    await broker.restart()
    const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
    publisher.send(large(acknowledged + 1))
    await waitFor(() => broker.stderr.includes(CROWDED), { what: "the log line" })
    expect(publisher.pubacks).toEqual([])
    const reader = await RawClient.open(broker.port, "absent")
    await waitFor(() => numbersOf(reader).at(-1) === acknowledged + 1, { what: "all of it", timeoutMs: 25_000 })
    expect([...new Set(numbersOf(reader))]).toEqual(numbers(1, acknowledged + 1))
    await waitFor(() => publisher.pubacks.length === 1, { what: "the PUBACK" })
  })
})

interface Full {
  readonly broker: TestBroker
  /** of a Session that is there */
  readonly present: RawClient
  /** with Wills for a client that needs no store, and for that Session */
  readonly mortals: Peer[]
  readonly filler: Filler
}

/** A full store, for a Session that is away. */
async function full(): Promise<Full> {
  const bounded = await withMaxStore(32)
  const { broker } = bounded
  await absentSession(broker)
  const present = await RawClient.open(broker.port, "present")
  await present.subscribe("kept")
  const will = { payload: "gone", qos: 1, retain: false } as const
  const mortals = await Promise.all(["live", "kept"].map((topic) => Peer.connected(broker.port, 4, { will: { ...will, topic } })))
  return { broker, present, mortals, filler: await Filler.fill(bounded) }
}

async function empty(broker: TestBroker): Promise<void> {
  const reader = await RawClient.open(broker.port, "absent")
  await waitFor(() => broker.stderr.includes(ROOM_AGAIN), { what: "room", timeoutMs: 25_000 })
  reader.cut()
}

/** The answer to a CONNECT. */
async function answerTo(port: number, version: 4 | 5, fields: ConnectFields): Promise<number | undefined> {
  const peer = new Peer(port, version)
  peer.send(connect(version, fields))
  const connack = await peer.next()
  peer.cut()
  return connack[3]
}

describe("while there is no room", () => {
  test("clients whose Sessions end with their connections notice nothing", async () => {
    const { broker } = await full()
    const peer = await Peer.connected(broker.port, 4)
    await peer.subscribe(["live", 2])
    for (const n of numbers(1, 50)) {
      peer.send(publish(4, { topic: "live", qos: 1, packetId: n, payload: "x" }))
      const types = [await peer.next(), await peer.next()].map(([first = 0]) => first >> 4)
      expect(types.toSorted((a, b) => a - b)).toEqual([3, 4])
    }
  })

  test("no Session is added, and no Subscription; both go, and come when there is room", async () => {
    const { broker } = await full()
    const { port } = broker
    const lasting = { clean: false, properties: properties(sessionExpiry(1000)) }
    expect(await answerTo(port, 4, { clientId: "new", clean: false })).toBe(3)
    expect(await answerTo(port, 5, { clientId: "new", ...lasting })).toBe(0x97)
    const old = await Peer.connected(port, 5, { clientId: "present", ...lasting })
    expect(await old.subscribe(["other", 1])).toEqual([0x97])
    expect(await old.subscribe(["kept", 1])).toEqual([1])
    old.send(packet(0xa2, word(7), [0], "kept"))
    expect((await old.next())[0]).toBe(0xb0)
    expect(await old.subscribe(["kept", 1])).toEqual([0x97])
    old.send(DISCONNECT)
    expect(await old.ended()).toEqual([])
    expect(await answerTo(port, 5, { clientId: "present", clean: true })).toBe(0)
    await empty(broker)
    expect(await answerTo(port, 4, { clientId: "new", clean: false })).toBe(0)
  })

  test("what is retained, a Will and QoS 2 wait, and come when there is room", async () => {
    const { broker, present, mortals } = await full()
    const { port } = broker
    const peer = await Peer.connected(port, 4)
    peer.send(publish(4, { topic: "retained", retain: true, payload: "kept" }))
    peer.send(publish(4, { topic: "kept", qos: 2, packetId: 1, payload: "exactly once" }))
    const live = await Peer.connected(port, 4)
    await live.subscribe(["live", 1])
    for (const mortal of mortals) mortal.cut()
    expect((await live.nextPublish()).payload.toString()).toBe("gone")
    expect(await answerTo(port, 4, { clientId: "absent", clean: false })).toBe(0) // a commit later
    expect(await live.settled()).toEqual([])
    expect([present.messages.length, peer.waiting.length]).toEqual([0, 0])
    await empty(broker)
    expect((await peer.next())[0]).toBe(0x50)
    await waitFor(() => present.messages.length === 2, { what: "the messages" })
    expect(present.messages.map(({ payload }) => payload).toSorted()).toEqual(["exactly once", "gone"])
    const late = await Peer.connected(port, 4)
    late.send(subscribe(4, 1, ["retained", 0]))
    await late.next()
    expect((await late.nextPublish()).payload.toString()).toBe("kept")
  })

  test("a client that publishes and empties the queue on one connection does both", async () => {
    const { broker, filler } = await full()
    const client = new RawClient(broker.port, "absent") // its messages come before all its acknowledgements
    for (const n of numbers(1, 20)) client.send(publish(4, { topic: "queued", qos: 1, packetId: n, payload: `own ${n}` }))
    await waitFor(() => client.pubacks.length === 20, { what: "its PUBACKs", timeoutMs: 25_000 })
    expect(client.pubacks).toEqual(numbers(1, 20))
    await waitFor(() => client.messages.length === filler.sent + 20, { what: "all messages", timeoutMs: 25_000 })
  })
})
