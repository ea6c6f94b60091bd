import { machineLines, mosquittoVersion } from "@mqtt-trio/testing"
import { custom, mosquitto, MOSQUITTO_SETTINGS, onMongodb, own } from "./contender.js"
import { GATES } from "./gates.js"
import { benchOptions, HELP, type BenchOptions } from "./options.js"
import { missedGates, renderTable, rows } from "./report.js"
import { runScenario, type Plan, type ScenarioResult } from "./rounds.js"
import type { Scenario } from "./scenario.js"
import { clientScenarios } from "./scenarios/client-start.js"
import { deliveryScenarios } from "./scenarios/delivery.js"
import { doorScenarios } from "./scenarios/doors.js"
import { latencyScenarios } from "./scenarios/latency.js"
import { queueScenarios } from "./scenarios/queue.js"
import { resourceScenarios } from "./scenarios/resources.js"
import { throughputScenarios } from "./scenarios/throughput.js"

const SCENARIOS: readonly Scenario[] = [
  ...throughputScenarios,
  ...queueScenarios,
  ...doorScenarios,
  ...latencyScenarios,
  ...deliveryScenarios,
  ...resourceScenarios,
  ...clientScenarios,
]

async function main(): Promise<void> {
  const options = benchOptions(process.argv.slice(2))
  if (options.help) return print(HELP)
  const chosen = SCENARIOS.filter(({ name }) => options.only.length === 0 || options.only.some((part) => name.includes(part)))
  if (options.list || chosen.length === 0) return print(`${SCENARIOS.map(({ name, title }) => `${name.padEnd(24)} ${title}`).join("\n")}\n`)
  const version = options.alone || options.mongodb !== undefined ? undefined : mosquittoVersion()
  if (version === undefined && !options.alone && options.mongodb === undefined)
    note("mosquitto is not installed: no ratios, no verdict on them")
  const plan: Plan = { ...contenders(options, version), rounds: options.rounds, effort: options.effort, progress: note }
  const results: ScenarioResult[] = []
  for (const scenario of chosen) results.push(await runScenario(scenario, plan))
  show(results, plan, version, options)
}

function contenders({ broker, mongodb }: BenchOptions, version: string | undefined): Pick<Plan, "own" | "rival"> {
  if (mongodb !== undefined) return { own: onMongodb(mongodb), rival: { ...own, name: "on file:" } }
  return {
    own: broker === undefined ? own : custom(broker),
    rival: version === undefined ? undefined : { ...mosquitto, name: `mosquitto ${version}` },
  }
}

function show(results: ScenarioResult[], plan: Plan, version: string | undefined, options: BenchOptions): void {
  const table = rows(results, options.mongodb === undefined ? GATES : [])
  const lines = [
    ...machineLines(version, MOSQUITTO_SETTINGS),
    `Rounds: ${plan.rounds}, the brokers in turn; medians; lowest … highest is of the judged number.`,
  ]
  const rendered = renderTable(table, plan.own.name, plan.rival?.name)
  if (options.json) print(`${JSON.stringify({ machine: lines, rows: table })}\n`)
  else print(options.markdown ? `${lines.join("\n")}\n\n${rendered}\n` : `${rendered}\n`)
  const missed = missedGates(table)
  if (missed.length === 0) return
  note(`gates missed: ${missed.map((row) => `${row.scenario} ${row.value}`).join(", ")}`)
  if (options.gate) process.exitCode = 1
}

function print(text: string): void {
  process.stdout.write(text)
}

function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

try {
  await main()
} catch (error) {
  note(error instanceof Error ? error.message : String(error))
  process.exitCode = 2
}
