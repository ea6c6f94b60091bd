import { expect, it } from "vitest"
import { compileTemplate } from "../src/template.js"

const context = { n: 7, line: "l" }

it.each([
  ["plain", "plain"],
  ["{{n}}{{ n }}", "77"],
  ["a {{line}} b", "a l b"],
  ["{n} {{ {", "{n} {{ {"],
  ["{{env X}}", "{{n}}"],
  ["{{randInt -3 -3}}", "-3"],
])("%s becomes %s", (template, expected) => {
  expect(compileTemplate(template, { X: "{{n}}" })(context)).toBe(expected)
})

it("randInt reaches both ends; times and ids are new each time", () => {
  const dice = compileTemplate("{{randInt 1 3}}")
  expect(new Set(Array.from({ length: 200 }, () => dice(context)))).toEqual(new Set(["1", "2", "3"]))
  const id = compileTemplate("{{uuid}}")
  expect(id(context)).not.toBe(id(context))
  expect(Math.abs(Number(compileTemplate("{{unix}}")(context)) - Date.now() / 1000)).toBeLessThan(2)
  expect(Math.abs(Date.parse(compileTemplate("{{iso}}")(context)) - Date.now())).toBeLessThan(2000)
})

it("{{line}} without -l is a usage error", () => {
  expect(() => compileTemplate("{{line}}")({ n: 1, line: undefined })).toThrow("{{line}} needs -l")
})
