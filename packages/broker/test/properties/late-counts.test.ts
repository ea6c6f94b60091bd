import { expect, test } from "vitest"
import { type Delivery, openDelivery } from "../../src/delivery/delivery.js"
import type { Outlet } from "../../src/delivery/outlet.js"
import type { Match } from "../../src/delivery/routing/router.js"
import { PersistentSession } from "../../src/delivery/sessions/persistent-session.js"
import { MemoryStore } from "../../src/stores/memory.js"
import type { Store } from "../../src/stores/store.js"
import { framesOf } from "../../src/wire/publish.js"
import { publish } from "../support/wire.js"
import { accountant, place } from "../support/place.js"

const EVENTS = { failing: () => {}, recovered: () => {}, discarded: () => {}, forbiddenWill: () => {} }
const persistent = (clientId: string) => ({ clientId, user: undefined, cleanStart: false, expirySeconds: null, place })
const options = () => ({ qos: 1, noLocal: false, retainAsPublished: false, identifier: 0 }) as const

function open(store: Store): Promise<Delivery> {
  return openDelivery(store, accountant, { retained: { count: 10, bytes: 1e6 }, topicLevels: 10 }, EVENTS)
}

/** A connection that takes all that it is sent. */
function reading(): Outlet {
  const outlet: Outlet = Object.assign(Object.create(null), {
    v5: false,
    unsent: 0,
    maximumPacketSize: Infinity,
    buffer: Buffer.alloc(1000),
    claim: () => 0,
    push: () => {},
    pushDurable: () => {},
  })
  return outlet
}

async function send({ intake, router, commits }: Delivery): Promise<void> {
  const packet = publish(4, { topic: "q", qos: 1, packetId: 1, payload: "x" })
  intake.accept(framesOf(packet, false), 1, router.match("q"), { session: undefined, outlet: undefined, place })
  await commits.flush()
}

test("UNSUBSCRIBE of a connection that ended while it was counted does not take the next one's Subscription", async () => {
  const memory = new MemoryStore()
  const reading: (() => void)[] = []
  let slow = Promise.resolve()
  const store: Store = {
    url: memory.url,
    trouble: undefined,
    load: () => memory.load(),
    commit: (commit) => memory.commit(commit),
    read: (...of) => slow.then(() => memory.read(...of)),
    close: () => memory.close(),
  }
  const delivery = await open(store)
  const { session } = delivery.sessions.open(persistent("s"))
  if (!(session instanceof PersistentSession)) throw new Error("the session is not persistent")
  delivery.sessions.subscribe(session, "q", options())
  await send(delivery)
  for (const log of session.logs) log.forget() // it is in the store only
  slow = new Promise<void>((resolve) => {
    reading.push(resolve)
  })
  const unsubscribed = delivery.sessions.unsubscribe(session, "q")
  delivery.sessions.close(session)
  delivery.sessions.open(persistent("s"))
  delivery.sessions.subscribe(session, "q", options())
  await delivery.commits.flush()
  for (const go of reading) go()
  await unsubscribed
  expect([...session.subscriptions.keys()]).toEqual(["q"])
  expect(delivery.router.match("q").to.logs).toHaveLength(1)
})

test("a log that is held only for what is in flight takes nothing more", async () => {
  const delivery = await open(new MemoryStore())
  const [a, b] = ["a", "b"].map((name) => delivery.sessions.open(persistent(name)).session)
  if (!a || !b) throw new Error("no session")
  for (const session of [a, b]) delivery.sessions.subscribe(session, "q", options())
  b.attach(reading(), 10)
  await send(delivery)
  await delivery.sessions.unsubscribe(b, "q")
  delivery.sessions.close(b)
  await delivery.sessions.unsubscribe(a, "q")
  await send(delivery)
  expect(delivery.router.match("q").to.logs).toEqual([])
})

test("a Subscription that got nothing leaves nothing behind when it ends, whatever else is in flight", async () => {
  const delivery = await open(new MemoryStore())
  const { session } = delivery.sessions.open(persistent("s"))
  if (!(session instanceof PersistentSession)) throw new Error("the session is not persistent")
  delivery.sessions.subscribe(session, "q", options())
  session.attach(reading(), 10)
  await send(delivery)
  expect(session.inFlight(session.cursor)).toBe(true) // it is not acknowledged
  for (let n = 0; n < 20; n++) {
    delivery.sessions.subscribe(session, `other/${n}`, options())
    await delivery.sessions.unsubscribe(session, `other/${n}`)
  }
  expect(session.readers).toHaveLength(1)
})

const topic = (n: number): string => `${"a/".repeat(9)}${n}`

test("who receives topics is remembered once where the same wildcards match, and as long as it is not too much", async () => {
  const delivery = await open(new MemoryStore())
  const { session } = delivery.sessions.open(persistent("s"))
  // 512 filters that match each topic of ten levels that begins so
  for (let n = 0; n < 512; n++) {
    const levels = Array.from({ length: 9 }, (_, level) => (n & (1 << level) ? "+" : "a"))
    delivery.sessions.subscribe(session, [...levels, "+"].join("/"), options())
  }
  const match = (n: number): Match => delivery.router.match(topic(n))
  const shared = match(0).to
  expect(shared.logs).toHaveLength(512)
  for (let n = 1; n < 2000; n++) expect(match(n).to).toBe(shared)
  for (let n = 0; n < 1000; n++) delivery.sessions.subscribe(session, topic(n), options())
  const first = match(0)
  expect(first.to.logs).toHaveLength(513)
  for (let n = 1; n < 900; n++) match(n)
  expect(match(0)).toBe(first)
  for (let n = 900; n < 1000; n++) match(n)
  expect(match(0)).not.toBe(first)
})
