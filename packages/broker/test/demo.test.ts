import { fileURLToPath } from "node:url"
import { runProcess } from "@mqtt-trio/common/testing"
import { describe, expect, test } from "vitest"
import { problemWith } from "../src/demo/verdict.js"

const DEMO = fileURLToPath(new URL("../dist/demo.js", import.meta.url))

test("npm run demo: 25 messages in order over an absence and a kill -9, exit code 0", async () => {
  const { code, stdout, stderr } = await runProcess(process.execPath, [DEMO], { timeoutMs: 50_000 })
  expect([code, stderr]).toEqual([0, ""])
  const messages = [...stdout.matchAll(/^ +(Hello mqtt \d+)$/gm)].map((match) => match[1])
  expect(messages).toEqual(Array.from({ length: 25 }, (_, n) => `Hello mqtt ${n + 1}`))
  expect(stdout).toContain("killed with SIGKILL")
  expect(stdout).toContain("20 messages wait in the queue")
  expect(stdout).toMatch(/^OK +25 messages, in order, none missing; the queue is empty/m)
})

describe("what the demo calls a failure", () => {
  test.each([
    [["a", "b", "c"], undefined],
    [["a", "c"], "missing: b"],
    [[], "missing: a, b, c"],
    [["a", "c", "b"], "out of order from message 2 on: c, b"],
    [["a", "b", "b", "c"], "1 more than were published"],
  ])("%j", (received, problem) => {
    expect(problemWith(received, ["a", "b", "c"])).toBe(problem)
  })
})
