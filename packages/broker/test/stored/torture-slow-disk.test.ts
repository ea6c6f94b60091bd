import { runCli, startBroker, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { publishPacket } from "@mqtt-trio/torture"
import { compileDisk, diskEnvironment, hasCompiler } from "../support/misbehaving-disk.js"
import { RawClient } from "../support/raw-client.js"

const DELAY_MS = 300

const publish = (topic: string, packetId: number): Buffer =>
  publishPacket({ topic, qos: 1, dup: false, packetId, payload: Buffer.from(String(packetId)) })

async function milliseconds(task: () => Promise<unknown>): Promise<number> {
  const from = performance.now()
  await task()
  return performance.now() - from
}

test.runIf(hasCompiler())("with an fdatasync that takes 300 ms nothing is acknowledged or delivered early", async () => {
  const broker = await startBroker({ env: diskEnvironment(compileDisk(), { delayMs: DELAY_MS }) })
  let session = await RawClient.open(broker.port, "fresh", { clean: true })
  session.cut()

  const connect = await milliseconds(async () => (session = await RawClient.open(broker.port, "persistent")))
  expect(connect).toBeGreaterThanOrEqual(DELAY_MS)
  expect(await milliseconds(() => session.subscribe("stored/#"))).toBeGreaterThanOrEqual(DELAY_MS)

  const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
  const stored = await milliseconds(async () => {
    publisher.send(publish("stored/a", 1))
    await waitFor(() => publisher.pubacks.length === 1 || session.messages.length === 1, { what: "PUBACK or delivery" })
  })
  expect(stored).toBeGreaterThanOrEqual(DELAY_MS)
  await waitFor(() => publisher.pubacks.length === 1 && session.messages.length === 1, { what: "PUBACK and delivery" })

  const other = await RawClient.open(broker.port, "other", { clean: true })
  await other.subscribe("live")
  publisher.send(publish("stored/a", 2))
  other.send(publish("live", 3))
  await waitFor(() => other.messages.length === 1 && other.pubacks.length === 1, { what: "live traffic" })
  expect(publisher.pubacks, "live traffic overtakes what waits for the disk").toHaveLength(1)
  await waitFor(() => publisher.pubacks.length === 2 && session.messages.length === 2, { what: "the second stored message" })
})

test.runIf(hasCompiler())("the torture has patience: what still stands in a queue while commits are slow is not left over", async () => {
  const env = diskEnvironment(compileDisk(), { delayMs: 15 })
  const args = ["torture", "--rounds", "3", "--signal", "none", "--qos", "2", "--shape", "live", "--seed", "1", "--json"]
  const { code, stdout } = await runCli("mqtt-broker", args, { env, timeoutMs: 120_000 })
  expect(stdout).toContain('"histories":{}')
  expect(code).toBe(0)
})
