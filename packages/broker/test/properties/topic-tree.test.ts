import { topicMatches } from "@mqtt-trio/common"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { qualities, topicFilters, topicNames } from "./arbitraries.js"
import { type QoS, Receivers, RetainedTopics } from "./subjects.js"

interface Change {
  name: string
  filter: string
  /** null: UNSUBSCRIBE */
  qos: QoS | null
}

/** Changes of a few filters again and again, so that what is unsubscribed was subscribed. */
const changes = fc.array(topicFilters, { minLength: 1, maxLength: 6 }).chain((filters) =>
  fc.array(
    fc.record({
      name: fc.constantFrom("s1", "s2", "s3"),
      filter: fc.constantFrom(...filters),
      qos: fc.option<QoS>(qualities, { nil: null, freq: 2 }),
    }),
    { maxLength: 25 },
  ),
)

/** The highest grant of each receiver whose filters match, by asking each filter. */
function expectedFor(topic: string, held: ReadonlyMap<string, Change>): [string, QoS][] {
  const grants = new Map<string, QoS>()
  for (const { name, filter, qos } of held.values()) {
    const granted = grants.get(name) ?? -1
    if (qos !== null && qos > granted && topicMatches(filter, topic)) grants.set(name, qos)
  }
  return [...grants].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** Topics of which one matches at least a filter without wildcards. */
const topicsNear = (list: readonly Change[], others: readonly string[]): string[] => {
  const plain = list.map(({ filter }) => filter).filter((filter) => !/[+#]/.test(filter))
  return [...new Set([...others, ...plain.slice(0, 3)])]
}

test("the tree of Topic Filters finds whom topicMatches finds, after each SUBSCRIBE and UNSUBSCRIBE", () => {
  fc.assert(
    fc.property(changes, fc.array(topicNames, { minLength: 1, maxLength: 4 }), (list, others) => {
      const tree = new Receivers()
      const held = new Map<string, Change>()
      const topics = topicsNear(list, others)
      for (const change of list) {
        const { name, filter, qos } = change
        held.set(`${name} ${filter}`, change)
        if (qos === null) tree.unsubscribe(name, filter)
        else tree.subscribe(name, filter, qos)
        for (const topic of topics)
          for (const names of [tree.byText(topic), tree.byBytes(topic)]) expect(names).toEqual(expectedFor(topic, held))
      }
    }),
  )
})

/** Topics below each other and beside each other, some published again without a payload. */
const publications = fc
  .array(topicNames, { minLength: 1, maxLength: 6 })
  .chain((topics) => fc.array(fc.tuple(fc.constantFrom(...topics), fc.constantFrom("", "x", "yy")), { maxLength: 25 }))

test("the tree of retained messages finds those whose topics topicMatches finds, whatever was removed", () => {
  fc.assert(
    fc.property(publications, fc.array(topicFilters, { minLength: 1 }), (list, filters) => {
      const tree = new RetainedTopics()
      const kept = new Set<string>()
      for (const [topic, payload] of list) {
        tree.publish(topic, payload)
        if (payload) kept.add(topic)
        else kept.delete(topic)
        expect(tree.count).toBe(kept.size)
        for (const filter of ["#", topic])
          expect(tree.match(filter)).toEqual([...kept].filter((one) => topicMatches(filter, one)).toSorted())
      }
      for (const filter of filters) expect(tree.match(filter)).toEqual([...kept].filter((topic) => topicMatches(filter, topic)).toSorted())
    }),
  )
})
