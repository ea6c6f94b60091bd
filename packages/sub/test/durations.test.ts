import { expect, it } from "vitest"
import { randomId, runCli, spawnCli, startBroker } from "@mqtt-trio/testing"

it("-W 25d waits for 25 days, not for 1 ms", async () => {
  const broker = await startBroker({ store: "memory:" })
  const topic = randomId("topic")
  const subscriber = spawnCli("mqtt-sub", ["-L", broker.url, topic, "-W", "25d", "-C", "1", "-d"])
  await subscriber.waitForLine("SUBACK", { stream: "stderr" })
  expect((await runCli("mqtt-pub", ["-L", broker.url, topic, "x"])).code).toBe(0)
  expect(await subscriber.waitForEnd()).toMatchObject({ code: 0 })
  expect(subscriber.stdout).toBe("x\n")
  expect(subscriber.stderr).not.toContain("TimeoutOverflowWarning")
})
