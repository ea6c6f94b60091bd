import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { parseTopicFilter, splitShare, topicFilterProblem, topicMatches, topicNameProblem } from "@mqtt-trio/common"

const level = fc.constantFrom("a", "b", "", "ä", "$x", "long level")
const topicName = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join("/"))

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
