import type { BrokerProcess } from "../broker-process.js"
import type { Effort, Measurement, Scenario } from "../scenario.js"
import { idleMemory } from "./resources.js"
import { measure, type Shape } from "./throughput.js"

const SHAPE: Shape = { publishers: 1, subscribers: 1, qos: 1, window: 100, persistent: false, alternating: false }
/** A share of those that come without TLS: handshakes take time. */
const TLS_SHARE = 0.25

/** What TLS and WebSocket cost, beside plain TCP of the same broker. */
export const doorScenarios: Scenario[] = [
  { name: "doors", title: "QoS 1, clean, 1→1, through each listener", needsDoors: true, run: throughput },
  { name: "idle-memory-tls", title: "Memory of an idle connection over TLS (bytes, RssAnon)", needsDoors: true, run: memory },
]

async function throughput(broker: BrokerProcess, effort: Effort): Promise<Measurement> {
  const values: Record<string, number> = {}
  const remarks: string[] = []
  let tcp = Number.NaN
  for (const door of broker.doors) {
    const measured = await measure(broker, effort, { ...SHAPE, door })
    const rate = measured.values["received/s"] ?? Number.NaN
    values[`${door.kind} received/s`] = rate
    if (door.kind === "TCP") tcp = rate
    else values[`${door.kind} / TCP`] = rate / tcp
    remarks.push(...measured.remarks.map((remark) => `${door.kind}: ${remark}`))
  }
  return { values, remarks }
}

async function memory(broker: BrokerProcess, effort: Effort): Promise<Measurement> {
  const door = broker.doors.find(({ kind }) => kind === "TLS")
  if (!door) throw new Error("the broker has no TLS")
  return idleMemory(broker, door, Math.round(effort.idleConnections * TLS_SHARE))
}
