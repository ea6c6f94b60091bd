import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs"
import { join } from "node:path"
import type { BrokerProcess } from "../broker-process.js"
import { Link } from "../link.js"
import { publishRing } from "../packets.js"
import type { Effort, Measurement, Scenario } from "../scenario.js"
import { quantile } from "../statistics.js"

const WARM_ROUND_TRIPS = 2000

/**
 * PUBLISH to PUBACK with one message in flight, towards an online persistent session, in microseconds;
 * beside it one append and fdatasync of the same bytes into a file in the same folder.
 */
export const latencyScenarios: Scenario[] = [{ name: "puback-latency", title: "PUBACK at window 1 (microseconds)", run: measure }]

async function measure(broker: BrokerProcess, effort: Effort): Promise<Measurement> {
  const receiver = await Link.open({ port: broker.port, clientId: "bench-sub", cleanSession: false })
  await receiver.subscribe("bench/#", 1)
  const publisher = await Link.open({ port: broker.port, clientId: "bench-pub" })
  const ring = publishRing(["bench/0/0"], 1, 100)
  const appends = appendTimes(broker.folder, ring.bytes.subarray(0, ring.frameLength), effort.roundTrips / 2)
  const times: number[] = []
  for (let n = 0; n < effort.roundTrips + WARM_ROUND_TRIPS; n++) {
    const at = (n % ring.count) * ring.frameLength
    const time = await roundTrip(publisher, ring.bytes.subarray(at, at + ring.frameLength))
    if (n >= WARM_ROUND_TRIPS) times.push(time)
  }
  appends.push(...appendTimes(broker.folder, ring.bytes.subarray(0, ring.frameLength), effort.roundTrips / 2))
  await Promise.all([receiver.close(), publisher.close()])
  const append = quantile(appends, 0.5)
  const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)]
  const appendWorst = quantile(appends, 0.99)
  return {
    values: {
      p50,
      p99,
      "append+fdatasync p50": append,
      "append+fdatasync p99": appendWorst,
      "p50 / append": p50 / append,
      "p99 / append": p99 / append,
    },
    remarks: [],
  }
}

function roundTrip(link: Link, frame: Buffer): Promise<number> {
  return new Promise((resolve) => {
    const from = performance.now()
    link.onAcknowledged = () => resolve((performance.now() - from) * 1000)
    link.write(frame)
  })
}

function appendTimes(folder: string, bytes: Buffer, count: number): number[] {
  const file = openSync(join(folder, "append-baseline"), "a")
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const from = performance.now()
    writeSync(file, bytes)
    fdatasyncSync(file)
    times.push((performance.now() - from) * 1000)
  }
  closeSync(file)
  return times
}
