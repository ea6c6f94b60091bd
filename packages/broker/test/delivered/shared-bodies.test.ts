import { startBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { complete, lasting, numberOf, publishNumbers, range, take } from "../support/messages.js"
import { Peer } from "../support/peer.js"

/** A block that two logs share is a body at any size. */
const env = { MQTT_BROKER_TEST_COPIED_BYTES: "0" }

test("a subscription that ended within what two filters have together: each message has the QoS that was granted for it", async () => {
  const broker = await startBroker({ env })
  // its log goes on when the other one's subscription ends
  const other = await Peer.connected(broker.port, 5, lasting("other"))
  await other.subscribe(["a/+", 2])
  other.cut()
  const session = await Peer.connected(broker.port, 5, lasting("session", 1))
  await session.subscribe(["a/#", 1], ["a/+", 2])
  await publishNumbers(broker.port, { topic: "a/b", qos: 2, from: 1, to: 5 })
  await session.nextPublish() // and it gets no more without an answer
  await session.subscribe(["a/+", 0])
  await publishNumbers(broker.port, { topic: "a/b", qos: 2, from: 6, to: 10 })
  session.cut()
  expect(await broker.stop()).toBe(0)
  await broker.restart()
  const again = await Peer.connected(broker.port, 5, lasting("session", 20))
  const came = await take(again, 10)
  // those at QoS 2 wait for the store, the others do not
  const at = (granted: number): number[] => came.filter(({ qos }) => qos === granted).map(numberOf)
  expect([at(2), at(1)]).toEqual([range(1, 5), range(6, 10)])
  expect(await again.settled()).toEqual([])
})

test("what many filters match comes once, in order, whatever only some of them match", async () => {
  const broker = await startBroker({ env })
  const filters = ["#", "a/#", "a/+", "+/b", "a/b", "+/c", "a/c", "+/+"]
  const session = await Peer.connected(broker.port, 5, lasting("session"))
  await session.subscribe(...filters.map((filter): [string, number] => [filter, 1]))
  session.cut()
  const topics = ["a/b", "a/c", "d/b", "x", "a/b"]
  const sent: string[] = []
  for (let from = 1; from <= 300; from += 10) {
    const topic = topics[(from >> 3) % topics.length] ?? ""
    await publishNumbers(broker.port, { topic, qos: 1, from, to: from + 9 })
    for (let n = from; n < from + 10; n++) sent.push(`${n}`)
    if (from !== 151) continue
    expect(await broker.stop()).toBe(0)
    await broker.restart()
  }
  expect(await broker.stop()).toBe(0)
  await broker.restart()
  const again = await Peer.connected(broker.port, 5, lasting("session", 7))
  const came: string[] = []
  while (came.length < sent.length) {
    const message = await again.nextPublish()
    came.push(message.payload.toString())
    await complete(again, message)
  }
  expect(came).toEqual(sent)
  expect(await again.settled()).toEqual([])
})
