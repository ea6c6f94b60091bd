import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { parseTopicFilter, splitShare, topicFilterProblem, topicMatches, topicNameProblem } from "@mqtt-trio/common"

const level = fc.constantFrom("a", "b", "", "ä", "$x", "long level", "a.b", "(c)")
const topicName = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join("/"))
  .filter((topic) => topic !== "")
const topicFilter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { maxLength: 4 }), fc.boolean())
  .map(([levels, all]) => [...levels, ...(all ? ["#"] : [])].join("/"))
  .filter((filter) => filter !== "")

/** A Topic Filter as a regular expression, as the standard puts it in words (MQTT 5.0 section 4.7.1 and 4.7.2). */
function expression(filter: string): RegExp {
  const parts = filter.split("/").map((part, index) => {
    const slash = index === 0 ? "" : "/"
    if (part === "#") return index === 0 ? ".*" : "(/.*)?"
    return slash + (part === "+" ? "[^/]*" : part.replaceAll(/[.()$]/g, "\\$&"))
  })
  return new RegExp(`^${/^[+#]/.test(filter) ? "(?![$])" : ""}${parts.join("")}$`, "u")
}

describe("topicMatches", () => {
  it.each([
    ["a", "a", true],
    ["a", "b", false],
    ["a/#", "a", true],
    ["a/#", "a/b/c", true],
    ["a/#", "ab", false],
    ["#", "a/b", true],
    ["#", "$SYS/x", false],
    ["+/x", "$SYS/x", false],
    ["$SYS/#", "$SYS/x", true],
    ["+", "a/b", false],
    ["+/+", "/a", true],
    ["/+", "/a", true],
    ["+", "/a", false],
    ["a/+", "a/", true],
    ["a/+", "a", false],
    ["a/+/#", "a", false],
    ["a/+/#", "a/b", true],
    ["$share/g/a/#", "a/b", true],
    ["$share/g/#", "$SYS/b", false],
  ])("%s on %s: %s", (filter, topic, expected) => {
    expect(topicMatches(filter, topic)).toBe(expected)
  })

  it("a topic matches itself, and its levels replaced by wildcards unless it starts with $", () => {
    fc.assert(
      fc.property(topicName, fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }), fc.nat(5), (topic, replaced, cut) => {
        const levels = topic.split("/")
        expect(topicMatches(topic, topic)).toBe(true)
        const some = levels.map((text, index) => (replaced[index] === true ? "+" : text))
        const wild = cut < levels.length ? [...some.slice(0, cut), "#"] : some
        const leads = wild[0] === "+" || wild[0] === "#"
        expect(topicMatches(wild.join("/"), topic)).toBe(!(leads && topic.startsWith("$")))
      }),
    )
  })
})

describe("topicMatches and the standard's words", () => {
  it("any filter matches any topic as its regular expression does, alone and shared", () => {
    const seen = { yes: 0, no: 0 }
    fc.assert(
      fc.property(topicFilter, topicName, (filter, topic) => {
        const expected = expression(filter).test(topic)
        seen[expected ? "yes" : "no"]++
        expect(topicMatches(filter, topic)).toBe(expected)
        expect(topicMatches(`$share/group/${filter}`, topic)).toBe(expected)
      }),
      { numRuns: 1000 },
    )
    expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(50)
  })

  it("a filter is valid where it reads as one, a topic where it has no wildcard; a share comes apart as it was put together", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "/", "+", "#"), minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(text, (one) => {
        expect(topicNameProblem(one) === undefined).toBe(!/[+#]/.test(one))
        expect(topicFilterProblem(one) === undefined).toBe(/^(([^+#/]*|\+)\/)*([^+#/]*|\+|#)$/.test(one))
        expect(topicFilterProblem(`$share/g/${one}`)).toBe(topicFilterProblem(one))
        expect(splitShare(`$share/g/${one}`)).toEqual({ group: "g", filter: one })
      }),
      { numRuns: 500 },
    )
  })
})

describe("validity", () => {
  it.each(["", "a\0b", "a/#", "+", "a+", "\ud800", "x".repeat(65_536)])("%j is no topic name", (topic) => {
    expect(topicNameProblem(topic)).toBeTypeOf("string")
  })

  it.each(["a", "/", "a b", "$SYS/x", "ä".repeat(32_767), "😀"])("%j is a topic name", (topic) => {
    expect(topicNameProblem(topic)).toBeUndefined()
  })

  it.each(["", "a/#/b", "a#", "+a", "a/b+", "$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g/a#"])(
    "%j is no topic filter",
    (filter) => {
      expect(topicFilterProblem(filter)).toBeTypeOf("string")
      expect(() => parseTopicFilter(filter)).toThrow(/topic filter/)
    },
  )

  it.each(["#", "+", "a/+/b/#", "/", "$share/g/#", "$share/g/a/+", "$shared/x"])("%j is a topic filter", (filter) => {
    expect(topicFilterProblem(filter)).toBeUndefined()
  })

  it("splits a shared subscription into group and filter", () => {
    expect(splitShare("$share/g/a/b")).toEqual({ group: "g", filter: "a/b" })
    expect(splitShare("a/b")).toBeUndefined()
  })
})
