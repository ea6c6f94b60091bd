import { join } from "node:path"
import { temporaryFolder } from "@mqtt-trio/testing"
import { array, assert, asyncProperty, constantFrom, nat, record } from "fast-check"
import { expect, test } from "vitest"
import { DiskGuard } from "../../src/stores/disk-guard.js"
import { openEnvironment } from "../../src/stores/environment.js"
import type { Commit, SubscriptionRow } from "../../src/stores/store.js"
import { Tables } from "../../src/stores/tables.js"
import { Unfolded } from "../../src/stores/unfolded.js"
import { withUnfolded } from "../../src/stores/with-unfolded.js"
import { type Amount, Frames, NO_AMOUNT } from "../../src/wire/frames.js"
import { chunk, NOTHING } from "../support/chunks.js"

const KINDS = [
  "session",
  "end",
  "subscribe",
  "unsubscribe",
  "cursor",
  "open",
  "close",
  "append",
  "append",
  "cut",
  "retain",
  "clear",
  "will",
  "reserve",
  "time",
] as const
const step = record({ kind: constantFrom(...KINDS), id: nat({ max: 2 }), n: nat({ max: 2 }) })
type Step = { kind: (typeof KINDS)[number]; id: number; n: number }

/** Commits that a broker could make: a Session's row is there before others of it, its id is not used again, positions rise. */
class Commits {
  private position = 1
  private readonly sessions = new Map<number, number>()
  private nextSession = 1
  private readonly logs = new Map<number, Amount>()

  next({ kind, id, n }: Step): Commit {
    const known = this.sessions.get(id)
    const session = known ?? this.nextSession++
    this.sessions.set(id, session)
    if (kind === "end") this.sessions.delete(id)
    return { ...NOTHING, ...(known === undefined && this.part("session", session, n)), ...this.part(kind, session, n) }
  }

  private part(kind: Step["kind"], id: number, n: number): Partial<Commit> {
    const subscription: SubscriptionRow = {
      filter: `f/${this.position}`,
      qos: 1,
      noLocal: false,
      retainAsPublished: true,
      identifier: 0,
      log: n,
      since: 1,
      until: null,
    }
    switch (kind) {
      case "session":
        return { sessions: [{ id, row: { clientId: `c${id}`, expirySeconds: n, disconnectedAt: null } }] }
      case "end":
        return { sessions: [{ id, row: undefined }] }
      case "subscribe":
        return { subscriptions: [{ session: id, slot: n, row: subscription }] }
      case "unsubscribe":
        return { subscriptions: [{ session: id, slot: n, row: undefined }] }
      case "cursor":
        return { cursors: [{ session: id, cursor: { position: this.position, sentBelow: n ? n : Infinity, inflight: undefined } }] }
      case "open":
      case "close":
        return { incoming: [{ session: id, identifier: n, open: kind === "open" }] }
      case "append":
        return { appends: [this.append(id, n + 1)] }
      case "cut":
        return { cuts: [{ log: id, below: Math.max(0, this.position - n) }] }
      case "retain":
        return { retained: [{ id, value: Buffer.from(`${this.position}`) }] }
      case "clear":
        return { retained: [{ id, value: undefined }], wills: [{ id: n, value: undefined }] }
      case "will":
        return { wills: [{ id, value: { clientId: `${n}`, delaySeconds: n, v5: false, packet: "" } }] }
      case "reserve":
        return { reserved: { position: this.position + 100, id: n } }
      case "time":
        return { time: { broker: this.position, wall: n } }
    }
  }

  private append(log: number, count: number): Commit["appends"][number] {
    const one = chunk(log, this.position, ...Array.from({ length: count }, (_, at) => `${at}`))
    const before = this.logs.get(log) ?? NO_AMOUNT
    const { bytes } = Frames.unseal(one.first, one.value)
    this.logs.set(log, { messages: before.messages + count, bytes: before.bytes + bytes, expiring: 0 })
    this.position += count
    return { ...one, before }
  }
}

test("the tables with what is not folded are what they are when it is folded", async () => {
  const steps = array(step, { maxLength: 60, size: "max" })
  const property = asyncProperty(steps, steps, async (before, after) => {
    const file = join(temporaryFolder(), "mqtt-broker.mdb")
    const readProgram = new URL("../../dist/stores/read-worker.js", import.meta.url)
    const tables = new Tables(file, openEnvironment(file), new DiskGuard(file), { readProgram })
    const commits = new Commits()
    const unfolded = [new Unfolded(), new Unfolded()] as const
    for (const one of before) unfolded[0].apply(commits.next(one))
    for (const one of after) unfolded[1].apply(commits.next(one))
    await tables.fold(unfolded[0], 1, () => 0)
    const expected = withUnfolded(tables.load(), unfolded[1])
    await tables.fold(unfolded[1], 2, () => 0)
    expect(expected).toEqual(tables.load())
    await tables.close()
  })
  await assert(property, { numRuns: 60 })
})
