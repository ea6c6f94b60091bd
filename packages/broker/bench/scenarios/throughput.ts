import { setTimeout as delay } from "node:timers/promises"
import type { BrokerProcess } from "../broker-process.js"
import { generatorCpuMs, machineCpuMs, processCpuMs } from "../cpu.js"
import type { Door } from "../door.js"
import { Link } from "../link.js"
import { LoadPublisher } from "../load.js"
import { publishRing, type LoadQos } from "../packets.js"
import type { Effort, Measurement, Scenario } from "../scenario.js"
import { until } from "../wait.js"

/** Messages (all publishers together) that may be on their way at QoS 0, so that no broker has a reason to drop one. */
const QOS0_LEAD = 20_000
const ALTERNATING_TOPICS = 10
const SETTLE_LIMIT_MS = 30_000
const STALL_MS = 2000
/** Share of a core from which a process counts as busy. */
const BUSY = 0.85
/** Share of a core that other processes may use without a remark. */
const OTHERS = 0.3

export interface Shape {
  publishers: number
  subscribers: number
  qos: LoadQos
  /** Unacknowledged messages per publisher at QoS 1. */
  window: number
  persistent: boolean
  alternating: boolean
  /** The listener that all come through; absent: plain TCP. */
  door?: Door
}

/** Messages received per second, live: clean sessions (nothing stored) and persistent ones (every message stored before its PUBACK). */
export const throughputScenarios: Scenario[] = [...clean(0), ...clean(1), ...persistent()]

function clean(qos: LoadQos): Scenario[] {
  const shapes = [
    { publishers: 1, subscribers: 1 },
    { publishers: 10, subscribers: 1 },
    { publishers: 1, subscribers: 100 },
  ]
  return shapes.flatMap((shape) =>
    [false, true].map((alternating) => {
      const arrow = `${shape.publishers}to${shape.subscribers}`
      return scenario(
        `qos${qos}-${arrow}${alternating ? "-alternating" : ""}`,
        `QoS ${qos}, clean, ${shape.publishers}→${shape.subscribers}${alternating ? ", 10 topics in turn" : ""}`,
        { ...shape, qos, window: qos === 0 ? 0 : 100, persistent: false, alternating },
      )
    }),
  )
}

function persistent(): Scenario[] {
  const shapes = [
    { subscribers: 1, window: 1000 },
    { subscribers: 1, window: 100 },
    { subscribers: 10, window: 1000 },
    { subscribers: 100, window: 1000 },
  ]
  return shapes.map(({ subscribers, window }) =>
    scenario(`persistent-${subscribers}-window${window}`, `QoS 1 to ${subscribers} online persistent session(s), window ${window}`, {
      publishers: 1,
      subscribers,
      qos: 1,
      window,
      persistent: true,
      alternating: false,
    }),
  )
}

function scenario(name: string, title: string, shape: Shape): Scenario {
  return { name, title, run: (broker, effort) => measure(broker, effort, shape) }
}

/** Messages received per second, on connections that are made for it. */
export async function measure(broker: BrokerProcess, effort: Effort, shape: Shape): Promise<Measurement> {
  const port = shape.door ?? broker.port
  const receivers = await openReceivers(port, shape)
  const received = (): number => receivers.reduce((sum, link) => sum + link.received, 0)
  const { links, publishers, sent } = await openPublishers(port, shape, received)
  for (const link of receivers) link.onReceived = () => publishers.forEach((publisher) => publisher.pump())
  for (const publisher of publishers) publisher.start()
  await delay(effort.warmMs)
  const from = { at: performance.now(), received: received(), cpu: cpuMs(broker), flushes: broker.flushes }
  await delay(effort.measureMs)
  const ms = performance.now() - from.at
  const rate = (received() - from.received) / (ms / 1000)
  const limits = cpuRemarks(from.cpu, cpuMs(broker), ms)
  const flushes = shape.persistent && broker.flushes !== undefined ? (broker.flushes - (from.flushes ?? 0)) / (ms / 1000) : undefined
  for (const publisher of publishers) publisher.stop()
  const expected = sent() * shape.subscribers
  await until(
    () => received() >= expected || performance.now() - Math.max(...receivers.map((r) => r.lastReceivedAt)) > STALL_MS,
    SETTLE_LIMIT_MS,
  )
  const missing = expected - received()
  const remarks = missing === 0 ? limits : [...limits, `${missing} of ${expected} messages did not arrive`]
  for (const link of [...receivers, ...links]) if (link.error) remarks.push(link.error.message)
  await Promise.all([...receivers, ...links].map((link) => link.close()))
  return { values: { "received/s": rate, ...(flushes !== undefined && { "disk flushes/s": flushes }) }, remarks }
}

interface CpuMs {
  generator: number
  broker: number
  machine: number
}

function cpuMs(broker: BrokerProcess): CpuMs {
  return { generator: generatorCpuMs(), broker: processCpuMs(broker.pid), machine: machineCpuMs() }
}

/** What says too little about the broker: a rate that the generator limits, or that was measured beside other work. */
function cpuRemarks(from: CpuMs, to: CpuMs, ms: number): string[] {
  const generator = (to.generator - from.generator) / ms
  const broker = (to.broker - from.broker) / ms
  const others = (to.machine - from.machine) / ms - generator - broker
  const remarks: string[] = []
  if (generator > BUSY && broker < BUSY)
    remarks.push(`the generator was the limit: it used ${percent(generator)}, the broker ${percent(broker)}`)
  if (others > OTHERS) remarks.push(`other processes used ${percent(others)} meanwhile`)
  return remarks
}

function percent(share: number): string {
  return `${Math.round(share * 100)} % of a core`
}

async function openReceivers(port: number | Door, shape: Shape): Promise<Link[]> {
  const receivers: Link[] = []
  for (let n = 0; n < shape.subscribers; n++) {
    const link = await Link.open({ port, clientId: `bench-sub-${n}`, cleanSession: !shape.persistent })
    await link.subscribe("bench/#", shape.qos)
    receivers.push(link)
  }
  return receivers
}

async function openPublishers(
  port: number | Door,
  shape: Shape,
  received: () => number,
): Promise<{ links: Link[]; publishers: LoadPublisher[]; sent: () => number }> {
  const links: Link[] = []
  const publishers: LoadPublisher[] = []
  const sent = (): number => publishers.reduce((sum, publisher) => sum + publisher.sent, 0)
  const mayRun = (): boolean => sent() - received() / shape.subscribers < QOS0_LEAD
  for (let n = 0; n < shape.publishers; n++) {
    const link = await Link.open({ port, clientId: `bench-pub-${n}` })
    const topics = shape.alternating ? Array.from({ length: ALTERNATING_TOPICS }, (_, t) => `bench/${n}/${t}`) : [`bench/${n}/0`]
    links.push(link)
    publishers.push(new LoadPublisher({ link, ring: publishRing(topics, shape.qos, 4000), window: shape.window, mayRun }))
  }
  return { links, publishers, sent }
}
