import { fileURLToPath } from "node:url"
import { runProcess } from "@mqtt-trio/testing"
import { expect, test } from "vitest"

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
