import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, test } from "vitest"
import { TopicTree } from "./subjects.js"

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")

/** Bytes of the heap that are in use. */
function used(): number {
  if (typeof collect !== "function") throw new Error("no gc")
  for (let n = 0; n < 3; n++) collect()
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
  { what: "of 100 levels", count: 50_000, topic: (n) => `${n}/${LETTERS}/z`, most: 320 },
  { what: "that share 99 levels", count: 50_000, topic: (n) => `${LETTERS}/z/${n}`, most: 150 },
  { what: "of 100,000 devices", count: 100_000, topic: (n) => `${device(n >> 2)}/${MEASURES[n & 3]}`, most: 220 },
  { what: "beside each other", count: 100_000, topic: (n) => `device-${n}`, most: 150 },
  { what: "of levels of one character", count: 50_000, topic: (n) => [...`${n}`].join("/"), most: 200 },
  { what: "below each other, 100 levels deep", count: 50_000, topic: (n) => `${Math.floor(n / 100)}${"/a".repeat(n % 100)}`, most: 200 },
  { what: "of one level of 65,535 bytes", count: 300, topic: (n) => `${n}`.padEnd(65_535, "x"), most: 66_000 },
  { what: "that are not all ASCII", count: 20_000, topic: (n) => `温度计/第${n}号/温度和湿度和压力和状态`, most: 220 },
]

describe.each(SHAPES)("topics $what", ({ count, topic, most }) => {
  test(`take less than ${most} bytes each, within half of what the tree says, and nothing when they are gone`, () => {
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
    expect((used() - before) / count).toBeLessThan(most / 10)
  })
})

test("what is left of a long topic keeps nothing of it in memory", () => {
  const before = used()
  const tree = new TopicTree<object>()
  const long = "x".repeat(60_000)
  const levels = Array.from({ length: 200 }, (_, n) => `${n}/a level of some length/and another/`)
  for (const some of levels) tree.set(fresh(`${some}${long}`), VALUE)
  for (const some of levels) tree.set(fresh(`${some}y`), VALUE)
  for (const some of levels) tree.delete(`${some}${long}`)
  expect((used() - before) / 200).toBeLessThan(500)
  expect([...tree.matchedBy("#")].length).toBe(200)
})
