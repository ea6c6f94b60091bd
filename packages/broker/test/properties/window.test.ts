import * as fc from "fast-check"
import { expect, test } from "vitest"
import { Phase, Window } from "./subjects.js"

const MOST = 65_535

interface Entry {
  id: number
  position: number
  phase: number
  /** was ever at QoS 2 */
  twice: boolean
}

const isDone = ({ phase }: Entry): boolean => phase === Phase.DONE || phase === Phase.DONE_2

/** The messages in flight as a plain list: what the ring must be to whoever asks. */
class List {
  entries: Entry[] = []
  private nextId: number

  constructor(
    firstId: number,
    private readonly limit: number,
  ) {
    this.nextId = firstId
  }

  get room(): number {
    const waiting = this.entries.filter((entry) => !isDone(entry)).length
    return Math.min(this.limit - waiting, Math.min(4 * this.limit, MOST - 1) - this.entries.length)
  }

  add(position: number, qos: 1 | 2): number {
    const id = this.nextId
    this.nextId = (id % MOST) + 1
    this.entries.push({ id, position, phase: qos === 2 ? Phase.PUBLISHED_2 : Phase.PUBLISHED_1, twice: qos === 2 })
    return id
  }

  finish(entry: Entry): number {
    entry.phase = entry.phase === Phase.PUBLISHED_1 || entry.phase === Phase.ABANDONED ? Phase.DONE : Phase.DONE_2
    const open = this.entries.findIndex((one) => !isDone(one))
    const moved = open < 0 ? this.entries.length : open
    this.entries.splice(0, moved)
    return moved
  }
}

/** A ring whose first Packet Identifier is this one. */
function ringFrom(firstId: number, limit: number): Window {
  const ring = new Window(limit)
  ring.unpack(Buffer.from([firstId >> 8, firstId & 255]))
  return ring
}

/** What a ring says of itself, as one text: thousands of them are compared. */
function seenOf(ring: Window): string {
  const entries = Array.from({ length: ring.length }, (_, k) =>
    [
      ring.identifierAt(k),
      ring.positionAt(k),
      ring.phaseAt(k),
      ring.isDone(k),
      ring.needsMessage(k),
      ring.entryOf(ring.identifierAt(k)),
    ].join(),
  )
  return [`room ${ring.room}, exactly once ${ring.exactlyOnce}`, ...entries].join("\n")
}

function seenOfList({ entries, room }: List): string {
  const lines = entries.map((entry, k) => {
    const { id, position, phase } = entry
    const needed = phase === Phase.PUBLISHED_1 || phase === Phase.PUBLISHED_2
    return [id, position, phase, isDone(entry), needed, isDone(entry) ? -1 : k].join()
  })
  return [`room ${room}, exactly once ${entries.filter(({ twice }) => twice).length}`, ...lines].join("\n")
}

function expectSame(ring: Window, list: List): void {
  expect(seenOf(ring)).toBe(seenOfList(list))
  // identifiers beside those in flight
  const first = ring.identifierAt(0)
  for (const id of [first - 1, first + list.entries.length, first + 30_000]) expect(ring.entryOf(((id - 1 + MOST) % MOST) + 1)).toBe(-1)
}

type Act = "add1" | "add2" | "finish" | "release" | "abandon"

/** Does the same in both. What no caller does (releasing what is done, or at QoS 1) is left out. */
function act(kind: Act, which: number, ring: Window, list: List): void {
  if (kind === "add1" || kind === "add2") {
    if (list.room <= 0) return
    const qos = kind === "add1" ? 1 : 2
    const position = which * 2 ** 21
    expect(ring.add(position, qos)).toBe(list.add(position, qos))
    return
  }
  const k = list.entries.length ? which % list.entries.length : -1
  const entry = list.entries[k]
  if (!entry) return
  if (kind === "finish") {
    expect(ring.finish(k)).toBe(isDone(entry) ? 0 : list.finish(entry))
  } else if (kind === "abandon" && (entry.phase === Phase.PUBLISHED_1 || entry.phase === Phase.PUBLISHED_2)) {
    ring.abandon(k)
    entry.phase = entry.phase === Phase.PUBLISHED_1 ? Phase.ABANDONED : Phase.RELEASED
  } else if (kind === "release" && (entry.phase === Phase.PUBLISHED_2 || entry.phase === Phase.RELEASED)) {
    ring.release(k)
    entry.phase = Phase.RELEASED
  }
}

const kinds = fc.constantFrom<Act[]>("add1", "add1", "add2", "add2", "finish", "finish", "release", "abandon")
const acts = fc.array(fc.tuple(kinds, fc.nat(1000)), { maxLength: 100, size: "max" })
const limits = fc.integer({ min: 1, max: 40 })
/** Many begin where the next Packet Identifier after 65,535 is 1. */
const firstIds = fc.oneof(fc.integer({ min: 1, max: MOST }), fc.integer({ min: MOST - 60, max: MOST }))

test("the ring is the list of what is in flight, whatever is sent and acknowledged", () => {
  let wrapped = 0
  fc.assert(
    fc.property(firstIds, limits, acts, (firstId, limit, list) => {
      const ring = ringFrom(firstId, limit)
      const plain = new List(firstId, limit)
      for (const [kind, which] of list) {
        act(kind, which, ring, plain)
        expectSame(ring, plain)
        if (plain.entries.some(({ id }, k) => k > 0 && id === 1)) wrapped++
      }
    }),
    {
      numRuns: 25,
      examples: [
        [
          MOST,
          10,
          [
            ["add1", 1],
            ["add1", 2],
          ],
        ],
      ],
    },
  )
  expect(wrapped).toBeGreaterThan(0)
})

test("a ring that was stored is the same ring", () => {
  fc.assert(
    fc.property(firstIds, limits, acts, acts, (firstId, limit, before, after) => {
      const ring = ringFrom(firstId, limit)
      const plain = new List(firstId, limit)
      for (const [kind, which] of before) act(kind, which, ring, plain)
      const back = new Window(limit)
      back.unpack(ring.pack())
      // what was sent at QoS 1 and is done is counted by its QoS, as before
      expectSame(back, plain)
      for (const [kind, which] of after) act(kind, which, back, plain)
      expectSame(back, plain)
    }),
    { numRuns: 25 },
  )
})
