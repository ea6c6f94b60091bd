import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { answers, complete, lasting, numberOf, publishNumbers, range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readCodes, readConnack } from "../support/read.js"
import { fullConnect } from "../support/will.js"
import { packet, publish, puback, word } from "../support/wire.js"

const broker = await startBroker()
const NAMES = [
  "constructor",
  "__proto__",
  "prototype",
  "toString",
  "hasOwnProperty",
  "valueOf",
  "0",
  "7",
  "-1",
  "1e3",
  "NaN",
  "null",
  "undefined",
  "true",
  " ",
  "'",
  '"',
  "\\",
  "/",
  "//",
  "a\nb",
  "𝒳 é ✓",
  "\u{feff}a",
  "%",
  ".",
  "..",
  "💥".repeat(100),
]

/** A session that lasts, with its name as client identifier, user name and password, and Session Present. */
async function connectAs(name: string, clean: boolean): Promise<[Peer, present: number]> {
  const peer = new Peer(broker.port, 5)
  peer.send(fullConnect(5, { ...lasting(name), clientId: name, clean, userName: name, password: name }))
  const { reason, present } = readConnack(await peer.next())
  expect(reason).toBe(0)
  return [peer, present]
}

describe.each(NAMES)("%j is an ordinary string", (name) => {
  test("as a client identifier and user name: session, takeover, Session Present", async () => {
    const [first, before] = await connectAs(name, true)
    await first.subscribe(["odd", 1])
    const [second, after] = await connectAs(name, false)
    expect([before, after]).toEqual([0, 1])
    expect((await first.ended()).map((one) => one[2])).toEqual([0x8e])
    const [third, fresh] = await connectAs(name, true)
    expect(fresh).toBe(0)
    third.cut()
    second.cut()
  })

  test("as topic and filter: live, retained, unsubscribed", async () => {
    const peer = await Peer.connected(broker.port, 5, lasting(randomId()))
    expect(await peer.subscribe([name, 1])).toEqual([1])
    peer.send(publish(5, { topic: name, payload: "1", qos: 1, packetId: 1, retain: true }))
    const came = await answers(peer, 2)
    expect(came.map((one) => one[0]).toSorted((a = 0, b = 0) => a - b)).toEqual([0x32, 0x40])
    const late = await Peer.connected(broker.port, 4)
    expect(await late.subscribe([name, 0])).toEqual([0])
    expect(await late.nextPublish()).toMatchObject({ topic: name, retain: true })
    peer.send(packet(0xa2, word(3), [0], name, name, "neither"))
    expect(readCodes(await peer.next(), 5).codes).toEqual([0, 0x11, 0x11])
    peer.send(publish(5, { topic: name, payload: "", qos: 1, packetId: 2, retain: true }))
    expect((await peer.next()).subarray(2, 4)).toEqual(puback(2).subarray(2))
  })
})

test("as names of everything at once, queued, retained and after kill -9", { timeout: 60_000 }, async () => {
  const own = await startBroker()
  for (const name of NAMES) {
    const peer = await Peer.connected(own.port, 5, lasting(name))
    expect(await peer.subscribe(...NAMES.map((filter): [string, number] => [filter, 1]))).toEqual(NAMES.map(() => 1))
    peer.cut()
  }
  for (const [index, name] of NAMES.entries())
    await publishNumbers(own.port, { topic: name, qos: 1, from: index + 1, to: index + 1, retain: true })
  await own.kill9()
  await own.restart()
  for (const name of NAMES) {
    const [peer, connack] = await Peer.greeted(own.port, 5, lasting(name))
    expect(readConnack(connack).present).toBe(1)
    for (const n of range(1, NAMES.length)) {
      const message = await peer.nextPublish()
      expect([numberOf(message), message.topic]).toEqual([n, NAMES[n - 1]])
      await complete(peer, message)
    }
    expect(await peer.settled()).toEqual([])
    peer.cut()
  }
  const watcher = await Peer.connected(own.port, 4)
  await watcher.subscribe(...NAMES.map((filter): [string, number] => [filter, 0]))
  expect(await watcher.settled()).toHaveLength(NAMES.length)
})
