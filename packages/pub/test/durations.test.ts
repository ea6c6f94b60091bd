import { expect, it } from "vitest"
import { randomId, runCli, spawnCli, startBroker } from "@mqtt-trio/testing"

it.each([["--interval", "30d"] as const, ["--repeat-delay", "30d", "--repeat", "3"] as const])(
  "%s 30d is a pause of 30 days, not of 1 ms",
  async (...args) => {
    const broker = await startBroker({ store: "memory:" })
    const topic = randomId("topic")
    const subscriber = spawnCli("mqtt-sub", ["-L", broker.url, topic, "-d"])
    await subscriber.waitForLine("SUBACK", { stream: "stderr" })
    const slow = spawnCli("mqtt-pub", ["-L", broker.url, topic, "slow", "-d", ...args])
    await slow.waitForLine("PUBACK", { stream: "stderr" })
    for (const n of [1, 2]) expect((await runCli("mqtt-pub", ["-L", broker.url, topic, `other ${n}`])).code).toBe(0)
    await subscriber.waitForLine("other 2")
    expect(subscriber.stdout).toBe("slow\nother 1\nother 2\n")
    await slow.stop("SIGINT")
    expect(slow.stderr).not.toContain("TimeoutOverflowWarning")
  },
)
