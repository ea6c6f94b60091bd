import { hasMongoServer, startMongoServer } from "@mqtt-trio/testing"
import { type Db, MongoClient } from "mongodb"
import { expect, onTestFinished, test, vi } from "vitest"
import { collectionsOf } from "../../src/stores/mongodb/database.js"
import { serve, type Serving } from "../../src/stores/mongodb/serving.js"
import type { Commit } from "../../src/stores/store.js"
import { NOTHING } from "../support/chunks.js"

// before the store reads it: nothing is folded by itself
vi.hoisted(() => {
  process.env["MQTT_BROKER_TEST_FOLD_MS"] = "60000"
})

/** A take-over that stands still before its last write. */
interface Standing {
  serving: Promise<Serving>
  /** it has come so far */
  stands: Promise<void>
  goOn: () => void
}

const SESSION = 4

function begin(db: Db, epoch: number): Standing {
  let [stand, goOn] = [(): void => {}, (): void => {}]
  const stands = new Promise<void>((resolve) => {
    stand = resolve
  })
  const gate = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const collections = collectionsOf(db)
  const { state } = collections
  const standing: typeof state = Object.assign(Object.create(state), {
    updateOne: async (...args: Parameters<typeof state.updateOne>) => {
      stand()
      await gate
      return state.updateOne(...args)
    },
  })
  const tenure = {
    db,
    patient: db,
    collections: { ...collections, state: standing },
    epoch,
    owner: `owner ${epoch}`,
    followsRelease: epoch === 1,
    superseded: () => new Error("superseded"),
  }
  return { serving: serve(tenure, { unreadable: () => {}, unfoldable: () => {} }), stands, goOn }
}

async function begun(db: Db, epoch: number): Promise<Serving> {
  const { serving, goOn } = begin(db, epoch)
  goOn()
  const done = await serving
  onTestFinished(() => done.close())
  return done
}

/** Takes a commit and folds it. */
async function store({ folding }: Serving, commit: Partial<Commit>): Promise<void> {
  await folding.commit({ ...NOTHING, ...commit })
  await folding.foldAll()
}

/** A database whose first owner stored a Session with an open QoS 2 exchange. */
async function withExchange(): Promise<Db> {
  const { url } = await startMongoServer()
  const client = await MongoClient.connect(url)
  onTestFinished(() => client.close())
  const db = client.db(new URL(url).pathname.slice(1))
  await store(await begun(db, 1), {
    sessions: [{ id: SESSION, row: { clientId: "a", expirySeconds: null, disconnectedAt: null } }],
    incoming: [{ session: SESSION, identifier: 5, open: true }],
  })
  return db
}

const CLOSED = { incoming: [{ session: SESSION, identifier: 5, open: false }] }
const WITHOUT_IT = [{ id: SESSION, incoming: [] }]

test.runIf(hasMongoServer())("who took over wakes while the next one does, and removes something: it does not come back", async () => {
  const db = await withExchange()
  const second = begin(db, 2)
  await second.stands
  const third = begin(db, 3)
  await third.stands
  second.goOn()
  await store(await second.serving, CLOSED)
  third.goOn()
  expect((await third.serving).state.sessions).toMatchObject(WITHOUT_IT)
  for (const { serving } of [second, third]) await (await serving).close()
  expect((await begun(db, 4)).state.sessions).toMatchObject(WITHOUT_IT)
})

test.runIf(hasMongoServer())(
  "a fold ends while the next owner takes over, which dies: what the fold removed does not come back",
  async () => {
    const db = await withExchange()
    const { folding } = await begun(db, 2)
    await folding.commit({ ...NOTHING, ...CLOSED })
    await begin(db, 3).stands
    await expect(folding.foldAll()).rejects.toThrow("another broker has begun to take over")
    expect((await begun(db, 4)).state.sessions).toMatchObject(WITHOUT_IT)
  },
)

test.runIf(hasMongoServer())("an owner whose last fold was not answered does not say that nothing of it is on its way", async () => {
  const db = await withExchange()
  const sessions = db.collection("sessions")
  const mute = Object.assign(Object.create(sessions), { bulkWrite: () => Promise.reject(new Error("no answer")) })
  const way: Db = Object.assign(Object.create(db), { collection: (name: string) => (name === "sessions" ? mute : db.collection(name)) })
  const owner = await begun(way, 2)
  await owner.folding.commit({ ...NOTHING, ...CLOSED })
  expect(await owner.finish()).toBe(false)
  const next = await begun(db, 3)
  expect(await next.finish()).toBe(true)
})
