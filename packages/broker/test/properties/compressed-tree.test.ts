import { topicMatches } from "@mqtt-trio/common"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { topicFilters, topicNames } from "./arbitraries.js"
import { filtersOverlap, hashAt, RESTING, TopicTree } from "./subjects.js"

interface Value {
  path: string
  n: number
}

function foundBy(tree: TopicTree<Value>, filter: string): Value[] {
  return [...tree.matchedBy(filter)].filter((one) => one !== RESTING)
}

/** Levels of which each has the hash of another one. */
function twins(): string[] {
  const known = new Map<number, string>()
  const found: string[] = []
  for (let n = 0; found.length < 8; n++) {
    const [hash, level] = [hashAt(`twin ${n}`, 0), `twin ${n}`]
    const other = known.get(hash)
    if (other !== undefined) found.push(other, level)
    known.set(hash, level)
  }
  return found
}

/** Many beside each other, at the top and below, and some of them deep. */
const crowded = fc
  .tuple(
    fc.constantFrom("", "a/", "a/b/c/"),
    fc.oneof(fc.nat({ max: 60 }), fc.constantFrom(...twins())),
    fc.constantFrom("", "/a", "/a/b/c", "/"),
  )
  .map(([before, n, behind]) => `${before}${n}${behind}`)
const chains = fc.nat({ max: 99 }).map((levels) => `a${"/a".repeat(levels)}`)
const names = fc.oneof(topicNames, crowded, chains)
const wild = fc.constantFrom("#", "+/+", "+", "a/#", "a/+", "a/b/c/+/#", "a/b/c/#", "+/a", "a/b/+/+", "$x/#")
const filters = fc.oneof(topicFilters, crowded, chains, wild)

/** What is put at paths (false: removed), of a few paths again and again; before them perhaps what makes a crowd of some. */
const changesOf = (paths: fc.Arbitrary<string>): fc.Arbitrary<[string, boolean][]> =>
  fc
    .tuple(fc.array(paths, { minLength: 1, maxLength: 40, size: "max" }), fc.array(crowded, { maxLength: 40, size: "max" }))
    .chain(([some, crowd]) =>
      fc
        .array(fc.tuple(fc.constantFrom(...some, ...crowd), fc.boolean()), { maxLength: 100, size: "max" })
        .map((list) => [...crowd.map((path): [string, boolean] => [path, true]), ...list]),
    )

/** A tree, and the same as a Map. */
class Both {
  readonly tree = new TopicTree<Value>()
  readonly map = new Map<string, Value>()
  private n = 0

  set(path: string): void {
    const value = { path, n: this.n++ }
    expect(this.tree.set(path, value)).toBe(this.map.get(path))
    this.map.set(path, value)
  }

  delete(path: string): void {
    this.tree.delete(path)
    this.map.delete(path)
  }

  /** That the tree is the one that has never held anything else, in as few nodes. */
  check(): void {
    const other = new TopicTree<Value>()
    for (const [path, value] of this.map) other.set(path, value)
    expect(this.tree.nodes).toBe(other.nodes)
    expect(this.tree.nodes).toBeLessThanOrEqual(2 * this.map.size)
  }
}

const sorted = (values: Iterable<Value>): Value[] => [...values].toSorted((a, b) => a.n - b.n)

test("a tree has what was put there last, and not more than two nodes for each value, whatever was there before", () => {
  fc.assert(
    fc.property(changesOf(fc.oneof(names, filters)), (list) => {
      const both = new Both()
      for (const [path, isThere] of list) {
        if (isThere) both.set(path)
        else both.delete(path)
        both.check()
      }
      for (const [path] of list) expect(both.tree.get(path)).toBe(both.map.get(path))
      for (const [path] of list)
        for (const other of [`${path}/x`, path.slice(0, -2)]) expect(both.tree.get(other)).toBe(both.map.get(other))
      for (const [path] of list) both.delete(path)
      expect([both.tree.nodes, both.tree.bytes]).toEqual([0, 0])
    }),
  )
})

test("a tree finds what topicMatches says, among many and deep ones, whatever was removed", () => {
  fc.assert(
    fc.property(changesOf(names), changesOf(filters), names, filters, (topics, subscriptions, name, filter) => {
      const [named, filtered] = [new Both(), new Both()]
      for (const [path, isThere] of topics) named[isThere ? "set" : "delete"](path)
      for (const [path, isThere] of subscriptions) filtered[isThere ? "set" : "delete"](path)
      for (const asked of [filter, ...filtered.map.keys()]) {
        const expected = [...named.map.values()].filter(({ path }) => topicMatches(asked, path))
        expect(sorted(foundBy(named.tree, asked))).toEqual(sorted(expected))
      }
      for (const asked of [name, ...named.map.keys()]) {
        const found: Value[] = []
        filtered.tree.matching(asked, (value) => found.push(value))
        expect(sorted(found)).toEqual(sorted([...filtered.map.values()].filter(({ path }) => topicMatches(path, asked))))
      }
    }),
  )
})

type Step = [taken: number, path: string, what: "set" | "delete" | "delete found" | "delete next"]

const walks = (
  before: fc.Arbitrary<[string, boolean][]>,
  paths: fc.Arbitrary<string>,
): fc.Arbitrary<{ before: [string, boolean][]; steps: Step[] }> =>
  fc.record({
    before,
    steps: fc.array(fc.tuple(fc.nat({ max: 3 }), paths, fc.constantFrom("set", "delete", "delete found", "delete next")), {
      maxLength: 30,
    }),
  })
/** So few beside each other that one of them is left alone again and again. */
const few = fc
  .tuple(fc.constantFrom("", "p/", "p/q/"), fc.constantFrom("p", "x", "y", ...twins().slice(0, 4)), fc.constantFrom("", "", "/x", "/y"))
  .map((parts) => parts.join(""))
const allOf = (list: readonly string[]): [string, boolean][] => list.map((path) => [path, true])
const walked = fc.oneof(walks(changesOf(names), names), walks(fc.array(few, { maxLength: 8 }).map(allOf), few))

test("of a tree that changes meanwhile, what is there all the time is found, and nothing is found twice", () => {
  fc.assert(
    fc.property(
      walked,
      fc.oneof(filters, fc.constantFrom("#", "p/#", "p/+", "+/+")),
      fc.integer({ min: 1, max: 5 }),
      ({ before, steps }, filter, restAfter) => {
        const both = new Both()
        for (const [path, isThere] of before) both[isThere ? "set" : "delete"](path)
        const always = new Set(both.map.keys())
        const ever = new Set(both.map.keys())
        const found: string[] = []
        const walk = both.tree.matchedBy(filter, restAfter)
        const take = (most: number): void => {
          for (let n = 0; n < most; n++) {
            const { value, done } = walk.next()
            if (done) return
            if (value !== RESTING) found.push(value.path)
          }
        }
        const pathOf = ([, path, what]: Step): string => {
          if (what === "delete found") return found.at(-1) ?? path
          return (what === "delete next" ? [...always].find((one) => !found.includes(one)) : undefined) ?? path
        }
        for (const step of steps) {
          take(step[0])
          const path = pathOf(step)
          if (step[2] === "set") both.set(path)
          else both.delete(path)
          if (step[2] === "set") ever.add(path)
          else always.delete(path)
        }
        take(Infinity)
        expect(new Set(found).size).toBe(found.length)
        for (const path of found) expect(ever.has(path) && topicMatches(filter, path)).toBe(true)
        expect(found).toEqual(expect.arrayContaining([...always].filter((path) => topicMatches(filter, path))))
      },
    ),
    { numRuns: 1000 },
  )
})

test("two Topic Filters overlap when there is a Topic Name that both match", () => {
  const parts = fc.array(fc.constantFrom("a", "ab", "", "+"), { minLength: 1, maxLength: 4 })
  const some = fc.tuple(parts, fc.boolean()).map(([levels, all]) => [...levels, ...(all ? ["#"] : [])].join("/"))
  const every = (levels: number): string[] =>
    levels === 0 ? [""] : every(levels - 1).flatMap((rest) => ["a", "ab", ""].map((level) => (levels === 1 ? level : `${level}/${rest}`)))
  const topics = [1, 2, 3, 4, 5].flatMap(every)
  fc.assert(
    fc.property(some, some, (a, b) => {
      const both = topics.some((topic) => topicMatches(a, topic) && topicMatches(b, topic))
      expect(filtersOverlap(a, b)).toBe(both)
      expect(filtersOverlap(b, a)).toBe(both)
    }),
    { numRuns: 300 },
  )
})
