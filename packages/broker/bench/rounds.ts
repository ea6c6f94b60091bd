import { BrokerProcess } from "./broker-process.js"
import type { Contender } from "./contender.js"
import type { Effort, Measurement, Scenario } from "./scenario.js"

/** All rounds of one scenario: `own[n]` and `rival[n]` were measured one after the other. */
export interface ScenarioResult {
  scenario: Scenario
  own: Measurement[]
  rival: Measurement[]
}

/** Which brokers are measured and how. */
export interface Plan {
  own: Contender
  /** Measured beside ours when present. */
  rival: Contender | undefined
  rounds: number
  effort: Effort
  /** Told after each measurement. */
  progress(text: string): void
}

/** Measures one scenario, the two brokers in turn, each on a fresh process; who goes first changes every round. */
export async function runScenario(scenario: Scenario, plan: Plan): Promise<ScenarioResult> {
  const result: ScenarioResult = { scenario, own: [], rival: [] }
  const rival = plan.rival && !(scenario.needsDurable && !plan.rival.durable) ? plan.rival : undefined
  for (let round = 0; round < plan.rounds; round++) {
    const turns: ("own" | "rival")[] = round % 2 === 0 ? ["own", "rival"] : ["rival", "own"]
    for (const turn of turns) {
      const contender = turn === "own" ? plan.own : rival
      if (!contender) continue
      const measurement = await measureOnce(scenario, contender, plan.effort)
      result[turn].push(measurement)
      plan.progress(`${scenario.name} ${contender.name} ${describe(measurement)}`)
    }
  }
  return result
}

async function measureOnce(scenario: Scenario, contender: Contender, effort: Effort): Promise<Measurement> {
  const broker = new BrokerProcess(contender, scenario.needsDoors ?? false)
  try {
    await broker.start()
    return await scenario.run(broker, effort)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { values: {}, remarks: [`failed: ${reason}${broker.stderr ? `; the broker said: ${broker.stderr.slice(-500)}` : ""}`] }
  } finally {
    await broker.remove()
  }
}

function describe(measurement: Measurement): string {
  const values = Object.entries(measurement.values).map(([name, value]) => `${name}=${value.toPrecision(4)}`)
  return [...values, ...measurement.remarks].join(" ")
}
