import type { BrokerProcess } from "./broker-process.js"

/** How long and how much one measurement takes. */
export interface Effort {
  /** Load before the clock starts, and measured load, in milliseconds. */
  warmMs: number
  measureMs: number
  /** Messages of the queue scenarios. */
  queued: number
  /** Messages of the long queue (memory and restart). */
  queuedLong: number
  /** Round trips of the latency scenario. */
  roundTrips: number
  /** Connections of the memory scenario. */
  idleConnections: number
}

/** Named results of one measurement, e.g. `{ "received/s": 1_200_000 }`, and what went wrong in it. */
export interface Measurement {
  values: Record<string, number>
  /** Messages that should have come and did not, or other doubts; empty when all came. */
  remarks: string[]
}

/** One thing to measure on a fresh broker. */
export interface Scenario {
  name: string
  /** What is measured, in a few words. */
  title: string
  /** True when it makes sense only with a broker whose queue survives a restart. */
  needsDurable?: boolean
  /** True when the broker must listen with TLS and for WebSocket too. */
  needsDoors?: boolean
  run(broker: BrokerProcess, effort: Effort): Promise<Measurement>
}
