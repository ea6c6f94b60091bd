import { startBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { anonymousMemory } from "../support/processes.js"
import { PINGREQ, publish, subscribe } from "../support/wire.js"

/** 1,000,000 by MQTT_TEST_RETAINED=1000000. */
const COUNT = Number(process.env["MQTT_TEST_RETAINED"] ?? "20000")
const LOOK_UPS = 200

/** Sends and waits for the answers; resolves with the time it took in ms. */
async function timed(peer: Peer, bytes: Buffer, packets: number): Promise<number> {
  const start = performance.now()
  peer.send(bytes)
  for (let n = 0; n < packets; n++) await peer.next()
  return performance.now() - start
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

const topicOf = (n: number): string => `site/${n % 100}/device/${n}`

/** Keeps COUNT messages, a window of 2,000 at a time. */
async function fill(port: number): Promise<void> {
  const publisher = await Peer.connected(port, 4)
  for (let n = 0; n < COUNT; n += 2000) {
    const block: Buffer[] = []
    for (let k = n; k < Math.min(COUNT, n + 2000); k++)
      block.push(publish(4, { topic: topicOf(k), payload: `value ${k}`, qos: 1, packetId: (k % 60_000) + 1, retain: true }))
    publisher.send(...block)
    for (let k = 0; k < block.length; k++) await publisher.next()
  }
  publisher.cut()
}

test(`an exact filter among ${COUNT} retained messages takes less than 1 ms, also after kill -9`, { timeout: 300_000 }, async () => {
  const broker = await startBroker({ args: ["--max-retained-size", "1GB"] })
  const start = performance.now()
  await fill(broker.port)
  const filled = performance.now() - start
  const look = async (): Promise<number> => {
    const peer = await Peer.connected(broker.port, 4)
    const [pings, subscribes, found]: [number[], number[], string[]] = [[], [], []]
    for (let n = 0; n < LOOK_UPS; n++) {
      pings.push(await timed(peer, PINGREQ, 1))
      const began = performance.now()
      peer.send(subscribe(4, 1, [topicOf(Math.floor((n * COUNT) / LOOK_UPS)), 0]))
      await peer.next()
      found.push((await peer.nextPublish()).payload.toString())
      subscribes.push(performance.now() - began)
    }
    expect(new Set(found).size).toBe(LOOK_UPS)
    peer.cut()
    return median(subscribes) - median(pings)
  }
  const before = await look()
  const memory = process.platform === "linux" ? Math.round(anonymousMemory(broker.pid) / 1e6) : 0
  await broker.kill9()
  const restart = performance.now()
  await broker.restart()
  const ready = performance.now() - restart
  const after = await look()
  process.stderr.write(
    `${COUNT} retained: filled in ${filled.toFixed(0)} ms, RssAnon ${memory} MB, look-up ${before.toFixed(3)} ms, ready after kill -9 in ${ready.toFixed(0)} ms, look-up ${after.toFixed(3)} ms\n`,
  )
  expect(before).toBeLessThan(1)
  expect(after).toBeLessThan(1)
})
