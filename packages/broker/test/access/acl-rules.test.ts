import { describe, expect, test } from "vitest"
import { parseAcl } from "../../src/access/rights/acl-file.js"
import { AclRules } from "../../src/access/rights/acl-rules.js"
import { AnswerBudget } from "../../src/access/rights/remembered.js"

function rights(...lines: string[]): AclRules {
  return new AclRules(parseAcl("acl", lines.join("\n")))
}

describe("what is remembered is bounded", () => {
  test("by client: 1000 topics, none that is long", () => {
    const budget = new AnswerBudget()
    const answers = new Map<string, boolean>()
    let most = 0
    for (let n = 0; n < 3500; n++) {
      budget.remember(answers, `t/${n}`, true)
      most = Math.max(most, answers.size)
    }
    expect([most, answers.size]).toEqual([1000, 500])
    budget.remember(answers, "t".repeat(257), true)
    expect(answers.size).toBe(500)
  })

  test("over all clients", () => {
    const budget = new AnswerBudget()
    const clients = Array.from({ length: 1000 }, () => new Map<string, boolean>())
    const held = (): number => clients.reduce((sum, { size }) => sum + size, 0)
    for (const answers of clients) for (let n = 0; n < 199; n++) budget.remember(answers, `t/${n}`, true)
    expect(held()).toBe(199_000)
    for (const answers of clients) for (let n = 0; n < 199; n++) budget.remember(answers, `u/${n}`, true)
    expect(held()).toBe(198_000)
  })

  test("and asked again when it is forgotten", () => {
    const permissions = rights("topic read t/+/even").permissions({ user: undefined, clientId: "c" })
    for (const _ of [1, 2])
      expect(Array.from({ length: 3000 }, (_, n) => permissions.mayRead(`t/${n}/${n % 2 === 0 ? "even" : "odd"}`))).toEqual(
        Array.from({ length: 3000 }, (_, n) => n % 2 === 0),
      )
  })
})

describe("names of clients in patterns", () => {
  test("a name with more levels than a topic has costs nothing", () => {
    const rules = rights("pattern readwrite %c/%u", "pattern a/%c/#")
    const permissions = rules.permissions({ user: "u", clientId: "/".repeat(65_000) })
    const before = performance.now()
    expect(Array.from({ length: 10_000 }, (_, n) => permissions.mayRead(`/${n}`))).not.toContain(true)
    expect(permissions.maySubscribe("#")).toBe(false)
    expect(performance.now() - before).toBeLessThan(5000)
    expect(rules.permissions({ user: "u", clientId: "/".repeat(99) }).mayRead(`a/${"/".repeat(99)}/b`)).toBe(true)
  })

  test("a pattern of another client is no readable topic, one of a client that is not known yet neither", () => {
    const rules = rights("pattern read from/%c/#")
    expect(rules.permissions({ user: undefined, clientId: "a" }).maySubscribe("from/b/#")).toBe(false)
    expect(rules.permissions({ user: undefined, clientId: "a" }).maySubscribe("from/+/x")).toBe(true)
    expect(rules.explain({ user: undefined, clientId: undefined }, "read", "from/+/x").allowed).toBe(false)
    expect(rules.namesClientIds).toBe(true)
    expect(rights("pattern %u/%%u", "topic %c").namesClientIds).toBe(false)
  })
})

/** Lines, a Topic Filter, and whether it can bring anything. */
const SUBSCRIPTIONS: [lines: string, filter: string, allowed: boolean][] = [
  ["topic write #", "#", false],
  ["topic read a/b", "a/#", true],
  ["topic read a/b", "+/+", true],
  ["topic read a/b", "a/+/#", true],
  ["topic read a/b", "a/b/+", false],
  ["topic read a/+/c", "+/b/+", true],
  ["topic read a/#", "a", true],
  ["topic read a/+", "a", false],
  ["topic read /#", "+", false],
  ["topic read /#", "+/+", true],
  ["topic read #", "$SYS/#", false],
  ["topic read $SYS/#", "#", false],
  ["topic read $SYS/+", "$SYS/#", true],
  ["topic read #, topic deny #", "#", false],
  ["topic read #, topic deny +/#", "#", false],
  ["topic read #, topic deny +/+/#", "#", true],
  ["topic read #, topic deny +/+/#", "a/#", true],
  ["topic read #, topic deny +/+/#", "a/+/#", false],
  ["topic read a/#, topic deny a", "a/#", true],
  ["topic read a/#, topic deny a, topic deny a/+", "a/#", true],
  ["topic read a/#, topic deny a, topic deny a/+, topic deny a/+/+/#", "a/#", false],
  ["topic read a/#, topic deny a, topic deny a/+/#", "a/#", false],
  ["topic read a/+, topic deny a/b", "a/+", true],
  ["topic read a/+, topic deny a/b", "a/b", false],
  ["topic deny a/b, pattern read a/+", "a/b", false],
  ["topic read a/b, pattern deny a/#", "a/#", true],
  ["topic read a/b, pattern read a/#, pattern deny a/#", "a/c", false],
]

test.each(SUBSCRIPTIONS)("%s: a subscription to %s: %s", (lines, filter, allowed) => {
  const permissions = rights(...lines.split(", ")).permissions({ user: undefined, clientId: "c" })
  expect(permissions.maySubscribe(filter)).toBe(allowed)
})
