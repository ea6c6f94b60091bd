import { startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { hex, PINGREQ, PINGRESP } from "../support/wire.js"

const broker = await startBroker({ store: "memory:" })

describe.each([4, 5] as const)("version %i", (version) => {
  test("a client that says nothing for one and a half Keep Alives is cut off [MQTT-3.1.2-22]", async () => {
    const start = performance.now()
    const peer = await Peer.connected(broker.port, version, { keepAlive: 1 })
    const came = await peer.ended()
    expect(performance.now() - start).toBeGreaterThan(1400)
    expect(came).toEqual(version === 5 ? [hex("e0 02 8d 00")] : [])
  })

  test("a client that pings stays [MQTT-3.1.2-20]", async () => {
    const peer = await Peer.connected(broker.port, version, { keepAlive: 1 })
    const start = performance.now()
    const timer = setInterval(() => peer.send(PINGREQ), 600)
    try {
      while (performance.now() - start < 2000) expect(await peer.next()).toEqual(PINGRESP)
    } finally {
      clearInterval(timer)
    }
    expect(peer.closed).toBe(false)
  })

  test("Keep Alive 0 turns it off [section 3.1.2.10]", async () => {
    const still = await Peer.connected(broker.port, version, { keepAlive: 0 })
    const timed = await Peer.connected(broker.port, version, { keepAlive: 1 })
    await timed.ended()
    expect(await still.settled()).toEqual([])
  })
})
