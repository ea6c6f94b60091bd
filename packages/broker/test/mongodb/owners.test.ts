import { setTimeout as pause } from "node:timers/promises"
import { assert, asyncProperty } from "fast-check"
import { type Db, MongoClient } from "mongodb"
import { hasMongoServer, type MongoServer, randomId, startMongoServer } from "@mqtt-trio/testing"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { collectionsOf } from "../../src/stores/mongodb/database.js"
import { Superseded } from "../../src/stores/mongodb/errors.js"
import { serve, type Serving } from "../../src/stores/mongodb/serving.js"
import { readOn } from "../support/chunks.js"
import { among, commitOf, cutOf, expectedOf, seenOf } from "./owner-commits.js"
import { EXAMPLES, type Fate, history, type Step } from "./owner-steps.js"
import { NoAnswer, Way } from "./owner-way.js"

/*
 * Owners of one database, one after the other, on a real server: each is slow, sleeps while the next one takes over, goes on
 * then, and its writes are lost, unanswered or late. What was acknowledged is there, in order; nobody else's is.
 */

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

/** One that slept after it had taken over, and until the next one did. */
function replaced(way: Way, serving: Serving): Owner {
  const found = serving.state.next.position - 1
  return { way, serving, acknowledged: found, tried: found, taken: found, hasEnded: false }
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
    if (kind === "late ones come at take over") return this.takeOver("fine", 0, false, { where, nth })
    if (kind === "the owner wakes") return owner?.way.wake()
    if (kind === "sleep at take over") return this.sleepAtTakeOver(nth)
    if (kind === "hand over") return this.handOver((clean) => this.takeOver("fine", 0, clean))
    if (kind === "sleep at hand over") return this.handOver((clean) => this.sleepAtTakeOver(nth, clean))
    if (kind === "late ones come") return this.late()
    if (kind === "wake") return this.wake()
    if (!owner || kind === "sleep") return owner?.way.sleep()
    if (owner.hasEnded) return
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
      if (error instanceof Superseded && owner === this.owner && this.owned === this.epoch)
        this.wrong.push(`commit ${n} was refused, and nobody else wants the database`)
    }
  }

  private async takeOver(fate: Fate, nth = 0, followsRelease = this.epoch === 0, lateAt?: Pick<Step, "where" | "nth">): Promise<void> {
    this.owner?.way.sleep()
    const way = new Way(this.db)
    way.fate = fate
    way.nth = nth
    way.left = lateAt?.nth ?? Infinity
    way.leftWhere = lateAt?.where ?? "any"
    if (lateAt) way.meanwhile = () => this.late()
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
      { unreadable: () => {}, unfoldable: () => {} },
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
  private async sleepAtTakeOver(left: number, followsRelease = false): Promise<void> {
    this.owner?.way.sleep()
    const way = new Way(this.db)
    way.left = left
    const serving = this.begin(way, followsRelease)
    serving.catch(() => {})
    this.halves.push({ way, epoch: this.epoch, serving })
    await Promise.race([serving.catch(() => {}), pause(300)])
  }

  /** Its owner ends in order: nothing of it is on its way then. */
  private async handOver(to: (clean: boolean) => Promise<void>): Promise<void> {
    const { owner } = this
    if (!owner || owner.hasEnded || owner.way.isAsleep) return
    const clean = await owner.serving.finish()
    owner.hasEnded = true
    await to(clean)
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
      else if (done) this.former.push(replaced(way, done))
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
    await assert(property, { numRuns: runs, endOnFailure: false, examples: EXAMPLES.map((steps): [Step[]] => [steps]), ...seed })
  }, 1_800_000)
})
