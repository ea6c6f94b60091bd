import { startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { answers, complete, lasting } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { heir, mortal, nothingBut } from "../support/will.js"
import { DISCONNECT, long, properties } from "../support/wire.js"

const QOS = [0, 1, 2] as const
const delay = (seconds: number): Buffer => properties([0x18, ...long(seconds)])

describe.each([4, 5] as const)("version %i", (version) => {
  test("kill -9 of the broker: the Wills of those who were connected are sent at the next start, to sessions that last too", async () => {
    const own = await startBroker()
    const sleeper = await Peer.connected(own.port, version, lasting("s"))
    await sleeper.subscribe(["w", 2])
    sleeper.cut()
    for (const qos of QOS) await mortal(version, { topic: "w", payload: `${qos}`, qos, retain: qos === 2 }, {}, own.port)
    const clean = await mortal(version, { topic: "w", payload: "left in order", qos: 1 }, {}, own.port)
    clean.send(DISCONNECT)
    await clean.ended()
    await own.kill9()
    await own.restart()
    const back = await Peer.connected(own.port, version, lasting("s"))
    const came = (await answers(back, 2)).map((bytes) => readPublish(bytes, version).payload.toString())
    expect(came.toSorted((a, b) => a.localeCompare(b))).toEqual(["1", "2"])
    expect((await (await heir("w", own.port)).nextPublish()).payload.toString()).toBe("2")
    await own.kill9()
    await own.restart()
    const third = await Peer.connected(own.port, version, lasting("s"))
    expect(await answers(third, 2)).toHaveLength(2)
  })

  test("a Will that was sent is not sent again after kill -9", async () => {
    const own = await startBroker()
    const peer = await Peer.connected(own.port, version, lasting("s"))
    await peer.subscribe(["w", 2])
    const gone = await mortal(version, { topic: "w", payload: "will", qos: 2 }, {}, own.port)
    gone.cut()
    await complete(peer, await peer.nextPublish())
    await own.kill9()
    await own.restart()
    const back = await Peer.connected(own.port, version, lasting("s"))
    await nothingBut("after", back, "w", own.port)
  })

  test("SIGTERM: the Wills of those who are connected are sent [section 3.1.2.5]", async () => {
    const own = await startBroker()
    const sleeper = await Peer.connected(own.port, version, lasting("s"))
    await sleeper.subscribe(["w", 1])
    sleeper.cut()
    await mortal(version, { topic: "w", payload: "will", qos: 1 }, {}, own.port)
    await own.stop()
    await own.restart()
    const back = await Peer.connected(own.port, version, lasting("s"))
    expect((await answers(back, 1)).map((bytes) => readPublish(bytes, version).payload.toString())).toEqual(["will"])
  })
})

test("never after a DISCONNECT that is followed by kill -9 at once: 6 times", { timeout: 60_000 }, async () => {
  const own = await startBroker()
  const sleeper = await Peer.connected(own.port, 4, lasting("s"))
  await sleeper.subscribe(["w", 1])
  sleeper.cut()
  for (let round = 0; round < 6; round++) {
    const version = round % 2 ? 4 : 5
    const peer = await mortal(version, { topic: "w", payload: "will", qos: 1 }, round % 3 ? {} : lasting("m"), own.port)
    peer.send(DISCONNECT)
    await peer.ended()
    await own.kill9()
    await own.restart()
  }
  const back = await Peer.connected(own.port, 5, lasting("s"))
  await nothingBut("after", back, "w", own.port)
})

test("Will Delay Interval: kill -9 while it waits, and while its client is connected: sent after the interval, back in time: not", async () => {
  const own = await startBroker()
  const peer = await Peer.connected(own.port, 5, lasting("s"))
  await peer.subscribe(["w", 1])
  const waiting = await mortal(5, { topic: "w", payload: "waiting", qos: 1, properties: delay(3) }, lasting("waiting"), own.port)
  waiting.cut()
  await mortal(5, { topic: "w", payload: "connected", qos: 1, properties: delay(3) }, lasting("connected"), own.port)
  await mortal(5, { topic: "w", payload: "back", qos: 1, properties: delay(3) }, lasting("back"), own.port)
  await own.kill9()
  await own.restart()
  const heirs = await Peer.connected(own.port, 5, lasting("s"))
  await Peer.connected(own.port, 5, lasting("back"))
  await nothingBut("first", heirs, "w", own.port)
  const came = [await heirs.nextPublish(), await heirs.nextPublish()].map(({ payload }) => payload.toString())
  expect(came.toSorted((a, b) => a.localeCompare(b))).toEqual(["connected", "waiting"])
  await nothingBut("last", heirs, "w", own.port)
})
