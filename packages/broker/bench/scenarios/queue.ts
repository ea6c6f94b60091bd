import type { BrokerProcess } from "../broker-process.js"
import { Link } from "../link.js"
import { LoadPublisher } from "../load.js"
import { publishRing } from "../packets.js"
import type { Effort, Measurement, Scenario } from "../scenario.js"
import { until } from "../wait.js"

const WINDOW = 1000
const LIMIT_MS = 120_000
const STALL_MS = 5000

/** Filling the queue of absent sessions (until the last PUBACK) and draining it (until a SUBACK asked for after the last PUBACK). */
export const queueScenarios: Scenario[] = [
  { name: "queue-1", title: "Queue for one absent session, then drain it", run: (broker, effort) => measure(broker, effort, 1) },
  {
    name: "queue-1000",
    title: "Queue for 1,000 absent sessions with a filter each, then drain them",
    run: (broker, effort) => measure(broker, effort, 1000),
  },
  {
    name: "queue-filters",
    title: "Queue of messages that the filters of ten absent sessions match, beside those of one",
    run: filters,
  },
]

/** Ten filters of ten sessions, all of which match one topic. */
const MATCHING = ["a/b/c", "+/b/c", "a/+/c", "a/b/+", "+/+/c", "+/b/+", "a/+/+", "+/+/+", "a/#", "#"]

async function filters(broker: BrokerProcess, effort: Effort): Promise<Measurement> {
  const total = Math.floor(effort.queued / 4)
  const rate = async (topic: string, wanted: readonly string[]): Promise<number> => {
    for (const [n, filter] of wanted.entries()) {
      const link = await Link.open({ port: broker.port, clientId: `bench-${topic}-${n}`, cleanSession: false })
      await link.subscribe(filter, 1)
      await link.close()
    }
    return total / ((await fill(broker.port, [topic], total)) / 1000)
  }
  const one = await rate("x", ["x"])
  const ten = await rate("a/b/c", MATCHING)
  return { values: { "one/s": one, "ten/s": ten, "ten / one": ten / one }, remarks: [] }
}

async function measure(broker: BrokerProcess, effort: Effort, sessions: number): Promise<Measurement> {
  const topics = await absentSessions(broker.port, sessions)
  const total = Math.floor(effort.queued / sessions) * sessions
  const before = broker.written
  const fillMs = await fill(broker.port, topics, total)
  const written = broker.written - before
  const drained = await drain(broker.port, sessions, total)
  return {
    values: {
      "queued/s": total / (fillMs / 1000),
      "bytes written / message": written / total,
      "drained/s": drained.received / (drained.ms / 1000),
    },
    remarks: drained.received === total ? [] : [`${total - drained.received} of ${total} messages did not arrive`],
  }
}

/** Makes the sessions, each with a filter of its own, and leaves; returns one topic for each. */
export async function absentSessions(port: number, sessions: number): Promise<string[]> {
  const topics = Array.from({ length: sessions }, (_, n) => `bench/${String(n).padStart(4, "0")}`)
  for (const [n, topic] of topics.entries()) {
    const link = await Link.open({ port, clientId: `bench-sub-${n}`, cleanSession: false })
    await link.subscribe(topic, 1)
    await link.close()
  }
  return topics
}

/** Publishes `total` messages over the topics in turn, window 1000; resolves with the milliseconds until the last PUBACK. */
export async function fill(port: number, topics: readonly string[], total: number): Promise<number> {
  const link = await Link.open({ port, clientId: "bench-pub" })
  const publisher = new LoadPublisher({ link, ring: publishRing(topics, 1, 4000), window: WINDOW, total })
  const from = performance.now()
  publisher.start()
  const done = await until(() => link.acknowledged >= total || link.error !== undefined, LIMIT_MS)
  const ms = performance.now() - from
  if (!done || link.error) throw link.error ?? new Error(`${total - link.acknowledged} of ${total} PUBACKs did not come`)
  await link.close()
  return ms
}

async function drain(port: number, sessions: number, total: number): Promise<{ received: number; ms: number }> {
  const from = performance.now()
  const links = await Promise.all(
    Array.from({ length: sessions }, (_, n) => Link.open({ port, clientId: `bench-sub-${n}`, cleanSession: false })),
  )
  const received = (): number => links.reduce((sum, link) => sum + link.received, 0)
  const lastAt = (): number => Math.max(from, ...links.map((link) => link.lastReceivedAt))
  await until(() => received() >= total || performance.now() - lastAt() > STALL_MS, LIMIT_MS)
  await links[0]?.subscribe("bench/none", 1)
  const ms = performance.now() - from
  await Promise.all(links.map((link) => link.close()))
  return { received: received(), ms }
}
