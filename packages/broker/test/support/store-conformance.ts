import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Commit, Cursor, SessionRow, Store, SubscriptionRow } from "../../src/stores/store.js"

/** How a store is made for a test. */
export interface StoreFactory {
  name: string
  /** whether what was committed is there when the store is opened again */
  lasting: boolean
  /** A new, empty place; each call of what it returns opens a store on it. */
  create(): () => Store | Promise<Store>
}

const NOTHING: Commit = {
  appends: [],
  removes: [],
  sessions: [],
  subscriptions: [],
  cursors: [],
  incoming: [],
  retained: [],
  wills: [],
  reserved: undefined,
}

function row(clientId: string, more: Partial<SessionRow> = {}): SessionRow {
  return { clientId, expirySeconds: null, disconnectedAt: null, ...more }
}

function subscription(filter: string, log: number): SubscriptionRow {
  return { filter, qos: 1, noLocal: false, retainAsPublished: true, identifier: 7, log, since: 3, until: null }
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
    })
    afterEach(() => store.close())

    const commit = (part: Partial<Commit>): Promise<void> => store.commit({ ...NOTHING, ...part })
    const append = (log: number, ...firsts: number[]): Promise<void> =>
      commit({ appends: firsts.map((first) => ({ log, first, value: value(`${log}:${first}`) })) })
    const readAll = (log: number, position = 0): [number, string][] =>
      store.read(log, position, { chunks: 1000, bytes: 1e9 }).map(({ first, value }) => [first, value.toString()])

    describeLogs({ commit, append, readAll, store: () => store })

    test("a new store is empty, positions and numbers begin at 1", async () => {
      expect(await store.load()).toEqual({ sessions: [], retained: [], wills: [], logs: [], next: { position: 1, id: 1 } })
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
  readAll: (log: number, position?: number) => [number, string][]
  store: () => Store
}

function describeLogs({ commit, append, readAll, store }: LogTools): void {
  const at = (log: number, position: number): number | undefined => store().chunkAt(log, position)?.first
  const firsts = (from: number, below: number, limit = 100): number[] => store().firsts(1, { from, below, limit })

  describe("logs", () => {
    test("chunks come back ascending, byte for byte, each log by itself", async () => {
      await append(1, 10, 20)
      await append(2, 15)
      await append(1, 30)
      expect(readAll(1)).toEqual([10, 20, 30].map((first) => [first, `1:${first}`]))
      expect(readAll(2)).toEqual([[15, "2:15"]])
      expect(readAll(3)).toEqual([])
      const bytes = Buffer.from(Array.from({ length: 65_536 }, (_, n) => n & 255))
      await commit({ appends: [{ log: 4, first: 1, value: bytes }] })
      expect(store().chunkAt(4, 1)?.value.equals(bytes)).toBe(true)
    })

    test("read starts at the smallest first position at or above the one that is asked for", async () => {
      await append(1, 10, 20, 30)
      expect(readAll(1, 20).map(([first]) => first)).toEqual([20, 30])
      expect(readAll(1, 21).map(([first]) => first)).toEqual([30])
      expect(readAll(1, 31)).toEqual([])
    })

    test("read ends after as many chunks as asked, and with the chunk that passes the bytes", async () => {
      await append(1, 1, 2, 3, 4)
      expect(store().read(1, 0, { chunks: 2, bytes: 1e9 })).toHaveLength(2)
      expect(store().read(1, 0, { chunks: 9, bytes: 1 })).toHaveLength(1)
      expect(store().read(1, 0, { chunks: 9, bytes: 3 })).toHaveLength(1)
      expect(store().read(1, 0, { chunks: 9, bytes: 4 })).toHaveLength(2)
    })

    test("chunkAt finds the chunk that holds a position", async () => {
      await append(1, 10, 20)
      await append(2, 5)
      expect([at(1, 9), at(1, 10), at(1, 19), at(1, 20), at(1, 1e9)]).toEqual([undefined, 10, 10, 20, 20])
      expect([at(2, 4), at(2, 5), at(3, 5), at(0, 5)]).toEqual([undefined, 5, undefined, undefined])
    })

    test("firsts lists first positions from one up to below another, at most so many", async () => {
      await append(1, 10, 20, 30, 40)
      await append(2, 25)
      expect(firsts(0, 1e9)).toEqual([10, 20, 30, 40])
      expect(firsts(20, 40)).toEqual([20, 30])
      expect(firsts(11, 31)).toEqual([20, 30])
      expect(firsts(0, 1e9, 2)).toEqual([10, 20])
      expect(firsts(41, 1e9)).toEqual([])
    })

    test("removed chunks are gone, the others stay; removing what is not there is no error", async () => {
      await append(1, 10, 20, 30)
      await append(2, 10)
      await commit({
        removes: [
          { log: 1, first: 10 },
          { log: 1, first: 20 },
          { log: 9, first: 1 },
        ],
      })
      expect(readAll(1).map(([first]) => first)).toEqual([30])
      expect(readAll(2).map(([first]) => first)).toEqual([10])
      expect(store().chunkAt(1, 29)).toBeUndefined()
    })

    test("one commit may append to one log and cut another, and an emptied log can be used again", async () => {
      await append(1, 10)
      await commit({ appends: [{ log: 2, first: 11, value: value("x") }], removes: [{ log: 1, first: 10 }] })
      expect(readAll(1)).toEqual([])
      await append(1, 12)
      expect(readAll(1)).toEqual([[12, "1:12"]])
    })

    test("positions and log numbers up to the greatest that can be keep their order", async () => {
      const far = 2 ** 53 - 2
      const log = 2 ** 32 - 2
      await append(1, 255, 256, 2 ** 32 - 1, 2 ** 32, far)
      expect(readAll(1).map(([first]) => first)).toEqual([255, 256, 2 ** 32 - 1, 2 ** 32, far])
      await append(log, 1, far)
      expect(readAll(log).map(([first]) => first)).toEqual([1, far])
      expect(store().chunkAt(log, far)?.first).toBe(far)
    })

    test("commits take effect in the order of the calls, also when nobody waits between them", async () => {
      const commits: Promise<void>[] = []
      for (let n = 1; n <= 200; n++) {
        const removes = n > 1 ? [{ log: 1, first: n - 1 }] : []
        commits.push(commit({ appends: [{ log: 1, first: n, value: value(`1:${n}`) }], removes }))
      }
      await Promise.all(commits)
      expect(readAll(1)).toEqual([[200, "1:200"]])
    })

    test("what was read stays as it was when the log is cut and written on", async () => {
      await append(1, 10)
      const [chunk] = store().read(1, 0, { chunks: 1, bytes: 100 })
      await commit({ removes: [{ log: 1, first: 10 }] })
      for (let n = 0; n < 50; n++) await append(1, 20 + n)
      expect(chunk?.value.toString()).toBe("1:10")
    })
  })
}

interface LastingTools {
  commit: (part: Partial<Commit>) => Promise<void>
  /** Closes the store and opens it again. */
  reopen: () => Promise<Store>
}

function describeLasting({ commit, reopen }: LastingTools): void {
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
      await commit({ incoming: [{ session, identifier: 2, open: false }] })
      const { sessions } = await (await reopen()).load()
      expect([...(sessions[0]?.incoming ?? [])].toSorted((a, b) => a - b)).toEqual([1, 65_535])
    })

    test.each(["retained", "wills"] as const)("%s by their numbers", async (kind) => {
      await commit({ [kind]: [1, 2, 3].map((id) => ({ id, value: value(`v${id}`) })) })
      await commit({
        [kind]: [
          { id: 2, value: undefined },
          { id: 3, value: value("new") },
        ],
      })
      const found = (await (await reopen()).load())[kind].map((one) => [one.id, one.value.toString()])
      expect(found).toEqual([
        [1, "v1"],
        [3, "new"],
      ])
    })

    test("logs that have chunks, and reserved positions and numbers", async () => {
      await commit({
        appends: [1, 2, 7, 300].map((log) => ({ log, first: log, value: value("x") })),
        reserved: { position: 2 ** 45, id: 77 },
      })
      await commit({ removes: [{ log: 2, first: 2 }] })
      const state = await (await reopen()).load()
      expect([state.logs, state.next]).toEqual([[1, 7, 300], { position: 2 ** 45, id: 77 }])
    })

    test("messages, byte for byte, without waiting for the last commit before close", async () => {
      const last = commit({ appends: [{ log: 1, first: 5, value: value("late") }] })
      const store = await reopen()
      await last
      expect(store.chunkAt(1, 5)?.value.toString()).toBe("late")
    })
  })
}
