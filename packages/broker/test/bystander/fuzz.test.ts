import { randomId, startBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { expectAlive } from "../support/alive.js"
import { openPort } from "../support/doors.js"
import { hostileStream } from "../support/mutations.js"
import { Peer } from "../support/peer.js"
import { anonymousMemory } from "../support/processes.js"
import { puback, publish } from "../support/wire.js"

/** Mutated packets, one a connection; 100,000 by MQTT_TEST_FUZZ=100000. The seeds are 1 to this number. */
const COUNT = Number(process.env["MQTT_TEST_FUZZ"] ?? "6000")
const AT_ONCE = 40
const MOST_GROWTH = 200 * 1024 * 1024

/** Sends a stream and resolves when the connection is over; one that is left open is cut after the first answer. */
function attack(port: number, seed: number): Promise<void> {
  const { bytes, ends } = hostileStream(seed)
  return new Promise((resolve) => {
    const socket = openPort(port)
    // a broker that waits for the rest of a packet says nothing: nobody waits longer than this
    const timer = setTimeout(() => socket.destroy(), 1000)
    socket.on("close", () => {
      clearTimeout(timer)
      resolve()
    })
    socket.on("error", () => {})
    socket.on("data", () => {
      if (!ends) socket.destroy()
    })
    if (ends) socket.end(bytes)
    else socket.write(bytes)
  })
}

/** One message after the other, each must arrive once and in order. */
async function traffic(port: number, stopped: () => boolean): Promise<number> {
  const topic = randomId()
  const subscriber = await Peer.connected(port, 4, { clientId: randomId(), clean: false })
  await subscriber.subscribe([topic, 1])
  const publisher = await Peer.connected(port, 5)
  let n = 0
  while (!stopped()) {
    const packetId = (n++ % 65_535) + 1
    publisher.send(publish(5, { topic, qos: 1, packetId, payload: `${n}` }))
    const message = await subscriber.nextPublish()
    if (message.payload.toString() !== `${n}`) throw new Error(`${message.payload.toString()} instead of ${n}`)
    subscriber.send(puback(message.packetId))
    expect(await publisher.next()).toEqual(puback(packetId))
  }
  expect(await subscriber.settled()).toEqual([])
  return n
}

test(`${COUNT} mutated packets: the broker lives, a bystander notices nothing`, { timeout: 60_000 + COUNT * 10 }, async () => {
  const broker = await startBroker()
  let next = 1
  const before = process.platform === "linux" ? anonymousMemory(broker.pid) : 0
  const bystander = traffic(broker.port, () => next > COUNT)
  const attackers = Array.from({ length: AT_ONCE }, async () => {
    while (next <= COUNT) await attack(broker.port, next++)
  })
  await Promise.all([...attackers, bystander])
  expect(await bystander).toBeGreaterThan(Math.min(100, COUNT / 20))
  await expectAlive(broker)
  expect(broker.stderr).not.toMatch(/internal error|unhandled|TypeError|RangeError|ERR_/i)
  if (process.platform === "linux") expect(anonymousMemory(broker.pid) - before).toBeLessThan(MOST_GROWTH)
  await broker.kill9()
  await broker.restart()
  let left = 10
  expect(await traffic(broker.port, () => left-- === 0)).toBe(10)
  expect(await broker.stop()).toBe(0)
})
