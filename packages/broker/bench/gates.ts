/** Numbers to hold. A `ratio` is ours to mosquitto's in the same run and must not be smaller, nor a `floor`, which is ours alone; a `limit` must not be passed. */
export interface Gate {
  scenario: string
  /** Name of the value in the measurement. */
  value: string
  kind: "ratio" | "floor" | "limit"
  gate: number
  aim: number
}

const clean = (qos: 0 | 1, gate: number, aim: number): Gate[] =>
  ["1to1", "10to1", "1to100"].flatMap((shape) =>
    ["", "-alternating"].map((topics): Gate => ({
      scenario: `qos${qos}-${shape}${topics}`,
      value: "received/s",
      kind: "ratio",
      gate,
      aim,
    })),
  )

const persistent = (name: string, gate: number, aim: number): Gate => ({
  scenario: `persistent-${name}`,
  value: "received/s",
  kind: "ratio",
  gate,
  aim,
})

/** Every gate, in the order of the table. */
export const GATES: readonly Gate[] = [
  ...clean(0, 5, 10),
  ...clean(1, 7, 12),
  persistent("1-window1000", 10, 15),
  persistent("1-window100", 4, 6),
  persistent("10-window1000", 20, 30),
  persistent("100-window1000", 20, 30),
  { scenario: "queue-1", value: "queued/s", kind: "ratio", gate: 6, aim: 8 },
  { scenario: "queue-1", value: "drained/s", kind: "ratio", gate: 6, aim: 8 },
  { scenario: "queue-1000", value: "queued/s", kind: "ratio", gate: 1.5, aim: 5 },
  { scenario: "queue-1000", value: "drained/s", kind: "ratio", gate: 2, aim: 5 },
  { scenario: "queue-filters", value: "ten / one", kind: "floor", gate: 0.5, aim: 0.8 },
  { scenario: "doors", value: "TLS / TCP", kind: "floor", gate: 0.5, aim: 0.7 },
  { scenario: "doors", value: "WebSocket / TCP", kind: "floor", gate: 0.5, aim: 0.7 },
  { scenario: "puback-latency", value: "p50 / append", kind: "limit", gate: 2, aim: 1.5 },
  { scenario: "puback-latency", value: "p99 / append", kind: "limit", gate: 8, aim: 5 },
  { scenario: "idle-memory", value: "bytes/connection", kind: "limit", gate: 20_000, aim: 8000 },
  { scenario: "start", value: "ready ms", kind: "limit", gate: 250, aim: 150 },
  { scenario: "client-start", value: "mqtt-pub / node", kind: "limit", gate: 2.5, aim: 2 },
  { scenario: "long-queue", value: "RssAnon MB after filling", kind: "limit", gate: 150, aim: 150 },
  { scenario: "long-queue", value: "RssAnon MB after restart", kind: "limit", gate: 150, aim: 150 },
  { scenario: "long-queue", value: "restart to ready ms", kind: "limit", gate: 1000, aim: 1000 },
]

/** How a number stands to its gate. */
export type Verdict = "aim" | "gate" | "MISSED"

/** Compares `number` (a ratio or a value, as the gate says) with the gate. */
export function judge(gate: Gate, number: number): Verdict {
  const reaches = (bound: number): boolean => (gate.kind === "limit" ? number <= bound : number >= bound)
  if (reaches(gate.aim)) return "aim"
  return reaches(gate.gate) ? "gate" : "MISSED"
}
