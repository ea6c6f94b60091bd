import { startBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { anonymousMemory } from "../support/processes.js"
import { PINGREQ, PINGRESP, publish, subscribe } from "../support/wire.js"

const COUNT = 20_000
const MB = 1 << 20
const BELOW = "/level".repeat(99)
/** The packets are 13 MB; a node and a Map for each level would be 540. */
const MOST_GROWTH = 200 * MB

/** Sends packets in blocks, each of which is answered by a PINGRESP behind `answers` others. */
async function sendAll(peer: Peer, packets: Buffer[], answers: number): Promise<void> {
  for (let n = 0; n < packets.length; n += 100) {
    peer.send(...packets.slice(n, n + 100), PINGREQ)
    for (let k = 0; k < answers * 100; k++) await peer.next()
    expect(await peer.next()).toEqual(PINGRESP)
  }
}

test.runIf(process.platform === "linux")(`${COUNT} retained topics of 100 levels take less than ${MOST_GROWTH / MB} MB`, async () => {
  const broker = await startBroker()
  const peer = await Peer.connected(broker.port, 4)
  const before = anonymousMemory(broker.pid)
  const packets = Array.from({ length: COUNT }, (_, n) => publish(4, { topic: `${n}${BELOW}`, retain: true, payload: "x" }))
  await sendAll(peer, packets, 0)
  const growth = anonymousMemory(broker.pid) - before
  await peer.subscribe([`${COUNT - 1}${BELOW}`, 0])
  expect((await peer.nextPublish()).topic).toBe(`${COUNT - 1}${BELOW}`)
  process.stderr.write(`${COUNT} retained topics of 100 levels: +${(growth / MB).toFixed(0)} MB\n`)
  expect(growth).toBeLessThan(MOST_GROWTH)
})

test.runIf(process.platform === "linux")(`${COUNT} Topic Filters of 100 levels take less than ${MOST_GROWTH / MB} MB`, async () => {
  const broker = await startBroker()
  const peers = [await Peer.connected(broker.port, 4), await Peer.connected(broker.port, 4)]
  const before = anonymousMemory(broker.pid)
  for (const [k, peer] of peers.entries()) {
    const packets = Array.from({ length: COUNT / 2 }, (_, n) => subscribe(4, n + 1, [`${k}-${n}${BELOW}`, 0]))
    await sendAll(peer, packets, 1)
  }
  const growth = anonymousMemory(broker.pid) - before
  peers[0]?.send(publish(4, { topic: `1-7${BELOW}`, payload: "x" }))
  expect((await peers[1]?.nextPublish())?.topic).toBe(`1-7${BELOW}`)
  process.stderr.write(`${COUNT} Topic Filters of 100 levels: +${(growth / MB).toFixed(0)} MB\n`)
  expect(growth).toBeLessThan(MOST_GROWTH)
})
