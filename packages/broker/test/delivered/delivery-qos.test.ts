import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { puback, publish, sessionExpiry, properties } from "../support/wire.js"

const broker = await startBroker()
const QOS = [0, 1] as const

describe.each([
  { version: 4, clean: true },
  { version: 4, clean: false },
  { version: 5, clean: true },
  { version: 5, clean: false },
] as const)("version $version, clean $clean", ({ version, clean }) => {
  const fields = { clean, properties: clean ? properties() : properties(sessionExpiry(100)) }

  test.each(QOS.flatMap((published) => QOS.map((granted) => ({ published, granted }))))(
    "published at QoS $published, granted $granted: delivered at the lower of both [MQTT-3.8.4-8]",
    async ({ published, granted }) => {
      const topic = randomId()
      const peer = await Peer.connected(broker.port, version, { ...fields, clientId: randomId() })
      expect(await peer.subscribe([topic, granted])).toEqual([granted])
      const publisher = await Peer.connected(broker.port, version)
      publisher.send(publish(version, { topic, qos: published, packetId: 9, payload: "x" }))
      const message = await peer.nextPublish()
      expect(message).toMatchObject({ topic, qos: Math.min(published, granted), dup: false, retain: false })
      if (published === 1) expect((await publisher.next()).subarray(2, 4)).toEqual(puback(9).subarray(2))
      expect(await peer.settled()).toEqual([])
    },
  )

  test("RETAIN is 0 on what is delivered because of a subscription that was there before [MQTT-3.3.1-9, -12]", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, version, { ...fields, clientId: randomId() })
    await peer.subscribe([topic, 1])
    const publisher = await Peer.connected(broker.port, 4)
    publisher.send(publish(4, { topic, qos: 1, packetId: 9, retain: true }))
    expect(await peer.nextPublish()).toMatchObject({ topic, retain: false })
  })

  test("DUP of the publisher is not passed on [MQTT-3.3.1-3]", async () => {
    const topic = randomId()
    const peer = await Peer.connected(broker.port, version, { ...fields, clientId: randomId() })
    await peer.subscribe([topic, 1])
    const publisher = await Peer.connected(broker.port, 4)
    publisher.send(publish(4, { topic, qos: 1, packetId: 9, dup: true }))
    expect(await peer.nextPublish()).toMatchObject({ topic, dup: false })
  })
})

test("QoS 0 is not queued for a session that is away; QoS 1 is [section 4.3]", async () => {
  const [topic, clientId] = [randomId(), randomId()]
  const first = await Peer.connected(broker.port, 4, { clientId, clean: false })
  await first.subscribe([topic, 1])
  first.cut()
  const publisher = await Peer.connected(broker.port, 4)
  publisher.send(publish(4, { topic, payload: "zero" }), publish(4, { topic, qos: 1, packetId: 1, payload: "one" }))
  expect(await publisher.next()).toEqual(puback(1))
  const again = await Peer.connected(broker.port, 4, { clientId, clean: false })
  expect((await again.nextPublish()).payload.toString()).toBe("one")
  expect(await again.settled()).toEqual([])
})

test("a subscription at QoS 0 queues nothing [MQTT-3.8.4-8]", async () => {
  const [topic, clientId] = [randomId(), randomId()]
  const first = await Peer.connected(broker.port, 4, { clientId, clean: false })
  await first.subscribe([topic, 0])
  first.cut()
  const publisher = await Peer.connected(broker.port, 4)
  publisher.send(publish(4, { topic, qos: 1, packetId: 1 }))
  await publisher.next()
  const again = await Peer.connected(broker.port, 4, { clientId, clean: false })
  expect(await again.settled()).toEqual([])
  publisher.send(publish(4, { topic, qos: 1, packetId: 1 }))
  expect(await again.nextPublish()).toMatchObject({ topic, qos: 0 })
})

test("the order of one publisher is kept over packets of many sizes and QoS 0 and 1 mixed topics [section 4.6]", async () => {
  const topic = randomId()
  const peer = await Peer.connected(broker.port, 5)
  await peer.subscribe([`${topic}/#`, 1])
  const publisher = await Peer.connected(broker.port, 5)
  const sizes = [1, 50, 200, 3000, 20_000]
  for (let n = 1; n <= 500; n++)
    publisher.send(publish(5, { topic: `${topic}/${n % 3}`, qos: 1, packetId: n, payload: `${n}`.padEnd(sizes[n % 5] ?? 1) }))
  for (let n = 1; n <= 500; n++) {
    const message = await peer.nextPublish()
    expect([message.topic, Number(message.payload.toString())]).toEqual([`${topic}/${n % 3}`, n])
    peer.send(puback(message.packetId))
  }
})
