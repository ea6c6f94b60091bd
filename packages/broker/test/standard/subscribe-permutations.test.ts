import { startBroker, type TestBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { complete, lasting } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readCodes, readPublish, type Publication } from "../support/read.js"
import { publish, subscribe } from "../support/wire.js"

type Wanted = readonly [filter: string, qos: 0 | 1 | 2]

/** Filters that trip up a broker that keys them by object property, or answers for the whole packet at once. */
const FILTERS: readonly Wanted[] = [
  ["x", 0],
  ["7", 2],
  ["__proto__", 1],
  ["$share/g/x", 1],
  ["7", 1],
]
const TOPICS = ["x", "7", "__proto__", "3"]
const DENIED = { 4: 0x80, 5: 0x9e } as const

function permutations(list: readonly Wanted[]): Wanted[][] {
  if (list.length < 2) return [[...list]]
  return list.flatMap((first, index) => permutations(list.filter((_, other) => other !== index)).map((rest) => [first, ...rest]))
}

/** What a session holds after SUBSCRIBE: the last grant of each filter that was not denied. */
function grants(filters: readonly Wanted[]): Map<string, number> {
  return new Map(filters.filter(([filter]) => !filter.startsWith("$share/")))
}

interface Session {
  clientId: string
  filters: Wanted[]
  peer: Peer
}

/** Every third order, each version others: in them each filter is before, behind and next to each other one. */
const sessions = (version: 4 | 5): Omit<Session, "peer">[] =>
  permutations(FILTERS)
    .map((filters, n) => ({ clientId: `s${version}-${n}`, filters }))
    .filter((_, n) => n % 3 === version % 3)

async function everywhere(broker: TestBroker, payload: string, retain = false): Promise<void> {
  const publisher = await Peer.connected(broker.port, 4)
  for (const [n, topic] of TOPICS.entries()) {
    publisher.send(publish(4, { topic, payload, qos: 1, packetId: n + 1, retain }))
    await publisher.next()
  }
  publisher.cut()
}

/** Resolves when the store has taken what came before. */
async function stored(broker: TestBroker): Promise<void> {
  const publisher = await Peer.connected(broker.port, 4)
  publisher.send(publish(4, { topic: "$barrier", payload: "x", qos: 1, packetId: 1, retain: true }))
  await publisher.next()
  publisher.cut()
}

/** Takes `count` messages and acknowledges them; by topic, with the QoS. */
async function collect(peer: Peer, count: number): Promise<Map<string, Publication>> {
  const came = new Map<string, Publication>()
  while (came.size < count) {
    const message = await peer.nextPublish()
    // a PUBACK that the store did not get before kill -9: at QoS 1 the message comes once more
    if (message.dup && message.qos === 1 && message.payload.toString() === "live") {
      await complete(peer, message)
      continue
    }
    expect(came.has(message.topic)).toBe(false)
    came.set(message.topic, message)
    await complete(peer, message)
  }
  expect(await peer.settled()).toEqual([])
  return came
}

/** Each topic once, at the lower of QoS 1 and the grant. */
function expectCopies(came: Map<string, Publication>, filters: readonly Wanted[], atLeast: 0 | 1): void {
  const expected = [...grants(filters)]
    .filter(([, qos]) => qos >= atLeast)
    .map(([topic, qos]): [string, number] => [topic, Math.min(1, qos)])
  expect(new Map([...came].map(([topic, { qos }]) => [topic, qos]))).toEqual(new Map(expected))
}

describe.each([4, 5] as const)("version %i: 40 orders of the same five filters in one SUBSCRIBE", (version) => {
  test("SUBACK code by code; then what comes: retained, live, queued, after kill -9", { timeout: 60_000 }, async () => {
    const broker = await startBroker()
    await everywhere(broker, "retained", true)
    const all: Session[] = []
    for (const { clientId, filters } of sessions(version)) {
      const peer = await Peer.connected(broker.port, version, lasting(clientId))
      peer.send(subscribe(version, 7, ...filters.map(([filter, qos]): [string, number] => [filter, qos])))
      const suback = await peer.next()
      expect(readCodes(suback, version)).toEqual({
        packetId: 7,
        codes: filters.map(([filter, qos]) => (filter.startsWith("$share/") ? DENIED[version] : qos)),
      })
      // the same filter twice: its retained message once for each, at the last grant or at its own
      const retained = new Set<string>()
      while (retained.size < grants(filters).size) retained.add(await retainedTopic(peer))
      await stored(broker)
      const more = await peer.settled()
      for (const bytes of more) expect(readPublish(bytes, version)).toMatchObject({ topic: "7", retain: true })
      for (const bytes of more) await complete(peer, readPublish(bytes, version))
      all.push({ clientId, filters, peer })
    }
    await everywhere(broker, "live")
    for (const { peer, filters } of all) expectCopies(await collect(peer, grants(filters).size), filters, 0)
    for (const { peer } of all) peer.cut()
    for (const { peer } of all) await peer.ended()
    await everywhere(broker, "queued")
    await broker.kill9()
    await broker.restart()
    const back: Session[] = []
    for (const { clientId, filters } of all) {
      const peer = await Peer.connected(broker.port, version, lasting(clientId))
      expectCopies(await collect(peer, 2), filters, 1)
      back.push({ clientId, filters, peer })
    }
    await everywhere(broker, "after")
    for (const { peer, filters } of back) expectCopies(await collect(peer, grants(filters).size), filters, 0)
  })
})

async function retainedTopic(peer: Peer): Promise<string> {
  const message = await peer.nextPublish()
  expect(message.retain).toBe(true)
  await complete(peer, message)
  return message.topic
}
