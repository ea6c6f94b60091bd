import { array, assert, asyncProperty, constant, constantFrom, nat, oneof, record } from "fast-check"
import { expect, test } from "vitest"
import { type Delivery, openDelivery } from "../../src/delivery/delivery.js"
import { PersistentSession } from "../../src/delivery/sessions/persistent-session.js"
import { RecordWriter, recordAt } from "../../src/stores/journal/record.js"
import { MemoryStore } from "../../src/stores/memory.js"
import type { Commit } from "../../src/stores/store.js"
import { Frames } from "../../src/wire/frames.js"
import { framesOf, payloadOf } from "../../src/wire/publish.js"
import { NOTHING } from "../support/chunks.js"
import { publish } from "../support/wire.js"
import { accountant, place } from "../support/place.js"

const EVENTS = { failing: () => {}, recovered: () => {}, discarded: () => {}, forbiddenWill: () => {} }
const TOPICS = ["a", "b", "c", "d"]
const FILTERS = [...TOPICS, "+", "#", "+/#", "a/#", "b/#"]

/** Keeps what is committed. */
class Recording extends MemoryStore {
  readonly appends: Commit["appends"] = []
  override commit(commit: Commit): Promise<void> {
    this.appends.push(...commit.appends)
    return super.commit(commit)
  }
}

interface Matching {
  store: Recording
  delivery: Delivery
  sessions: PersistentSession[]
}

/** A session for each filter, with the filter's number in its client identifier. */
async function absent(filters: readonly string[], noLocal = false): Promise<Matching> {
  const store = new Recording()
  const delivery = await openDelivery(store, accountant, { retained: { count: 10, bytes: 1e6 }, topicLevels: 10 }, EVENTS)
  const sessions = filters.map((filter, n) => {
    const { session } = delivery.sessions.open({ clientId: `${n}`, user: undefined, cleanStart: false, expirySeconds: null, place })
    if (!(session instanceof PersistentSession)) throw new Error("the session is not persistent")
    delivery.sessions.subscribe(session, filter, { qos: 1, noLocal, retainAsPublished: false, identifier: 0 })
    return session
  })
  return { store, delivery, sessions }
}

interface Message {
  topic: string
  payload: Buffer
  /** the session that publishes it, and gets it not */
  own: PersistentSession | undefined
}

function send({ intake, router }: Delivery, { topic, payload, own }: Message): void {
  const run = framesOf(publish(4, { topic, qos: 1, packetId: 1, payload }), false)
  intake.accept(run, 1, router.match(topic), { session: own, outlet: undefined, place })
}

function matches(filter: string, topic: string): boolean {
  return filter === topic || filter === "+" || filter === "#" || filter === "+/#" || filter === `${topic}/#`
}

const messages = array(
  record({
    topic: constantFrom(...TOPICS),
    bytes: oneof({ weight: 9, arbitrary: nat(200) }, { weight: 1, arbitrary: constant(30_000) }),
    own: oneof({ weight: 4, arbitrary: constant(-1) }, { weight: 1, arbitrary: nat(8) }),
    commits: oneof({ weight: 5, arbitrary: constant(false) }, constant(true)),
  }),
  { maxLength: 40 },
)

test.each([
  ["a log for each session, without what it publishes itself", true],
  ["a log for each filter", false],
])("whatever is shared, each log has its messages and no other, in order, with the right counts: %s", async (_, noLocal) => {
  await assert(
    asyncProperty(messages, async (list) => {
      const { store, delivery, sessions } = await absent(FILTERS, noLocal)
      const wanted = sessions.map((): string[] => [])
      const positions = sessions.map((): number[] => [])
      for (const [n, { topic, bytes, own, commits }] of list.entries()) {
        const payload = Buffer.concat([Buffer.from(`${n}:`), Buffer.alloc(bytes)])
        const { next } = delivery.commits
        send(delivery, { topic, payload, own: sessions[own] })
        for (const [k, filter] of FILTERS.entries())
          if (!(noLocal && k === own) && matches(filter, topic)) {
            wanted[k]?.push(`${n}:`)
            positions[k]?.push(next)
          }
        if (commits) await delivery.commits.flush()
        for (const at of [next >> 1, next, next + 1]) {
          const counts = await Promise.all(sessions.map(async ({ logs }) => (await [...logs][0]?.countBelow(at))?.messages))
          expect(counts).toEqual(positions.map((of) => of.filter((position) => position < at).length))
        }
      }
      await delivery.commits.flush()
      for (const [k, session] of sessions.entries()) {
        const chunks = store.appends.filter(({ log }) => [...session.logs].some(({ id }) => id === log))
        const found: string[] = []
        let end = 0
        for (const { first, last, before, value } of chunks) {
          const frames = Frames.unseal(first, value)
          expect([before.messages, first > end, frames.last]).toEqual([found.length, true, last])
          for (let i = 0; i < frames.n; i++) found.push(payloadOf(frames, i).toString().replaceAll("\0", ""))
          end = last
        }
        expect(found).toEqual(wanted[k])
      }
    }),
    { numRuns: 150 },
  )
})

test("what ten filters match is kept once, also beyond a block's size", async () => {
  const { store, delivery } = await absent(["a", "a/#", "+", "#", "+/#", "a", "a/#", "+", "#", "+/#"])
  for (let n = 0; n < 50; n++) send(delivery, { topic: "a", payload: Buffer.alloc(5000, n), own: undefined })
  await delivery.commits.flush()
  const logs = new Set(store.appends.map(({ log }) => log))
  const blocks = new Set(store.appends.map(({ value }) => value))
  expect(logs.size).toBe(5) // sessions with the same filter have one log
  expect(store.appends.length).toBe(5 * blocks.size)
  expect([...blocks].reduce((sum, { length }) => sum + length, 0)).toBeLessThan(50 * 5100)
})

test("logs that get others than the rest go on in a block together", async () => {
  const { store, delivery } = await absent(["+", "#", "a", "a/#"])
  for (let n = 0; n < 50; n++) send(delivery, { topic: n % 2 ? "b" : "a", payload: Buffer.alloc(500, n), own: undefined })
  await delivery.commits.flush()
  expect(new Set(store.appends.map(({ value }) => value)).size).toBe(3) // what all had at first, then two groups
})

test("a large message is kept once, and many small ones are, into however many blocks the logs went before", async () => {
  const levels = Array.from({ length: 8 }, (_, n) => `l${n}`)
  const filters = Array.from({ length: 256 }, (_, n) => levels.map((level, bit) => ((n >> bit) & 1 ? "+" : level)).join("/"))
  const split = (delivery: Delivery): void => {
    for (const level of levels)
      send(delivery, { topic: levels.map((one) => (one === level ? "x" : one)).join("/"), payload: Buffer.from("x"), own: undefined })
  }
  const bytes = async (count: number, size: number): Promise<number> => {
    const { store, delivery } = await absent(filters)
    split(delivery)
    for (let n = 0; n < count; n++) send(delivery, { topic: levels.join("/"), payload: Buffer.alloc(size), own: undefined })
    await delivery.commits.flush()
    expect(new Set(store.appends.map(({ value }) => value)).size).toBeGreaterThan(200) // they were apart
    return [...new Set(store.appends.map(({ value }) => value))].reduce((sum, { length }) => sum + length, 0)
  }
  const alone = await bytes(0, 0)
  expect(await bytes(1, 1_000_000)).toBeLessThan(alone + 1_010_000)
  expect(await bytes(500, 300)).toBeLessThan(alone + 500 * 350 + 70_000)
})

/** Two logs that share a block, and one with its own. */
async function shared(): Promise<Commit> {
  const { store, delivery } = await absent(["a", "+", "b"])
  send(delivery, { topic: "a", payload: Buffer.alloc(10_000), own: undefined })
  await delivery.commits.flush()
  return { ...NOTHING, appends: store.appends }
}

test("a record of the journal has a shared block once, and gives it to both logs", async () => {
  const commit = await shared()
  const record = new RecordWriter(7).write(commit, 1, 0)
  expect(record.length).toBeLessThan(11_000)
  const found = recordAt(record, 0, 7)?.commit().appends ?? []
  expect(found).toEqual(commit.appends)
  expect(found[0]?.value).toBe(found[1]?.value)
})
