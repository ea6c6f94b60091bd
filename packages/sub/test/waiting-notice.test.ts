import { createServer } from "node:net"
import { describe, expect, it } from "vitest"
import { onCleanUp, randomId, runCli, spawnCli, startBroker } from "@mqtt-trio/testing"

/** Listens until the end of the test, says this to whoever connects, then nothing more; returns the port. */
async function silentAfter(words: string): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined)
    socket.once("data", () => socket.write(Buffer.from(words, "hex")))
  })
  onCleanUp(() => void server.close())
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const address = server.address()
  return String(typeof address === "object" && address !== null ? address.port : 0)
}

const TIMES = { timeout: 40_000 }
const warning = (seconds: string, what: string): RegExp =>
  new RegExp(`^warning: mqtt://127.0.0.1:\\d+ has not answered for ${seconds} s: ${what}$`)

async function publishes(qos: string): Promise<void> {
  const broker = await startBroker({ store: "memory:" })
  const publisher = spawnCli("mqtt-pub", ["-L", broker.url, randomId("topic"), "-l", "-q", qos, "-d"])
  publisher.child.stdin.write("1\n")
  await publisher.waitForLine(/received (PUBACK|PUBCOMP)/, { stream: "stderr" })
  process.kill(broker.pid, "SIGSTOP")
  publisher.child.stdin.end("2\n3\n")
  await publisher.waitForLine(warning("[56]", "2 messages are not acknowledged yet"), { stream: "stderr" })
  await publisher.waitForLine(warning("1[01]", "2 messages are not acknowledged yet"), { stream: "stderr" })
  process.kill(broker.pid, "SIGCONT")
  expect(await publisher.waitForEnd()).toMatchObject({ code: 0 })
  expect(publisher.stderr.split("has not answered")).toHaveLength(3)
}

describe("after 5 s without an answer there is a line, then more rarely", () => {
  it("CONNECT and SUBSCRIBE", TIMES, async () => {
    const connecting = spawnCli("mqtt-sub", ["-p", await silentAfter(""), "t"])
    const subscribing = spawnCli("mqtt-sub", ["-p", await silentAfter("2003000000"), "t"])
    await connecting.waitForLine(warning("[56]", "the connection is not accepted yet"), { stream: "stderr" })
    await subscribing.waitForLine(warning("[56]", "the subscription is not acknowledged yet"), { stream: "stderr" })
  })

  it("PUBLISH at QoS 1 and 2, and it goes on when the broker does", TIMES, async () => {
    await Promise.all([publishes("1"), publishes("2")])
  })

  it("--quiet is quiet, and there is nothing to say when nothing is waited for", TIMES, async () => {
    const broker = await startBroker({ store: "memory:" })
    const quiet = spawnCli("mqtt-sub", ["-p", await silentAfter(""), "t", "--quiet", "-W", "7"])
    const idle = await runCli("mqtt-sub", ["-L", broker.url, "t", "-W", "7"])
    expect(idle.stderr).toBe("error: timed out: no message came\n")
    await quiet.waitForEnd()
    expect(quiet.stderr).toBe("error: timed out before the connection was made\n")
  })
})
