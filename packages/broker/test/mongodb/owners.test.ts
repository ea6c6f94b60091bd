import { setTimeout as pause } from "node:timers/promises"
import { array, assert, asyncProperty, constantFrom, nat, oneof, record } from "fast-check"
import { type Db, MongoClient } from "mongodb"
import { hasMongoServer, type MongoServer, randomId, startMongoServer } from "@mqtt-trio/testing"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { collectionsOf } from "../../src/stores/mongodb/database.js"
import { Superseded } from "../../src/stores/mongodb/errors.js"
import { serve, type Serving } from "../../src/stores/mongodb/serving.js"
import type { Commit, SessionRow, StoredState } from "../../src/stores/store.js"
import { framesOf } from "../../src/wire/publish.js"
import { chunk, NOTHING, readOn } from "../support/chunks.js"
import { publish } from "../support/wire.js"

/*
 * Owners of one database, one after the other, on a real server: each is slow, sleeps while the next one takes over, goes on
 * then, and its writes are lost, unanswered or late. What was acknowledged is there, in order; nobody else's is.
 */

/** What happens to a write on its way. */
const FATES = ["fine", "fine", "fine", "lost", "unanswered", "late"] as const
type Fate = (typeof FATES)[number]

const STEPS = [
  "commit",
  "fold",
  "sleep",
  "take over",
  "sleep at take over",
  "late ones come at take over",
  "hand over",
  "wake",
  "late ones come",
] as const
/** A collection whose writes meet a fate, or any. */
const WHERE = ["any", "any", "broker", "sessions", "holds", "retained", "wills", "logs"] as const
/** `nth`: which of the writes that come meets its fate, or so many steps later it sleeps */
const step = record({
  kind: constantFrom(...STEPS),
  fate: constantFrom(...FATES),
  where: constantFrom(...WHERE),
  nth: nat({ max: 12 }),
})
/** What is done one behind the other more often than by chance. */
const PHRASES: (typeof STEPS)[number][][] = [
  ["commit", "commit", "fold"],
  ["commit", "sleep", "fold", "take over", "commit", "fold"],
  ["sleep", "commit", "take over", "commit"],
  ["commit", "fold", "wake", "take over"],
  ["late ones come", "take over"],
  ["commit", "sleep at take over", "take over", "commit"],
  ["fold", "wake", "hand over"],
]
/** What is tried first: each shows what one safeguard is for. */
const EXAMPLES: (typeof STEPS)[number][][] = [
  // a row is changed only where no later owner wrote it; the fourth commit changes no Session
  ["commit", "commit", "commit", "fold", "commit", "sleep", "fold", "take over", "commit", "fold", "wake", "take over"],
]
const ENDS: (typeof STEPS)[number][][] = [["late ones come", "hand over"], ["late ones come", "take over"], ["late ones come at take over"]]
/** A write of a fold comes late, after the next folds, before and after another owner. */
const late = record({
  where: constantFrom(...WHERE),
  nth: nat({ max: 2 }),
  next: constantFrom("fold" as const, "take over" as const),
  end: constantFrom(...ENDS),
}).map(({ where, nth, next, end }) => [
  fine("commit"),
  { kind: "fold" as const, fate: "late" as const, where, nth },
  ...([next, "commit", "fold", "commit", "commit", "fold", "commit"] as const).map(fine),
  ...end.map(fine),
])
function fine(kind: Step["kind"]): Step {
  return { kind, fate: "fine", where: "any", nth: 0 }
}
const phrase = constantFrom(...PHRASES).map((kinds) => kinds.map(fine))
const history = array(
  oneof(
    step.map((one) => [one]),
    phrase,
    late,
  ),
  { maxLength: 12 },
).map((parts) => parts.flat())
type Step = { kind: (typeof STEPS)[number]; fate: Fate; where: (typeof WHERE)[number]; nth: number }

const WRITES = new Set(["insertOne", "insertMany", "updateOne", "updateMany", "findOneAndUpdate", "bulkWrite", "deleteMany"])

class NoAnswer extends Error {}

/** An owner's way to the database: the next writes may meet a fate, and all of them wait while it sleeps. */
class Way {
  fate: Fate = "fine"
  where: Step["where"] = "any"
  nth = 0
  /** so many writes and questions for one document later it sleeps, or something else happens first */
  left = Infinity
  meanwhile = async (): Promise<void> => this.sleep()
  readonly late: (() => Promise<unknown>)[] = []
  private asleep: Promise<void> | undefined = undefined
  private wakeUp = (): void => {}

  constructor(private readonly db: Db) {}

  sleep(): void {
    this.asleep ??= new Promise((resolve) => {
      this.wakeUp = resolve
    })
  }
  get isAsleep(): boolean {
    return this.asleep !== undefined
  }
  wake(): void {
    this.left = Infinity
    this.asleep = undefined
    this.wakeUp()
  }

  get database(): Db {
    return this.wrapped(this.db, (name, method) =>
      name === "collection" ? (...args: unknown[]) => this.collection(String(args[0]), method(...args)) : method,
    )
  }

  private collection<T>(collection: string, target: T): T {
    return this.wrapped(target, (name, method) => {
      if (WRITES.has(name)) return async (...args: unknown[]) => this.write(collection, () => method(...args))
      if (name === "findOne") return async (...args: unknown[]) => this.step(() => method(...args))
      return method
    })
  }

  private wrapped<T>(target: T, wrap: (name: string, method: (...args: unknown[]) => never) => unknown): T {
    if (typeof target !== "object" || target === null) return target
    return new Proxy(target, {
      get: (of, name) => {
        const value: unknown = Reflect.get(of, name, of)
        return typeof value === "function" && typeof name === "string" ? wrap(name, value.bind(of)) : value
      },
    })
  }

  private async step(go: () => Promise<unknown>): Promise<unknown> {
    if (this.left-- === 0) await this.meanwhile()
    await this.asleep
    return go()
  }

  private write(collection: string, go: () => Promise<unknown>): Promise<unknown> {
    return this.step(async () => {
      if (this.where !== "any" && this.where !== collection) return go()
      if (this.nth-- > 0) return go()
      const { fate } = this
      this.fate = "fine"
      if (fate === "late") this.late.push(go)
      if (fate === "unanswered") await go()
      if (fate !== "fine") throw new NoAnswer(fate)
      return go()
    })
  }
}

/** Every fourth commit has only a retained message and a Will; the others are numbered among themselves. */
const isSmall = (n: number): boolean => n % 4 === 0
const among = (n: number): number => n - Math.floor(n / 4)

/** What the commit with a number says: all that a store keeps, as a function of the number. */
function commitOf(n: number): Commit {
  const row = (id: number): SessionRow => ({ clientId: `c${id}`, expirySeconds: n, disconnectedAt: null })
  const retained = framesOf(publish(4, { topic: "kept", qos: 1, packetId: 0, payload: `${n}`, retain: true }), false)
  const k = among(n)
  const other = 10 + Math.floor(k / 3)
  return {
    ...NOTHING,
    ...(!isSmall(n) && {
      appends: [chunk(5, k, `${k}`)],
      cuts: [{ log: 5, below: cutOf(k) }],
      sessions: [{ id: 1, row: row(1) }, ...(k % 3 === 2 ? [{ id: other, row: undefined }] : [{ id: other, row: row(other) }])],
      subscriptions: [
        { session: 1, slot: k, row: undefined },
        { session: 1, slot: k + 1, row: { ...HOLD, since: k } },
      ],
      cursors: [{ session: 1, cursor: { position: k, sentBelow: k, inflight: k % 2 ? Buffer.from([k]) : undefined } }],
      incoming: [
        { session: 1, identifier: k, open: true },
        { session: 1, identifier: k - 1, open: false },
      ],
    }),
    retained: [{ id: 2, value: retained.seal() }],
    wills: [
      { id: 3 + (n % 2), value: { clientId: `${n}`, delaySeconds: 0, v5: false, packet: WILL } },
      { id: 3 + ((n + 1) % 2), value: undefined },
    ],
    reserved: { position: n + 1, id: 1000 },
  }
}

const WILL = publish(4, { topic: "w", qos: 1, packetId: 0, payload: "" }).toString("base64")
const HOLD = { filter: "t", qos: 1, noLocal: false, retainAsPublished: true, identifier: 0, log: 5, since: 0, until: null } as const
const cutOf = (k: number): number => Math.max(0, k - 4)

/** What a store says that has the first `n` commits. */
function expectedOf(n: number): object {
  if (!n) return { sessions: [], cursor: undefined, inflight: undefined, incoming: [], holds: [], retained: [], wills: [], next: 1 }
  const k = among(n)
  const other = 10 + Math.floor(k / 3)
  const ids = [1, ...Array.from({ length: other - 9 }, (_, m) => 10 + m).filter((id) => id === other && k % 3 !== 2)]
  return {
    sessions: ids,
    cursor: k,
    inflight: k % 2 ? k : undefined,
    incoming: [k],
    holds: [k + 1],
    retained: [`${n}`],
    wills: [`${n}`],
    next: n + 1,
  }
}

function seenOf({ sessions, retained, wills, next }: StoredState): object {
  const first = sessions.find(({ id }) => id === 1)
  return {
    sessions: sessions.map(({ id }) => id),
    cursor: first?.cursor.position,
    inflight: first?.cursor.inflight?.[0],
    incoming: first?.incoming ?? [],
    holds: [...(first?.subscriptions.keys() ?? [])],
    retained: retained.map(({ value }) => value.toString("latin1").match(/kept\0\0(\d+)/)?.[1]),
    wills: wills.map(({ value }) => value.clientId),
    next: next.position,
  }
}

interface Owner {
  way: Way
  serving: Serving
  /** the last commit that was acknowledged, and the one that was tried */
  acknowledged: number
  tried: number
  /** what the next owner has of it, once there is one */
  taken: number
  /** in order */
  hasEnded: boolean
}

class History {
  private owner: Owner | undefined = undefined
  private readonly former: Owner[] = []
  /** those that sleep while they take over */
  private readonly halves: { way: Way; epoch: number; serving: Promise<Serving> }[] = []
  private epoch = 0
  /** the epoch of the owner */
  private owned = 0
  private readonly wrong: string[] = []

  constructor(private readonly db: Db) {}

  async run(steps: readonly Step[]): Promise<void> {
    await this.takeOver("fine")
    for (const one of steps) await this.step(one)
    await this.wake()
    await this.late()
    await this.takeOver("fine")
    expect(this.wrong).toEqual([])
  }

  private async step({ kind, fate, where, nth }: Step): Promise<void> {
    const { owner } = this
    if (kind === "take over") return this.takeOver(fate, nth)
    if (kind === "late ones come at take over") return this.takeOver("fine", 0, false, nth)
    if (kind === "sleep at take over") return this.sleepAtTakeOver(nth)
    if (kind === "hand over") return this.handOver()
    if (kind === "late ones come") return this.late()
    if (kind === "wake") return this.wake()
    if (!owner || kind === "sleep") return owner?.way.sleep()
    owner.way.fate = fate
    owner.way.where = kind === "commit" ? "any" : where
    owner.way.nth = kind === "commit" ? 0 : nth
    const done = kind === "fold" ? owner.serving.folding.foldAll() : this.commit(owner)
    // one that sleeps goes on when it wakes
    await Promise.race([done.catch(() => {}), pause(150)])
  }

  /** Tries the next commit, or the last one again. */
  private async commit(owner: Owner): Promise<void> {
    const n = owner.acknowledged + 1
    owner.tried = n
    try {
      await owner.serving.folding.commit(commitOf(n))
      if (n > owner.taken) this.wrong.push(`commit ${n} of an owner that was replaced was acknowledged, and nobody has it`)
      owner.acknowledged = n
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof Superseded)) throw error
    }
  }

  private async takeOver(fate: Fate, nth = 0, followsRelease = this.epoch === 0, lateAt = Infinity): Promise<void> {
    this.owner?.way.sleep()
    const way = new Way(this.db)
    way.fate = fate
    way.nth = nth
    way.left = lateAt
    if (lateAt < Infinity) way.meanwhile = () => this.late()
    let serving: Serving
    try {
      serving = await this.begin(way, followsRelease)
    } catch (error) {
      // it ends at its start: the next one takes over from the one before
      if (!(error instanceof NoAnswer)) throw error
      return this.takeOver("fine")
    }
    await this.owns({ way, epoch: this.epoch }, serving)
  }

  private begin(way: Way, followsRelease: boolean): Promise<Serving> {
    const db = way.database
    const owner = randomId()
    const epoch = ++this.epoch
    return serve(
      { db, patient: db, collections: collectionsOf(db), epoch, owner, followsRelease, superseded: () => new Superseded(owner) },
      () => {},
    )
  }

  private async owns({ way, epoch }: { way: Way; epoch: number }, serving: Serving): Promise<void> {
    this.owned = epoch
    const before = this.owner
    const found = await this.check(serving, before)
    if (before) {
      before.taken = found
      this.former.push(before)
    }
    this.owner = { way, serving, acknowledged: found, tried: found, taken: Infinity, hasEnded: false }
  }

  /** After some of its writes and questions. */
  private async sleepAtTakeOver(left: number): Promise<void> {
    this.owner?.way.sleep()
    const way = new Way(this.db)
    way.left = left
    const serving = this.begin(way, false)
    serving.catch(() => {})
    this.halves.push({ way, epoch: this.epoch, serving })
    await Promise.race([serving.catch(() => {}), pause(300)])
  }

  /** Its owner ends in order: nothing of it is on its way then. */
  private async handOver(): Promise<void> {
    const { owner } = this
    if (!owner || owner.way.isAsleep) return
    const clean = await owner.serving.finish()
    owner.hasEnded = true
    await this.takeOver("fine", 0, clean)
  }

  /** What the new owner has: all that was acknowledged, and at most the one that was under way. */
  private async check({ state, folding }: Serving, before: Owner | undefined): Promise<number> {
    const found = state.next.position - 1
    const least = before?.acknowledged ?? 0
    expect([least, before?.tried ?? 0]).toContain(found)
    expect(seenOf(state)).toEqual(expectedOf(found))
    const k = among(found)
    const waiting = Array.from({ length: Math.max(0, k - cutOf(k) + 1) }, (_, m) => cutOf(k) + m).filter((at) => at > 0)
    const read = await readOn(folding, 5, cutOf(k))
    expect(read.map(([at, bytes]) => [at, bytes.toString()])).toEqual(waiting.map((at) => [at, `${at}`]))
    return found
  }

  /** Who was replaced goes on where it was, and with the next commit. */
  private async wake(): Promise<void> {
    for (const { way, epoch, serving } of this.halves.splice(0)) {
      way.wake()
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const done = await serving.catch((error: unknown) => {
        if (!(error instanceof Superseded)) throw error
      })
      if (done && epoch > this.owned) await this.owns({ way, epoch }, done) // oxlint-disable-line no-await-in-loop
      else if (done) this.wrong.push("an owner that slept while the next one took over has taken over")
    }
    for (const one of this.former) {
      one.way.wake()
      if (one.hasEnded) continue
      await Promise.race([this.commit(one), pause(150)])
    }
  }

  private async late(): Promise<void> {
    for (const { way } of [...this.former, ...(this.owner ? [this.owner] : [])])
      for (const go of way.late.splice(0)) await go().catch(() => {})
  }

  async end(): Promise<void> {
    for (const { way, serving } of this.halves) {
      way.wake()
      await serving.then((done) => done.close()).catch(() => {})
    }
    for (const { way, serving } of [...this.former, ...(this.owner ? [this.owner] : [])]) {
      way.wake()
      await serving.close()
    }
  }
}

describe.skipIf(!hasMongoServer())("owners of one database, one after the other", () => {
  let server: MongoServer
  let client: MongoClient
  let n = 0

  beforeAll(async () => {
    server = await startMongoServer()
    client = await MongoClient.connect(server.url, { w: "majority" })
  })
  afterAll(() => client.close())

  test("nothing acknowledged is missing, nothing of an owner that was replaced counts", async () => {
    const runs = Number(process.env["MQTT_TEST_OWNERS"] ?? 40)
    const property = asyncProperty(history, async (steps) => {
      const run = new History(client.db(`owners${n++}`))
      try {
        await run.run(steps)
      } finally {
        await run.end()
      }
    })
    const seed = process.env["CI"] === undefined ? {} : { seed: 1 }
    await assert(property, { numRuns: runs, endOnFailure: false, examples: EXAMPLES.map((kinds) => [kinds.map(fine)]), ...seed })
  }, 300_000)
})
