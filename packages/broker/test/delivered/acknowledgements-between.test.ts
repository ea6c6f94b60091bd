import { randomId, startBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { complete, lasting, pubcomp, pubrec, take } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { puback, publish } from "../support/wire.js"

const broker = await startBroker()
const KINDS = [
  ["PUBACK", puback(77)],
  ["PUBREC", pubrec(77)],
  ["PUBCOMP", pubcomp(77)],
] as const
const CASES = KINDS.flatMap(([kind, bytes]) =>
  ([0, 1, 2] as const).flatMap((qos) => ([4, 5] as const).map((version) => ({ kind, bytes, qos, version }))),
)

/** A client that publishes and receives sends acknowledgements between its messages, and both may come in one read. */
describe("acknowledgements between messages of one topic are no part of them", () => {
  test.each(CASES)("$kind, QoS $qos, version $version", async ({ bytes, qos, version }) => {
    const topic = randomId()
    const clean = await Peer.connected(broker.port, version)
    const kept = await Peer.connected(broker.port, version, lasting(randomId()))
    for (const peer of [clean, kept]) await peer.subscribe([topic, qos])
    const publisher = await Peer.connected(broker.port, version)
    const message = (n: number): Buffer => publish(version, { topic, qos, packetId: n, payload: `${n}` })
    publisher.send(message(1), bytes, message(2), message(3), bytes, bytes, message(4))
    for (const peer of [clean, kept]) {
      const came = await take(peer, 4)
      expect(came.map((one) => [one.topic, one.qos, one.payload.toString()])).toEqual([1, 2, 3, 4].map((n) => [topic, qos, `${n}`]))
      for (const one of came) await complete(peer, one)
      expect(await peer.settled()).toEqual([])
    }
  })
})
