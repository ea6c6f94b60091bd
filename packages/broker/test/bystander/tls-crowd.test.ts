import { fileURLToPath } from "node:url"
import { randomId, RunningProcess, startBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { anonymousMemory } from "../support/processes.js"
import { puback, publish } from "../support/wire.js"

const COUNT = 2000
const CROWD = fileURLToPath(new URL("../support/tls-crowd.mjs", import.meta.url))

/** The bystander is served all the while, if not at once: so much work at once has no turns yet. And what a connection over TLS may cost the broker; measured are 50 kB on Node.js 20, 95 kB on 26. */
const P99_MS = 1000
const KILOBYTES = 130

/** Publishes a message at QoS 1 each 5 ms until `stopped`, whether those before are acknowledged or not; the time to each PUBACK in ms. */
async function acknowledgements(publisher: Peer, stopped: () => boolean): Promise<number[]> {
  const [topic, times, sent]: [string, number[], number[]] = [randomId(), [], []]
  const timer = setInterval(() => {
    sent.push(performance.now())
    publisher.send(publish(4, { topic, qos: 1, packetId: sent.length, payload: "x" }))
  }, 5)
  while (!stopped() || times.length < sent.length) {
    if (stopped()) clearInterval(timer)
    expect(await publisher.next(30_000)).toEqual(puback(times.length + 1))
    times.push(performance.now() - (sent[times.length] ?? 0))
  }
  clearInterval(timer)
  return times
}

function quantile(times: readonly number[], share: number): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? Number.NaN
}

test(
  `${COUNT} clients connect over TLS at once: all are let in and get a message; a bystander's PUBACKs come in time meanwhile`,
  { timeout: 180_000 },
  async () => {
    const broker = await startBroker({ store: "memory:", tls: true, args: ["--connect-timeout", "60s"] })
    const publisher = await Peer.connected(broker.port, 4)
    const before = anonymousMemory(broker.pid)
    let stopped = false
    const times = acknowledgements(publisher, () => stopped)
    const crowd = new RunningProcess(process.execPath, [CROWD, `${broker.tls.port}`, `${COUNT}`, broker.tls.certificates.ca])
    const line = await crowd.waitForLine(/^/, { timeoutMs: 100_000 })
    stopped = true
    const [p99, connackP99] = [quantile(await times, 0.99), quantile(connacks(line), 0.99)]
    const kilobytes = (anonymousMemory(broker.pid) - before) / COUNT / 1000
    const numbers = `PUBACK p99 ${p99.toFixed(1)} ms, CONNACK p99 ${connackP99.toFixed(0)} ms, ${kilobytes.toFixed(0)} kB a connection`
    process.stderr.write(`${COUNT} clients over TLS at once: ${numbers}\n`)
    publisher.send(publish(4, { topic: "crowd", payload: "x" }))
    expect(await crowd.waitForLine("messages")).toBe(`{"messages":${COUNT}}`)
    expect(p99).toBeLessThan(P99_MS)
    expect(kilobytes).toBeLessThan(KILOBYTES)
    expect(await broker.stop()).toBe(0)
  },
)

/** The times to the CONNACKs in ms; throws when one of the clients was not let in. */
function connacks(line: string): number[] {
  const news: { connacks?: number[] } = JSON.parse(line)
  if (news.connacks?.length !== COUNT) throw new Error(`a client of the crowd failed: ${line}`)
  return news.connacks
}
