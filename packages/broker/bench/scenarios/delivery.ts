import { setTimeout as delay } from "node:timers/promises"
import type { BrokerProcess } from "../broker-process.js"
import { Link } from "../link.js"
import { publishRing } from "../packets.js"
import type { Effort, Measurement, Scenario } from "../scenario.js"
import { quantile } from "../statistics.js"
import { until } from "../wait.js"

const PER_SECOND = 1000
const WARM = 500
const LIMIT_MS = 10_000

/** From PUBLISH at QoS 1 to its arrival at one subscriber, 1,000 messages a second, in microseconds. */
export const deliveryScenarios: Scenario[] = [
  { name: "delivery-clean", title: "Delivery at 1,000 messages/s to a clean session (microseconds)", run: (...to) => measure(...to, true) },
  {
    name: "delivery-persistent",
    title: "Delivery at 1,000 messages/s to a persistent session (microseconds)",
    run: (...to) => measure(...to, false),
  },
]

async function measure(broker: BrokerProcess, effort: Effort, cleanSession: boolean): Promise<Measurement> {
  const receiver = await Link.open({ port: broker.port, clientId: "bench-sub", cleanSession })
  await receiver.subscribe("bench/#", 1)
  const publisher = await Link.open({ port: broker.port, clientId: "bench-pub" })
  const ring = publishRing(["bench/0/0"], 1, 4000)
  const total = WARM + Math.round((effort.measureMs / 1000) * PER_SECOND)
  const sent: number[] = []
  const times: number[] = []
  receiver.onReceived = () => {
    const now = performance.now()
    while (times.length < receiver.received) times.push((now - (sent[times.length] ?? now)) * 1000)
  }
  const from = performance.now()
  while (sent.length < total) {
    const due = Math.min(total, Math.floor(((performance.now() - from) / 1000) * PER_SECOND))
    while (sent.length < due) {
      const at = (sent.length % ring.count) * ring.frameLength
      sent.push(performance.now())
      publisher.write(ring.bytes.subarray(at, at + ring.frameLength))
    }
    await delay(1)
  }
  await until(() => receiver.received >= total, LIMIT_MS)
  const missing = total - receiver.received
  await Promise.all([receiver.close(), publisher.close()])
  const measured = times.slice(WARM)
  return {
    values: { p50: quantile(measured, 0.5), p99: quantile(measured, 0.99) },
    remarks: missing ? [`${missing} of ${total} messages did not arrive`] : [],
  }
}
