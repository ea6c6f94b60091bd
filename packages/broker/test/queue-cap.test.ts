import { setTimeout as sleep } from "node:timers/promises"
import { runCli, startBroker, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Peer } from "./support/peer.js"
import { puback, publish } from "./support/wire.js"

const MESSAGES = 2000
const PAYLOAD = "x".repeat(1000)

/** Publishes numbered messages of about 1 kB and waits for their acknowledgements. */
async function fill(port: number, from: number, to: number, topic = "cap"): Promise<void> {
  const publisher = await Peer.connected(port, 4)
  for (let n = from; n <= to; n++) {
    publisher.send(publish(4, { topic, qos: 1, packetId: (n % 60_000) + 1, payload: `${n} ${PAYLOAD}` }))
    expect((await publisher.next())[0]).toBe(0x40)
  }
  publisher.cut()
}

async function waiting(dir: string): Promise<{ messages: number; bytes: number; dropped: { queueFull: number } }> {
  const { stdout } = await runCli("mqtt-broker", ["queue", "away", "--store", `file:${dir}/store`, "--json", "--peek", "0"])
  return JSON.parse(stdout.split("\n")[0] ?? "")
}

test("--max-queue: the oldest messages go, counted and logged; the newest come in order, also after kill -9", async () => {
  const broker = await startBroker({ args: ["--max-queue", "1MB"] })
  const away = await Peer.connected(broker.port, 4, { clientId: "away", clean: false })
  await away.subscribe(["cap", 1])
  away.cut()
  await fill(broker.port, 1, MESSAGES)
  const capped = await waitFor(
    async () => {
      const state = await waiting(broker.dir)
      return state.bytes <= 1_048_576 && state
    },
    { what: "the queue below its cap" },
  )
  expect(capped.messages).toBeGreaterThan(800)
  expect(capped.dropped.queueFull).toBe(MESSAGES - capped.messages)
  await waitFor(() => broker.stderr.includes(`${capped.dropped.queueFull} because its queue was full`), { what: "the log line" })
  // what is dropped is written down within 10 ms, with the next commit
  await sleep(100)
  await fill(broker.port, 1, 1, "other")
  await broker.kill9()
  await broker.restart()
  await fill(broker.port, MESSAGES + 1, MESSAGES + 1)
  const back = await Peer.connected(broker.port, 4, { clientId: "away", clean: false })
  const seen: number[] = []
  while (seen.at(-1) !== MESSAGES + 1) {
    const { payload, packetId } = await back.nextPublish()
    seen.push(Number.parseInt(payload.toString(), 10))
    back.send(puback(packetId))
  }
  const first = MESSAGES - capped.messages + 1
  expect(seen).toEqual(Array.from({ length: MESSAGES + 2 - first }, (_, k) => first + k))
})
