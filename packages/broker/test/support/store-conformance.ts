import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest"
import type { Commit, Cursor, SessionRow, Store, SubscriptionRow, WillRow } from "../../src/stores/store.js"
import { Frames, NO_AMOUNT } from "../../src/wire/frames.js"
import { framesOf } from "../../src/wire/publish.js"
import { chunk, messagesOf, NOTHING, readOn } from "./chunks.js"
import { describeShared } from "./shared-conformance.js"
import { properties, publish } from "./wire.js"

/** How a store is made for a test. */
export interface StoreFactory {
  name: string
  /** whether what was committed is there when the store is opened again */
  lasting: boolean
  /** A new, empty place; each call of what it returns opens a store on it. */
  create(): () => Store | Promise<Store>
}

function row(clientId: string, more: Partial<SessionRow> = {}): SessionRow {
  return { clientId, expirySeconds: null, disconnectedAt: null, ...more }
}

function subscription(filter: string, log: number): SubscriptionRow {
  return { filter, qos: 1, noLocal: false, retainAsPublished: true, identifier: 7, log, since: 3, until: null }
}

/** As it is kept: a sealed block of one message. */
function one(n: number, version: 4 | 5, payload: string | Buffer): Buffer {
  const frames = framesOf(publish(version, { topic: `topic/${n}`, qos: 1, packetId: 0, payload, retain: true }), version === 5)
  frames.createdAt = 1_700_000_000_000
  frames.markKept(0)
  return frames.seal()
}

function will(clientId: string, more: Partial<WillRow> = {}): WillRow {
  const packet = publish(4, { topic: "gone", qos: 1, packetId: 0, payload: clientId }).toString("base64")
  return { clientId, delaySeconds: 7, v5: false, packet, ...more }
}

const CURSOR: Cursor = { position: 5, sentBelow: 9, inflight: undefined }
const value = (text: string): Buffer => Buffer.from(text)

/** What every store promises (src/stores/store.ts), shown on one. */
export function describeStore(factory: StoreFactory): void {
  describe(factory.name, () => {
    let open: () => Store | Promise<Store>
    let store: Store

    beforeEach(async () => {
      open = factory.create()
      store = await open()
      await store.load()
    })
    afterEach(() => store.close())

    const commit = (part: Partial<Commit>): Promise<void> => store.commit({ ...NOTHING, ...part })
    const append = (log: number, ...firsts: number[]): Promise<void> =>
      commit({ appends: firsts.map((first) => chunk(log, first, `${log}:${first}`)) })
    const readAll = async (log: number, position = 0): Promise<[number, string][]> =>
      (await readOn(store, log, position)).map(([at, bytes]) => [at, bytes.toString()])

    describeLogs({ commit, append, readAll, store: () => store })
    describeShared({
      commit,
      readAll,
      reopen: async () => {
        await store.close()
        if (factory.lasting) store = await open()
        else store = await factory.create()()
        return store.load()
      },
      lasting: factory.lasting,
    })

    test("a new store is empty, positions and numbers begin at 1", async () => {
      const another = await factory.create()()
      onTestFinished(() => another.close())
      expect(await another.load()).toEqual({ sessions: [], retained: [], wills: [], logs: [], next: { position: 1, id: 1 } })
    })

    test("an empty commit is no error", async () => {
      await expect(store.commit(NOTHING)).resolves.toBeUndefined()
    })

    test("the url says where it is, and nothing keeps it from taking commits", () => {
      expect(store.url).toMatch(/^[a-z]+:/)
      expect(store.trouble).toBe(undefined)
    })

    if (factory.lasting)
      describeLasting({
        commit,
        reopen: async () => {
          await store.close()
          store = await open()
          return store
        },
      })
  })
}

interface LogTools {
  commit: (part: Partial<Commit>) => Promise<void>
  append: (log: number, ...firsts: number[]) => Promise<void>
  readAll: (log: number, position?: number) => Promise<[number, string][]>
  store: () => Store
}

function describeLogs({ commit, append, readAll, store }: LogTools): void {
  const positions = async (log: number, from = 0): Promise<number[]> => (await readAll(log, from)).map(([position]) => position)

  describe("logs", () => {
    test("messages come back ascending, byte for byte, each log by itself", async () => {
      await append(1, 10, 20)
      await append(2, 15)
      await append(1, 30)
      expect(await readAll(1)).toEqual([10, 20, 30].map((at) => [at, `1:${at}`]))
      expect(await readAll(2)).toEqual([[15, "2:15"]])
      expect(await readAll(3)).toEqual([])
      const bytes = Buffer.from(Array.from({ length: 65_536 }, (_, n) => n & 255))
      await commit({ appends: [chunk(4, 1, bytes)] })
      expect(messagesOf(await store().read(4, 1, { chunks: 1, bytes: 1 }), 1)).toEqual([[1, bytes]])
    })

    test("read starts with the chunk that has the first message at or above the position that is asked for", async () => {
      await append(1, 10, 20, 30)
      expect(await positions(1, 20)).toEqual([20, 30])
      expect(await positions(1, 21)).toEqual([30])
      expect(await positions(1, 31)).toEqual([])
      await commit({ appends: [chunk(2, 5, "a", "b", "c"), chunk(2, 9, "d")] })
      expect(await positions(2, 6)).toEqual([6, 7, 9])
      expect(await positions(2, 8)).toEqual([9])
    })

    test("read ends after as many chunks as asked, and with the chunk that passes the bytes", async () => {
      await append(1, 1, 2, 3, 4)
      const { length } = (await store().read(1, 0, { chunks: 1, bytes: 1 }))[0]?.value ?? value("")
      expect(await store().read(1, 0, { chunks: 2, bytes: 1e9 })).toHaveLength(2)
      expect(await store().read(1, 0, { chunks: 9, bytes: 1 })).toHaveLength(1)
      expect(await store().read(1, 0, { chunks: 9, bytes: length })).toHaveLength(1)
      expect(await store().read(1, 0, { chunks: 9, bytes: length + 1 })).toHaveLength(2)
    })

    test("what is cut is gone as far as it is whole chunks, the rest stays; cutting what is not there is no error", async () => {
      await append(1, 10, 20, 30)
      await append(2, 10)
      const cuts = [
        { log: 1, below: 21 },
        { log: 9, below: 2 },
      ]
      await commit({ cuts })
      expect(await positions(1)).toEqual([30])
      expect(await positions(2)).toEqual([10])
      await commit({ appends: [chunk(3, 1, "a", "b"), chunk(3, 3, "c")], cuts: [{ log: 3, below: 2 }] })
      expect(await positions(3, 2)).toEqual([2, 3])
      await commit({ cuts: [{ log: 3, below: 3 }] })
      expect(await positions(3)).toEqual([3])
    })

    test("one commit may append to one log and cut another, and an emptied log can be used again", async () => {
      await append(1, 10)
      await commit({ appends: [chunk(2, 11, "x")], cuts: [{ log: 1, below: 11 }] })
      expect(await readAll(1)).toEqual([])
      await append(1, 12)
      expect(await readAll(1)).toEqual([[12, "1:12"]])
    })

    test("a commit that appends and cuts the same log appends first", async () => {
      await commit({ appends: [chunk(1, 10, "a")], cuts: [{ log: 1, below: 11 }] })
      expect(await readAll(1)).toEqual([])
    })

    test("positions and log numbers up to the greatest that can be keep their order", async () => {
      const far = 2 ** 53 - 2
      const log = 2 ** 32 - 2
      await append(1, 255, 256, 2 ** 32 - 1, 2 ** 32, far)
      expect(await positions(1)).toEqual([255, 256, 2 ** 32 - 1, 2 ** 32, far])
      await append(log, 1, far)
      expect(await positions(log)).toEqual([1, far])
      expect(await positions(log, far)).toEqual([far])
    })

    test("commits take effect in the order of the calls, also when nobody waits between them", async () => {
      const commits: Promise<void>[] = []
      for (let n = 1; n <= 200; n++) commits.push(commit({ appends: [chunk(1, n, `1:${n}`)], cuts: [{ log: 1, below: n }] }))
      await Promise.all(commits)
      expect(await readAll(1)).toEqual([[200, "1:200"]])
    })

    test("what was read stays as it was when the log is cut and written on", async () => {
      await append(1, 10)
      const read = await store().read(1, 0, { chunks: 1, bytes: 100 })
      await commit({ cuts: [{ log: 1, below: 11 }] })
      for (let n = 0; n < 50; n++) await append(1, 20 + n)
      expect(messagesOf(read, 0).map(([at, bytes]) => [at, bytes.toString()])).toEqual([[10, "1:10"]])
    })
  })
}

interface LastingTools {
  commit: (part: Partial<Commit>) => Promise<void>
  /** Closes the store and opens it again. */
  reopen: () => Promise<Store>
}

function describeLasting({ commit, reopen }: LastingTools): void {
  const loadIncoming = async (): Promise<number[]> => {
    const { sessions } = await (await reopen()).load()
    return [...(sessions[0]?.incoming ?? [])].toSorted((a, b) => a - b)
  }

  describe("after it was closed and opened again", () => {
    test("sessions, subscriptions and cursors are as they were written last", async () => {
      await commit({
        sessions: [
          { id: 1, row: row("a", { expirySeconds: 60 }) },
          { id: 300, row: row("ü€😀", { disconnectedAt: 1_700_000_000_000 }) },
        ],
        subscriptions: [
          { session: 1, slot: 1, row: subscription("t/+", 3) },
          { session: 1, slot: 2, row: subscription("__proto__", 4) },
          { session: 300, slot: 1, row: subscription("#", 5) },
        ],
        cursors: [
          { session: 1, cursor: { position: 1, sentBelow: Infinity, inflight: undefined } },
          { session: 300, cursor: { position: 2 ** 40, sentBelow: 2 ** 41, inflight: value("window") } },
        ],
      })
      await commit({
        sessions: [{ id: 1, row: row("a", { expirySeconds: 61 }) }],
        subscriptions: [{ session: 1, slot: 1, row: undefined }],
        cursors: [{ session: 1, cursor: CURSOR }],
      })
      const { sessions } = await (await reopen()).load()
      expect(sessions.map(({ id }) => id)).toEqual([1, 300])
      expect(sessions[0]).toMatchObject({ row: row("a", { expirySeconds: 61 }), cursor: CURSOR })
      expect(sessions[1]).toMatchObject({ row: row("ü€😀", { disconnectedAt: 1_700_000_000_000 }) })
      expect(sessions[1]?.cursor).toMatchObject({ position: 2 ** 40, sentBelow: 2 ** 41 })
      expect(sessions[1]?.cursor.inflight?.toString()).toBe("window")
      expect([...(sessions[0]?.subscriptions ?? [])]).toEqual([[2, subscription("__proto__", 4)]])
      expect([...(sessions[1]?.subscriptions ?? [])]).toEqual([[1, subscription("#", 5)]])
    })

    test("what time it is, as it was said last; nothing where nobody said it", async () => {
      await commit({ reserved: { position: 1, id: 1 } })
      const before = await reopen()
      expect((await before.load()).time).toBeUndefined()
      await commit({ time: { broker: 2_000_000_000_123, wall: 5000 } })
      await commit({ time: { broker: 2_000_000_000_124, wall: 0 } })
      await commit({ sessions: [{ id: 1, row: row("a") }] })
      expect((await (await reopen()).load()).time).toEqual({ broker: 2_000_000_000_124, wall: 0 })
    })

    test("a cursor of a connected session is unbounded: sentBelow Infinity comes back as Infinity", async () => {
      await commit({
        sessions: [{ id: 1, row: row("a") }],
        cursors: [{ session: 1, cursor: { ...CURSOR, sentBelow: Infinity } }],
      })
      expect((await (await reopen()).load()).sessions[0]?.cursor.sentBelow).toBe(Infinity)
    })

    test("a removed session is gone with its cursor; a new one under the same id starts clean", async () => {
      await commit({ sessions: [{ id: 1, row: row("a") }], cursors: [{ session: 1, cursor: CURSOR }] })
      await commit({ sessions: [{ id: 1, row: undefined }] })
      expect((await (await reopen()).load()).sessions).toEqual([])
      await commit({ sessions: [{ id: 1, row: row("b") }] })
      expect((await (await reopen()).load()).sessions[0]?.cursor.position).toBe(0)
    })

    test("open identifiers of incoming QoS 2 messages", async () => {
      const session = 4
      await commit({
        sessions: [{ id: session, row: row("a") }],
        incoming: [1, 2, 65_535].map((identifier) => ({ session, identifier, open: true })),
      })
      expect(await loadIncoming()).toEqual([1, 2, 65_535])
      await commit({ incoming: [{ session, identifier: 2, open: false }] })
      expect(await loadIncoming()).toEqual([1, 65_535])
      // what earlier lives of the store have
      await commit({ incoming: [1, 7].map((identifier) => ({ session, identifier, open: identifier === 7 })) })
      expect(await loadIncoming()).toEqual([7, 65_535])
    })

    test("retained messages by their numbers, byte for byte; one that takes the place of a removed one of its topic", async () => {
      await commit({ retained: [1, 2, 3, 4].map((id) => ({ id, value: one(id, 4, `v${id}`) })) })
      const last = [
        { id: 2, value: undefined },
        { id: 3, value: one(3, 5, Buffer.from([0, 255, 10])) },
        { id: 5, value: one(2, 5, "\u{feff}ü") },
      ]
      await commit({ retained: last })
      const found = (await (await reopen()).load()).retained
      expect(found.map(({ id }) => id)).toEqual([1, 3, 4, 5])
      const expected = [one(1, 4, "v1"), last[1]?.value, one(4, 4, "v4"), last[2]?.value]
      expect(found.map(({ value: bytes }) => bytes.toString("hex"))).toEqual(expected.map((bytes) => bytes?.toString("hex")))
    })

    test("Wills by their numbers", async () => {
      await commit({ wills: [1, 2, 3].map((id) => ({ id, value: will(`v${id}`) })) })
      await commit({
        wills: [
          { id: 2, value: undefined },
          { id: 3, value: will("new", { user: "ann", v5: true }) },
        ],
      })
      expect((await (await reopen()).load()).wills).toEqual([
        { id: 1, value: will("v1") },
        { id: 3, value: will("new", { user: "ann", v5: true }) },
      ])
    })

    test("logs that have messages, and reserved positions and numbers", async () => {
      await commit({
        appends: [1, 2, 7, 300].map((log) => chunk(log, log, "x")),
        reserved: { position: 2 ** 45, id: 77 },
      })
      await commit({ cuts: [{ log: 2, below: 3 }] })
      const state = await (await reopen()).load()
      expect([state.logs.map(({ id, last }) => [id, last]), state.next]).toEqual([
        [1, 7, 300].map((log) => [log, log]),
        { position: 2 ** 45, id: 77 },
      ])
    })

    test("how much went into a log", async () => {
      const second = chunk(1, 12, "c")
      const { length } = publish(4, { topic: "t", qos: 1, packetId: 1, payload: "a" })
      const before = { messages: 2, bytes: 2 * length, expiring: 0 }
      await commit({ appends: [chunk(1, 10, "a", "b"), { ...second, before }] })
      expect((await (await reopen()).load()).logs).toEqual([{ id: 1, last: 12, messages: 3, bytes: 3 * length, expiring: 0 }])
    })

    test("messages of both versions with all that a packet has, byte for byte", async () => {
      const packets: [Buffer, boolean][] = [
        [
          publish(5, {
            topic: "a/\u{feff}ü",
            qos: 2,
            packetId: 0,
            payload: "x",
            dup: true,
            properties: properties([38], "k", "v", [38], "k", "w"),
          }),
          true,
        ],
        [
          publish(5, {
            topic: "a",
            qos: 1,
            packetId: 0,
            payload: Buffer.from([0, 255]),
            retain: true,
            properties: properties([2, 0, 0, 0, 60]),
          }),
          true,
        ],
        [publish(4, { topic: "a", qos: 1, packetId: 0, payload: "" }), false],
      ]
      const block = new Frames(Buffer.alloc(0), 0)
      block.first = 5
      block.createdAt = 1_700_000_000_000
      for (const [n, [packet, v5]] of packets.entries()) block.append(framesOf(packet, v5), 0, 1, 5 + n * 3)
      block.markKept(1)
      await commit({ appends: [{ log: 1, first: 5, last: block.last, before: NO_AMOUNT, value: block.seal() }] })
      const store = await reopen()
      await store.load()
      const found = (await store.read(1, 5, { chunks: 10, bytes: 1e6 })).map(({ first, value: sealed }) => Frames.unseal(first, sealed))
      const messages = found.flatMap((frames) =>
        Array.from({ length: frames.n }, (_, k) => [
          frames.positionOf(k),
          frames.isV5(k),
          frames.isKept(k),
          frames.traits,
          frames.createdAt,
          frames.buf.toString("hex", frames.startOf(k), frames.endOf(k)),
        ]),
      )
      expect(messages.map(([, v5, kept, , , bytes]) => [v5, kept, bytes])).toEqual(
        packets.map(([packet, v5], n) => [v5, n === 1, packet.toString("hex")]),
      )
      expect(messages.map(([position, , , , at]) => [position, at])).toEqual([5, 8, 11].map((at) => [at, 1_700_000_000_000]))
      expect(found.reduce((all, { traits }) => all | traits, 0)).toBe(block.traits)
    })

    test("messages, byte for byte, without waiting for the last commit before close", async () => {
      const last = commit({ appends: [chunk(1, 5, "late")] })
      const store = await reopen()
      await last
      await store.load()
      expect(messagesOf(await store.read(1, 5, { chunks: 1, bytes: 1 }), 0)).toEqual([[5, value("late")]])
    })
  })
}
