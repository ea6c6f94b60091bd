import { setImmediate as nextTurn } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { BrokerTime } from "../../src/delivery/broker-time.js"
import { GroupCommit } from "../../src/delivery/logs/group-commit.js"
import { MemoryStore } from "../../src/stores/memory.js"
import type { Commit, StoredTime } from "../../src/stores/store.js"

const START = Date.UTC(2026, 5, 1)
const HOUR = 3_600_000

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date", "performance"], now: START }))
afterEach(() => void vi.useRealTimers())

/** The wall clock goes on without the monotonic one: it is set. */
const turn = (ms: number): void => void vi.setSystemTime(Date.now() + ms)

/** What the store was told, commit by commit. */
class Told extends MemoryStore {
  readonly times: (StoredTime | undefined)[] = []

  override commit(commit: Commit): Promise<void> {
    this.times.push(commit.time)
    return super.commit(commit)
  }
}

function commitsTo(store: Told): GroupCommit {
  return new GroupCommit(store, { position: 1, id: 1 }, { failing: () => {}, recovered: () => {} })
}

/** Resolves when so many commits are done. */
async function committed(store: Told, count: number): Promise<void> {
  while (store.times.length < count) await nextTurn()
  await nextTurn()
}

async function write(commits: GroupCommit, store: Told): Promise<void> {
  commits.writeSession(1, undefined)
  await committed(store, store.times.length + 1)
}

const set = (ms: number): StoredTime => ({ broker: START, wall: START + ms })

describe("what time it is rides on commits", () => {
  test("on the first one, then on one a minute", async () => {
    const store = new Told()
    const commits = commitsTo(store)
    await write(commits, store)
    vi.advanceTimersByTime(59_999)
    await write(commits, store)
    vi.advanceTimersByTime(1)
    await write(commits, store)
    const later = START + 60_000
    expect(store.times).toEqual([{ broker: START, wall: START }, undefined, { broker: later, wall: later }])
  })

  test("on each flush, with which the broker stops", async () => {
    const store = new Told()
    const commits = commitsTo(store)
    await write(commits, store)
    vi.advanceTimersByTime(10)
    await commits.flush()
    expect(store.times).toEqual([expect.anything(), { broker: START + 10, wall: START + 10 }])
  })

  test("on the next one when the wall clock was set, once, whichever way", async () => {
    const store = new Told()
    const commits = commitsTo(store)
    await write(commits, store)
    for (const ms of [HOUR, -2 * HOUR]) {
      turn(ms)
      await write(commits, store)
      await write(commits, store)
    }
    expect(store.times).toEqual([set(0), set(HOUR), undefined, set(-HOUR), undefined])
  })

  test("on one of its own when the wall clock was set and nothing else is written, and on none else", async () => {
    const store = new Told()
    const commits = commitsTo(store)
    vi.advanceTimersByTime(HOUR)
    commits.watchTime()
    expect(commits.gathering.dirty).toBe(false)
    turn(1001)
    commits.watchTime()
    expect(commits.gathering.dirty).toBe(true)
    await committed(store, 1)
    expect(store.times).toEqual([{ broker: START + HOUR, wall: START + HOUR + 1001 }])
  })
})

test("what was stamped later than now, by a broker that lost some time, is new", () => {
  const time = new BrokerTime()
  expect([START - 1999, START, START + HOUR].map((stamp) => time.secondsSince(stamp))).toEqual([1, 0, 0])
})

test("for people a time is shown as the wall clock is set now", () => {
  const time = new BrokerTime(5000)
  vi.advanceTimersByTime(1000)
  turn(HOUR)
  expect(time.toWall(5500)).toEqual(new Date(START + 500 + HOUR))
})
