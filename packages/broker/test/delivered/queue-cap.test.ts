import { runCli, startBroker, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { puback, publish } from "../support/wire.js"

const MESSAGES = 2000
const PAYLOAD = "x".repeat(1000)
const CAP = 1_048_576
const WINDOW = 50

/** Publishes numbered messages of about 1 kB, a window of them at a time, and waits for their acknowledgements. */
async function fill(port: number, from: number, to: number): Promise<void> {
  const publisher = await Peer.connected(port, 4)
  for (let first = from; first <= to; first += WINDOW) {
    const window = range(first, Math.min(to, first + WINDOW - 1))
    publisher.send(...window.map((n) => publish(4, { topic: "cap", qos: 1, packetId: (n % 60_000) + 1, payload: `${n} ${PAYLOAD}` })))
    for (const n of window) expect(await publisher.next()).toEqual(puback((n % 60_000) + 1))
  }
  publisher.cut()
}

interface Waiting {
  messages: number
  bytes: number
  dropped: { queueFull: number }
}

async function waiting(dir: string): Promise<Waiting> {
  const { stdout } = await runCli("mqtt-broker", ["queue", "away", "--store", `file:${dir}/store`, "--json", "--peek", "0"])
  return JSON.parse(stdout.split("\n")[0] ?? "")
}

/** What waits once the broker has looked. */
function whenCapped(dir: string): Promise<Waiting> {
  const below = async (): Promise<Waiting | false> => {
    const state = await waiting(dir)
    return state.bytes <= CAP && state
  }
  return waitFor(below, { what: "the queue below its cap" })
}

test("--max-queue: the oldest messages go, counted and logged; the newest come in order, also after kill -9", async () => {
  const broker = await startBroker({ args: ["--max-queue", "1MB"] })
  const away = await Peer.connected(broker.port, 4, { clientId: "away", clean: false })
  await away.subscribe(["cap", 1])
  away.cut()
  await fill(broker.port, 1, MESSAGES)
  const capped = await whenCapped(broker.dir)
  expect(capped.messages).toBeGreaterThan(800)
  expect(capped.dropped.queueFull).toBe(MESSAGES - capped.messages)
  await waitFor(() => broker.stderr.includes(`${capped.dropped.queueFull} because its queue was full`), { what: "the log line" })
  await broker.kill9()
  await broker.restart()
  // the kill may have come before it was written down what is dropped: then it is dropped again
  expect(await whenCapped(broker.dir)).toMatchObject({ messages: capped.messages, bytes: capped.bytes })
  expect(await broker.stop()).toBe(0)
  const roomy = await startBroker({ dir: broker.dir })
  expect(await waiting(roomy.dir)).toMatchObject({ messages: capped.messages, bytes: capped.bytes })
  await fill(roomy.port, MESSAGES + 1, MESSAGES + 1)
  const back = await Peer.connected(roomy.port, 4, { clientId: "away", clean: false })
  const seen: number[] = []
  while (seen.at(-1) !== MESSAGES + 1) {
    const { payload, packetId } = await back.nextPublish()
    seen.push(Number.parseInt(payload.toString(), 10))
    back.send(puback(packetId))
  }
  const first = MESSAGES - capped.messages + 1
  expect(seen).toEqual(Array.from({ length: MESSAGES + 2 - first }, (_, k) => first + k))
})
