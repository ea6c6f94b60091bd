import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"

const PACKAGES = new URL("../../", import.meta.url).pathname

/** What the linter has no rule for, by what is wrong with it. */
const OTHER_HANDS: [what: string, pattern: RegExp][] = [
  ["a private member is declared with `private`", /^\s+(?:(?:static|readonly|async|get|set) )*#\w+\s*[(:=;]|\bthis\.#\w/m],
  ["a section of the standard is called so: MQTT 5.0 section 3.8", /MQTT (?:5\.0|3\.1\.1|3\.1),? \(?\d+\.\d/],
]

const FILES = readdirSync(PACKAGES, { recursive: true, encoding: "utf8" }).filter((path) =>
  /^[^/]+\/(src|test|bench)\/(?!.*\b(node_modules|dist)\b).*\.ts$/.test(path),
)

test.each(OTHER_HANDS)("in all packages: %s", (_what, pattern) => {
  expect(FILES.length).toBeGreaterThan(300)
  const own = join("tools", "test", "one-hand.test.ts")
  expect(FILES.filter((path) => path !== own && pattern.test(readFileSync(join(PACKAGES, path), "utf8")))).toEqual([])
})
