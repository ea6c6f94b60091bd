import { topicMatches } from "@mqtt-trio/common"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { AclRules, parseAcl } from "./subjects.js"

const CLIENT = { user: "u", clientId: "c" }
/** Its Client Identifier has two levels. */
const DEEP_CLIENT = { user: "u", clientId: "c/a" }
/** Levels of rules, and one that no rule names. */
const LEVELS = ["a", "b", "", "u", "c", "z"]

const level = fc.constantFrom("a", "a", "b", "", "+", "+", "+", "%u", "%c")
const ending = fc.constantFrom("", "", "/#", "/+")
const filters = fc.tuple(fc.array(level, { minLength: 1, maxLength: 2 }), ending).map(([levels, end]) => levels.join("/") + end)
const rules = fc.tuple(
  fc.constantFrom("topic", "topic", "pattern"),
  fc.constantFrom("read", "readwrite", "write", "deny", "deny"),
  fc.oneof({ weight: 6, arbitrary: filters.filter((filter) => filter !== "") }, fc.constantFrom("#", "$a/#", "$a", "$a/+")),
)
const files = fc.array(
  rules.map(([kind, access, filter]): Rule => [kind, access, kind === "pattern" ? filter : filter.replaceAll(/%[cu]/g, "c")]),
  { maxLength: 8 },
)
type Rule = [kind: string, access: string, filter: string]

/** All Topic Names of up to four levels, more than any rule has. */
const TOPICS = topicsOf(4)

function topicsOf(levels: number): string[] {
  const shorter = levels > 1 ? topicsOf(levels - 1) : []
  const all =
    levels > 1
      ? shorter.filter((topic) => topic.split("/").length === levels - 1).flatMap((topic) => LEVELS.map((one) => `${topic}/${one}`))
      : [...LEVELS, "$a"]
  return [...shorter, ...all]
}

function compiled(list: readonly Rule[]): AclRules {
  return new AclRules(parseAcl("acl", ["user u", ...list.map((words) => words.join(" "))].join("\n")))
}

/** What the rules say, looked at one after the other. */
function plain(list: readonly Rule[], access: string, topic: string, client = CLIENT): boolean {
  for (const kind of ["topic", "pattern"]) {
    const matching = list.filter(([one, , filter]) => {
      const filled = kind === "topic" ? filter : filter.replaceAll("%u", client.user).replaceAll("%c", client.clientId)
      return one === kind && topicMatches(filled, topic)
    })
    if (matching.some((rule) => rule[1] === "deny")) return false
    if (matching.some((rule) => [access, "readwrite"].includes(rule[1]))) return true
  }
  return false
}

test("a topic may be read and written as the rules say, asked once and again", () => {
  fc.assert(
    fc.property(files, fc.array(fc.constantFrom(...TOPICS, "%u", "%c/a"), { minLength: 20, maxLength: 20 }), (list, topics) => {
      const rights = compiled(list)
      for (const client of [CLIENT, DEEP_CLIENT]) {
        const permissions = rights.permissions(client)
        for (const topic of [...topics, ...topics]) {
          expect(permissions.mayRead(topic), topic).toBe(plain(list, "read", topic, client))
          expect(permissions.mayWrite(topic), topic).toBe(plain(list, "write", topic, client))
        }
      }
    }),
  )
})

test("a filter may be subscribed to when any topic that it matches may be read, and only then", () => {
  const asked = fc.oneof(
    filters.map((filter) => filter.replaceAll(/%[cu]/g, "z") || "a"),
    fc.constantFrom("#", "+/#", "$a/#", "$a/+", "c/#", "u"),
  )
  const answers = { true: 0, false: 0 }
  fc.assert(
    fc.property(files, fc.array(asked, { minLength: 5, maxLength: 5 }), (list, wanted) => {
      const permissions = compiled(list).permissions(CLIENT)
      const readable = TOPICS.filter((topic) => topic !== "" && plain(list, "read", topic))
      for (const filter of wanted) {
        const expected = readable.some((topic) => topicMatches(filter, topic))
        expect(permissions.maySubscribe(filter), filter).toBe(expected)
        expect(permissions.maySubscribe(`$share/group/${filter}`), filter).toBe(expected)
        answers[`${expected}`]++
      }
    }),
    { numRuns: 150 },
  )
  expect(Math.min(answers.true, answers.false)).toBeGreaterThan(20)
})

test("what decides is the first line of those that could", () => {
  fc.assert(
    fc.property(files, fc.constantFrom(...TOPICS), (list, topic) => {
      const { allowed, rule } = compiled(list).explain(CLIENT, "read", topic)
      expect(allowed).toBe(plain(list, "read", topic))
      const kind = rule?.scope === "pattern" ? "pattern" : "topic"
      const isSame = ([one, access, filter]: Rule): boolean =>
        one === kind && (access === "deny") === !allowed && plain([[one, allowed ? access : "read", filter]], "read", topic)
      // that line alone says the same, and none before it does
      const first = list.findIndex(isSame)
      if (rule) expect(first).toBe(rule.line - 2)
      else
        expect(list.some(([one, access, filter]) => plain([[one, access === "deny" ? "read" : access, filter]], "read", topic))).toBe(false)
    }),
  )
})
