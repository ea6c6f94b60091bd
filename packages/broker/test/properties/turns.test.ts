import { setImmediate as turn } from "node:timers/promises"
import { expect, test } from "vitest"
import { Pauses } from "../../src/connection/pauses.js"
import { Turns } from "../../src/connection/turns.js"
import type { SharedTurns } from "../../src/delivery/retained/retained-stream.js"
import { GroupCommit } from "../../src/delivery/logs/group-commit.js"
import { Housekeeping } from "../../src/delivery/logs/housekeeping.js"
import { MemoryStore } from "../../src/stores/memory.js"

const EVENTS = { failing: () => {}, recovered: () => {} }
/** Longer than a turn may take. */
const LONG_MS = 12

function work(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** A connection's reading. */
class Reading {
  readonly said: string[] = []
  readonly pauses = new Pauses({ pause: () => this.said.push("pause"), resume: () => this.said.push("resume") }, () => {})
}

test("what takes long waits for a later turn of the event loop, in order, and nothing overtakes what waits", async () => {
  const turns = new Turns()
  const done: number[] = []
  const act = (n: number, ms: number): void => {
    turns.take(() => {
      done.push(n)
      work(ms)
    })
  }
  act(1, 0)
  act(2, LONG_MS)
  act(3, LONG_MS)
  act(4, 0)
  expect(done).toEqual([1, 2])
  await turn()
  expect(done).toEqual([1, 2, 3])
  act(5, 0)
  await turn()
  expect(done).toEqual([1, 2, 3, 4, 5])
})

test("a turn is over when it took long, and the next begins anew", async () => {
  const turns = new Turns()
  turns.begin()
  expect(turns.isOver).toBe(false)
  work(LONG_MS)
  expect(turns.isOver).toBe(true)
  await turn()
  expect(turns.isOver).toBe(false)
})

test("beyond 4 MB in a turn nobody is read any more, 8 go on in each turn, the others later", async () => {
  const turns = new Turns()
  const readings = Array.from({ length: 100 }, () => new Reading())
  for (const { pauses } of readings) turns.read(65_536, pauses)
  expect(readings.map(({ said }) => said.length)).toEqual([...Array<number>(64).fill(0), ...Array<number>(36).fill(1)])
  await turn()
  expect(readings.filter(({ said }) => said.at(-1) === "pause")).toHaveLength(28)
  for (let n = 0; n < 4; n++) await turn() // oxlint-disable-line no-await-in-loop -- one after the other
  expect(readings.filter(({ said }) => said.at(-1) === "pause")).toHaveLength(0)
})

test("who brings much when a turn had enough is not read before the next, who brings little is", async () => {
  const turns = new Turns()
  const [much, little] = [new Reading(), new Reading()]
  turns.begin()
  work(LONG_MS)
  turns.read(65_536, much.pauses)
  turns.read(100, little.pauses)
  expect([much.said, little.said]).toEqual([["pause"], []])
  await turn()
  expect(much.said).toEqual(["pause", "resume"])
})

/** Does so many pieces of work, each of which takes its time, and says so. */
async function share(turns: SharedTurns, pieces: number, done: () => void): Promise<void> {
  for (let n = 0; n < pieces; n++) {
    const mine = turns.share()
    if (mine) await mine // oxlint-disable-line no-await-in-loop -- one piece after the other
    work(2)
    done()
  }
}

test("what many do that takes long is no more in a turn than what one does", async () => {
  const turns = new Turns()
  const done: number[] = []
  const all = Array.from({ length: 40 }, (_, n) => share(turns, 5, () => done.push(n)))
  let before = 0
  while (done.length < 200) {
    // 5 ms for those that wait, and as much again before they are asked
    expect(done.length - before).toBeLessThan(12)
    before = done.length
    await turn() // oxlint-disable-line no-await-in-loop -- one after the other
  }
  await Promise.all(all)
})

test("what comes behind waits for those in the line, and has one turn at least", async () => {
  const turns = new Turns()
  const order: string[] = []
  turns.begin()
  work(LONG_MS)
  const all = [share(turns.behind, 3, () => order.push("behind")), share(turns, 6, () => order.push("line"))]
  await turn()
  expect(order.slice(0, 2)).toEqual(["line", "line"])
  await Promise.all(all)
  expect(order.indexOf("behind")).toBeLessThan(order.lastIndexOf("line"))
  expect(order).toHaveLength(9)
})

test("reading goes on when no reason to pause is left", () => {
  const { pauses, said } = new Reading()
  pauses.begin(1)
  pauses.begin(2)
  pauses.end(1)
  pauses.end(4)
  expect(said).toEqual(["pause", "pause"])
  pauses.end(2)
  expect(said.at(-1)).toBe("resume")
})

test("Sessions that are woken together send in several turns, each once", async () => {
  const housekeeping = new Housekeeping(() => {})
  const sent: number[] = []
  for (let n = 0; n < 20; n++)
    housekeeping.noteWoken({
      pump: () => {
        sent.push(n)
        work(1)
      },
    })
  housekeeping.pump()
  expect(sent.length).toBeLessThan(20)
  while (sent.length < 20) await turn()
  expect(sent).toEqual(Array.from({ length: 20 }, (_, n) => n))
})

const ROWS = {
  "retained messages": (commits: GroupCommit, n: number) => commits.writeRetained(n, Buffer.alloc(10_000)),
  Wills: (commits: GroupCommit, n: number) =>
    commits.writeWill(n, { clientId: "c", user: undefined, delaySeconds: 0, v5: true, packet: "x".repeat(10_000) }),
  Subscriptions: (commits: GroupCommit, n: number) =>
    commits.writeSubscription(1, n, {
      filter: "x".repeat(10_000),
      qos: 1,
      noLocal: false,
      retainAsPublished: false,
      identifier: 0,
      log: 1,
      since: 0,
      until: null,
    }),
  Sessions: (commits: GroupCommit, n: number) =>
    commits.writeSession(n, { clientId: "x".repeat(10_000), user: undefined, expirySeconds: null, disconnectedAt: null }),
}

test.each(Object.entries(ROWS))("%s that wait for the disk are as much as may wait, whatever they are", (_, write) => {
  const commits = new GroupCommit(new MemoryStore(), { position: 1, id: 1 }, EVENTS)
  for (let n = 0; n < 150; n++) write(commits, n)
  expect(commits.full).toBe(false)
  for (let n = 150; n < 300; n++) write(commits, n)
  expect(commits.full).toBe(true)
})

test("a retained message that is overwritten before it is stored takes the place of the one before", () => {
  const commits = new GroupCommit(new MemoryStore(), { position: 1, id: 1 }, EVENTS)
  for (let n = 0; n < 2000; n++) commits.writeRetained(1, Buffer.alloc(10_000))
  expect(commits.full).toBe(false)
})
