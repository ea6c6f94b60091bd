import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, test } from "vitest"
import { TopicTree } from "./subjects.js"

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")

/** Bytes of the heap that are in use. */
function used(): number {
  if (typeof collect !== "function") throw new Error("no gc")
  for (let n = 0; n < 2; n++) collect()
  return process.memoryUsage().heapUsed
}

const VALUE = {}
const LETTERS = Array.from({ length: 98 }, (_, n) => String.fromCodePoint(97 + (n % 26))).join("/")
const MEASURES = ["temperature", "humidity", "state", "pressure"]
/** A text as it comes from a socket: one that nobody else holds. */
const fresh = (text: string): string => Buffer.from(text).toString()
const device = (n: number): string => `site-${n % 10}/line-${Math.floor(n / 10) % 100}/device-${n}`

interface Shape {
  what: string
  count: number
  topic: (n: number) => string
  /** bytes of a topic, of one unit each character */
  most: number
}

const SHAPES: Shape[] = [
  { what: "of 100 levels", count: 20_000, topic: (n) => `${n}/${LETTERS}/z`, most: 320 },
  { what: "that share 99 levels", count: 20_000, topic: (n) => `${LETTERS}/z/${n}`, most: 150 },
  { what: "of 10,000 devices", count: 40_000, topic: (n) => `${device(n >> 2)}/${MEASURES[n & 3]}`, most: 220 },
  { what: "beside each other", count: 40_000, topic: (n) => `device-${n}`, most: 150 },
  { what: "of levels of one character", count: 20_000, topic: (n) => `${n}`.split("").join("/"), most: 200 },
  { what: "below each other, 100 levels deep", count: 20_000, topic: (n) => `${Math.floor(n / 100)}${"/a".repeat(n % 100)}`, most: 200 },
  { what: "of one level of 65,535 bytes", count: 400, topic: (n) => `${n}`.padEnd(65_535, "x"), most: 67_000 },
  { what: "of 1,000 characters that are not all ASCII", count: 2000, topic: (n) => `${n}/${"温度".repeat(500)}`, most: 2200 },
]

describe.each(SHAPES)("topics $what", ({ count, topic, most }) => {
  test(`take less than ${most} bytes each, as the tree says to the half, and are gone when they are removed`, () => {
    const before = used()
    const tree = new TopicTree<object>()
    for (let n = 0; n < count; n++) tree.set(fresh(topic(n)), VALUE)
    const bytes = used() - before
    expect(bytes / count).toBeLessThan(most)
    expect(tree.bytes).toBeGreaterThan(bytes / 1.5)
    expect(tree.bytes).toBeLessThan(bytes * 1.5)
    expect(tree.nodes).toBeLessThanOrEqual(2 * count)
    for (let n = 0; n < count; n++) tree.delete(fresh(topic(n)))
    expect([tree.nodes, tree.bytes]).toEqual([0, 0])
    expect(used() - before).toBeLessThan(bytes / 2)
  })
})

test("what is left of a long topic keeps nothing of it in memory", () => {
  const before = used()
  const tree = new TopicTree<object>()
  const long = "x".repeat(60_000)
  const levels = Array.from({ length: 200 }, (_, n) => `${n}/a level of some length/and another/`)
  const short = ["a short one, but of some length", "z"]
  for (const some of levels) tree.set(fresh(`${some}${long}`), VALUE)
  for (const some of levels) for (const last of short) tree.set(fresh(`${some}${last}`), VALUE)
  for (const some of levels) tree.delete(`${some}${long}`)
  expect((used() - before) / 200).toBeLessThan(5000)
  expect([...tree.matchedBy("#", Infinity)].length).toBe(400)
})

/** The shortest of some times, in ms. */
function shortest(what: () => void): number {
  const times = Array.from({ length: 7 }, () => {
    const start = performance.now()
    what()
    return performance.now() - start
  })
  return Math.min(...times)
}

test("what cannot match is not looked at: + and an absent level take less than a tenth of all", () => {
  const tree = new TopicTree<object>()
  for (let n = 0; n < 50_000; n++) tree.set(`${n % 200}/device/${n}`, VALUE)
  const count = (filter: string): number => [...tree.matchedBy(filter, Infinity)].length
  expect([count("#"), count("+/x"), count("+/device/7"), count("7/device/+")]).toEqual([50_000, 0, 1, 250])
  const all = shortest(() => count("#"))
  for (const filter of ["+/x", "+/device/7", "7/device/+", "7/device/7"]) expect(shortest(() => count(filter))).toBeLessThan(all / 10)
})

test("8,192 Topic Filters, each level literal or +: a topic that one of them matches takes less than a tenth of one that all match", () => {
  const tree = new TopicTree<object>()
  const levels = Array.from({ length: 13 }, (_, n) => `level${n}`)
  for (let n = 0; n < 8192; n++) tree.set(levels.map((level, k) => ((n >> k) & 1 ? "+" : level)).join("/"), VALUE)
  const count = (topic: string): number => {
    let found = 0
    tree.matching(topic, () => found++)
    return found
  }
  const [one, all] = [levels.map((level) => `no${level}`).join("/"), levels.join("/")]
  expect([count(one), count(all)]).toEqual([1, 8192])
  expect(shortest(() => count(one))).toBeLessThan(shortest(() => count(all)) / 10)
})

test("4,096 nodes at which a level of 60,000 bytes is looked for take no longer than a hundred times as with a short one", () => {
  const [topics, filters] = [new TopicTree<object>(), new TopicTree<object>()]
  const levels = Array.from({ length: 12 }, (_, n) => `level${n}`)
  for (let n = 0; n < 4096; n++)
    for (const last of ["a", "b"]) {
      topics.set(`${n}/${last}`, VALUE)
      filters.set(levels.map((level, k) => ((n >> k) & 1 ? "+" : level)).join("/") + `/${last}`, VALUE)
    }
  const match = (last: string): void => filters.matching(`${levels.join("/")}/${last}`, () => expect.unreachable())
  const walk = (last: string): void => expect([...topics.matchedBy(`+/${last}`, Infinity)]).toEqual([])
  const long = "x".repeat(60_000)
  expect(shortest(() => match(long))).toBeLessThan(100 * shortest(() => match("x")))
  expect(shortest(() => walk(long))).toBeLessThan(100 * shortest(() => walk("x")))
})
