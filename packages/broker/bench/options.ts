import { parseArgs } from "node:util"
import type { Effort } from "./scenario.js"

/** Choices of one run of the benchmark. */
export interface BenchOptions {
  /** Only scenarios whose name contains one of these; all when empty. */
  only: string[]
  rounds: number
  effort: Effort
  /** Command of the broker to bench instead of ours. */
  broker: string | undefined
  /** A server, without a path: bench our broker on MongoDB, beside the same on file:, without gates. */
  mongodb: string | undefined
  /** Measure without mosquitto. */
  alone: boolean
  json: boolean
  markdown: boolean
  /** Exit code 1 when a gate is missed. */
  gate: boolean
  list: boolean
  help: boolean
}

export const HELP = `npm run bench -w @mqtt-trio/broker -- [options]

  --quick         one short round of everything (about two minutes)
  --only NAME     only scenarios whose name contains NAME (repeatable; --list shows the names)
  --rounds N      rounds per scenario and broker, alternating (default 3)
  --broker CMD    bench this command instead; {port} and {dir} in it are replaced
  --mongodb URL   bench our broker on this server, beside the same broker on file: (mongodb://HOST:PORT)
  --alone         without mosquitto beside it
  --gate          exit with 1 when a gate is missed
  --json          results as one JSON object on stdout
  --markdown      table with machine and versions, for BENCHMARKS.md
`

const FULL: Effort = {
  warmMs: 400,
  measureMs: 1500,
  queued: 200_000,
  queuedLong: 1_000_000,
  roundTrips: 3000,
  idleConnections: 4000,
}

const QUICK: Effort = { ...FULL, warmMs: 200, measureMs: 500, queued: 50_000, queuedLong: 200_000, roundTrips: 500, idleConnections: 2000 }

/** Parses the command line; throws a TypeError that names what is wrong. */
export function benchOptions(args: string[]): BenchOptions {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true, default: [] },
      rounds: { type: "string" },
      broker: { type: "string" },
      mongodb: { type: "string" },
      alone: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      markdown: { type: "boolean", default: false },
      gate: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  })
  const { quick, rounds, broker, mongodb, ...rest } = values
  const count = rounds === undefined ? (quick ? 1 : 3) : Number(rounds)
  if (!Number.isInteger(count) || count < 1) throw new TypeError(`--rounds takes a whole number from 1, not "${rounds}"`)
  return { ...rest, rounds: count, broker, mongodb, effort: quick ? QUICK : FULL }
}
