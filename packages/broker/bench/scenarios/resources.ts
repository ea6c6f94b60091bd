import { setTimeout as delay } from "node:timers/promises"
import type { BrokerProcess } from "../broker-process.js"
import type { Door } from "../door.js"
import { Link } from "../link.js"
import type { Effort, Measurement, Scenario } from "../scenario.js"
import { absentSessions, fill } from "./queue.js"

const SETTLE_SAMPLES = 10
const SETTLE_STEP_MS = 150
const OPEN_AT_ONCE = 50

/** Memory and start-up time. */
export const resourceScenarios: Scenario[] = [
  { name: "idle-memory", title: "Memory of an idle connection (bytes, RssAnon)", run: plainMemory },
  { name: "start", title: "Start with an empty folder to ready (ms)", run: startTime },
  { name: "long-queue", title: "Many queued messages: memory and restart", needsDurable: true, run: longQueue },
]

function plainMemory(broker: BrokerProcess, effort: Effort): Promise<Measurement> {
  return idleMemory(broker, broker.port, effort.idleConnections)
}

/** What one of `count` idle connections through a listener costs. */
export async function idleMemory(broker: BrokerProcess, port: number | Door, count: number): Promise<Measurement> {
  const before = await settledMemory(broker)
  const links: Link[] = []
  for (let n = 0; n < count; n += OPEN_AT_ONCE) {
    const some = Array.from({ length: Math.min(OPEN_AT_ONCE, count - n) }, (_, k) => Link.open({ port, clientId: `bench-idle-${n + k}` }))
    links.push(...(await Promise.all(some)))
  }
  const after = await settledMemory(broker)
  await Promise.all(links.map((link) => link.close()))
  return { values: { "bytes/connection": (after - before) / count }, remarks: [] }
}

async function startTime(broker: BrokerProcess): Promise<Measurement> {
  return { values: { "ready ms": broker.readyMs, "RssAnon MB": broker.memory() / 1e6 }, remarks: [] }
}

async function longQueue(broker: BrokerProcess, effort: Effort): Promise<Measurement> {
  const topics = await absentSessions(broker.port, 1)
  await fill(broker.port, topics, effort.queuedLong)
  const filled = await settledMemory(broker)
  await broker.stop("SIGKILL")
  await broker.start()
  const restarted = await settledMemory(broker)
  return {
    values: {
      messages: effort.queuedLong,
      "RssAnon MB after filling": filled / 1e6,
      "restart to ready ms": broker.readyMs,
      "RssAnon MB after restart": restarted / 1e6,
    },
    remarks: [],
  }
}

/** The smallest of several samples: garbage that the next collection takes does not count. */
async function settledMemory(broker: BrokerProcess): Promise<number> {
  let smallest = Number.POSITIVE_INFINITY
  for (let n = 0; n < SETTLE_SAMPLES; n++) {
    await delay(SETTLE_STEP_MS)
    smallest = Math.min(smallest, broker.memory())
  }
  return smallest
}
