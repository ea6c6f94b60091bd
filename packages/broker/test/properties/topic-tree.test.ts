import { topicMatches } from "@mqtt-trio/common"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { qualities, topicFilters, topicNames } from "./arbitraries.js"
import { type QoS, Receivers, RetainedTopics } from "./subjects.js"

const names = fc.constantFrom("s1", "s2", "s3")

interface Change {
  name: string
  filter: string
  /** null: UNSUBSCRIBE */
  qos: QoS | null
}

const changes: fc.Arbitrary<Change> = fc.record({ name: names, filter: topicFilters, qos: fc.option(qualities, { nil: null, freq: 3 }) })

/** The highest grant of each receiver whose filters match, by asking each filter. */
function expectedFor(topic: string, held: ReadonlyMap<string, Change>): [string, QoS][] {
  const grants = new Map<string, QoS>()
  for (const { name, filter, qos } of held.values()) {
    const granted = grants.get(name) ?? -1
    if (qos !== null && qos > granted && topicMatches(filter, topic)) grants.set(name, qos)
  }
  return [...grants].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

test("the tree of Topic Filters finds whom topicMatches finds, after each SUBSCRIBE and UNSUBSCRIBE", () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 25 }), fc.array(topicNames, { minLength: 1, maxLength: 5 }), (list, topics) => {
      const tree = new Receivers()
      const held = new Map<string, Change>()
      for (const change of list) {
        const { name, filter, qos } = change
        held.set(`${name} ${filter}`, change)
        if (qos === null) tree.unsubscribe(name, filter)
        else tree.subscribe(name, filter, qos)
        // asked each time, so that what is remembered of a topic must be forgotten
        for (const topic of topics) {
          const expected = expectedFor(topic, held)
          expect(tree.byText(topic)).toEqual(expected)
          expect(tree.byBytes(topic)).toEqual(expected)
        }
      }
    }),
  )
})

test("a filter with all its wildcards gone from the tree finds nobody, whoever unsubscribes first", () => {
  fc.assert(
    fc.property(fc.array(topicFilters, { minLength: 1, maxLength: 12 }), topicNames, (filters, topic) => {
      const tree = new Receivers()
      for (const filter of filters) tree.subscribe("s", filter, 1)
      expect(tree.byText(topic)).toEqual(filters.some((filter) => topicMatches(filter, topic)) ? [["s", 1]] : [])
      for (const filter of filters) tree.unsubscribe("s", filter)
      expect(tree.byText(topic)).toEqual([])
    }),
  )
})

test("the tree of retained messages finds those whose topics topicMatches finds, whatever was removed", () => {
  const payloads = fc.constantFrom("", "x", "yy")
  fc.assert(
    fc.property(fc.array(fc.tuple(topicNames, payloads), { maxLength: 25 }), fc.array(topicFilters, { minLength: 1 }), (list, filters) => {
      const tree = new RetainedTopics()
      const kept = new Set<string>()
      for (const [topic, payload] of list) {
        tree.publish(topic, payload)
        if (payload) kept.add(topic)
        else kept.delete(topic)
        expect(tree.count).toBe(kept.size)
      }
      for (const filter of [...filters, "#"])
        expect(tree.match(filter)).toEqual([...kept].filter((topic) => topicMatches(filter, topic)).toSorted())
    }),
  )
})
