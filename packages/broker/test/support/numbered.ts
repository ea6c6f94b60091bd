import { expect } from "vitest"
import { runCli, type TestBroker } from "@mqtt-trio/testing"
import { Peer } from "./peer.js"
import { RawClient } from "./raw-client.js"
import { puback, publish } from "./wire.js"

const TOPIC = "numbered"
const CLIENT_ID = "absent"

/** A Session that is away, for which numbered messages wait. */
export async function absentSession(broker: TestBroker): Promise<void> {
  const session = await RawClient.open(broker.port, CLIENT_ID)
  await session.subscribe(TOPIC)
  session.cut()
}

/** Message `n`, of one to several sectors. */
export function numbered(n: number): Buffer {
  return publish(4, { topic: TOPIC, qos: 1, packetId: n, payload: `${n}`.padEnd(100 + ((n * 397) % 2000)) })
}

/** Publishes them one by one, each in a commit of its own. */
export async function publishOneByOne(broker: TestBroker, from: number, to: number): Promise<void> {
  const publisher = await Peer.connected(broker.port, 4)
  for (let n = from; n <= to; n++) {
    publisher.send(numbered(n))
    expect(await publisher.next()).toEqual(puback(n))
  }
  publisher.cut()
}

/** The numbers of the messages that wait, in their order, asked from the running broker. */
export async function waitingNumbers(store: string): Promise<number[]> {
  const { stdout } = await runCli("mqtt-broker", ["queue", CLIENT_ID, "--peek", "10000", "--json", "--store", `file:${store}`])
  const records = stdout.split("\n").filter((line) => line.includes('"payload"'))
  return records.map((line) => Number.parseInt(JSON.parse(line).payload, 10))
}

export function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n)
}
