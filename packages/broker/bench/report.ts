import { GATES, judge, type Gate, type Verdict } from "./gates.js"
import type { ScenarioResult } from "./rounds.js"
import { markdown } from "@mqtt-trio/testing"
import { median } from "./statistics.js"

/** One line of the table. Numbers are medians over the rounds; `low` and `high` are the extremes of the number that is judged. */
export interface Row {
  scenario: string
  title: string
  value: string
  own: number
  rival: number | undefined
  /** Median of the ratios of the rounds, ours to the rival's. */
  ratio: number | undefined
  low: number
  high: number
  gate: number | undefined
  aim: number | undefined
  verdict: Verdict | "failed" | "no gate"
  remarks: string[]
}

/** One row for every value of every scenario. A gated value that was not measured makes a row with the verdict "failed". */
export function rows(results: readonly ScenarioResult[], gates: readonly Gate[]): Row[] {
  return results.flatMap((result) => {
    const measured = result.own.flatMap((measurement) => Object.keys(measurement.values))
    const gated = gates.filter((gate) => gate.scenario === result.scenario.name).map((gate) => gate.value)
    return [...new Set([...measured, ...gated])].map((value) => row(result, value, gates))
  })
}

/** True when a gate was missed or a gated value could not be measured. */
export function missedGates(table: readonly Row[]): Row[] {
  return table.filter((entry) => entry.verdict === "MISSED" || entry.verdict === "failed")
}

function row(result: ScenarioResult, value: string, gates: readonly Gate[]): Row {
  const own = result.own.map((measurement) => measurement.values[value] ?? Number.NaN)
  const rival = result.rival.map((measurement) => measurement.values[value] ?? Number.NaN)
  const ratios = rival.every((theirs) => theirs > 0) ? rival.map((theirs, round) => (own[round] ?? Number.NaN) / theirs) : []
  const gate = gates.find((candidate) => candidate.scenario === result.scenario.name && candidate.value === value)
  const judged = (gate && gate.kind !== "ratio") || ratios.length === 0 ? own : ratios
  return {
    scenario: result.scenario.name,
    title: result.scenario.title,
    value,
    own: median(own),
    rival: rival.length > 0 ? median(rival) : undefined,
    ratio: ratios.length > 0 ? median(ratios) : undefined,
    low: Math.min(...judged),
    high: Math.max(...judged),
    gate: gate?.gate,
    aim: gate?.aim,
    verdict: verdictOf(gate, own, ratios),
    remarks: [...result.own.flatMap((m) => m.remarks), ...result.rival.flatMap((m) => m.remarks.map((remark) => `beside it: ${remark}`))],
  }
}

function verdictOf(gate: Gate | undefined, own: number[], ratios: number[]): Row["verdict"] {
  if (!gate) return "no gate"
  if (gate.kind === "ratio" && ratios.length === 0) return "no gate"
  const number = median(gate.kind === "ratio" ? ratios : own)
  return Number.isNaN(number) ? "failed" : judge(gate, number)
}

/** The table for a terminal or a Markdown file. */
export function renderTable(table: readonly Row[], own: string, rival: string | undefined): string {
  const header = ["what", own, rival ?? "-", "ratio", "lowest … highest", "gate", "aim", "verdict"]
  const lines = table.map((entry) => {
    const kind = GATES.find((gate) => gate.scenario === entry.scenario && gate.value === entry.value)?.kind
    const unit = kind !== "ratio" || entry.ratio === undefined ? "" : " x"
    const sign = kind === "limit" ? "≤ " : kind === "floor" ? "≥ " : ""
    return [
      `${entry.title}: ${entry.value}`,
      amount(entry.own),
      amount(entry.rival),
      entry.ratio === undefined ? "" : amount(entry.ratio),
      `${amount(entry.low)} … ${amount(entry.high)}`,
      entry.gate === undefined ? "" : `${sign}${amount(entry.gate)}${unit}`,
      entry.aim === undefined ? "" : `${sign}${amount(entry.aim)}${unit}`,
      entry.verdict === "no gate" ? "" : entry.verdict,
    ]
  })
  const remarks = table.flatMap((entry) => entry.remarks.map((remark) => `- ${entry.scenario}: ${remark}`))
  return [...markdown([header, ...lines]), ...new Set(remarks)].join("\n")
}

/** A number in at most three or four digits: 1.38 M, 595 k, 227, 2.50. */
function amount(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "-"
  if (Math.abs(value) >= 1e6) return `${(value / 1e6).toPrecision(3)} M`
  if (Math.abs(value) >= 10_000) return `${Math.round(value / 1000)} k`
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}
