import { escapeLine, jsonLine } from "@mqtt-trio/common"
import { ANOMALY_KINDS, ANOMALY_TITLES, type AnomalyKind } from "./checker/anomaly.js"
import type { TortureReport } from "./torture.js"

/** A report and the seed that repeats its moves. */
export interface SeededReport extends TortureReport {
  seed: number
}

/** The verdict as a table for people, followed by the first anomaly of each kind with its history. Ends with a newline. */
export function renderReport(report: SeededReport): string {
  const { verdict, durationMs } = report
  const facts: [string, number][] = [
    ["published", verdict.published],
    ["acknowledged", verdict.acknowledged],
    ["to be delivered, over all sessions", verdict.expected],
    ["first copies delivered", verdict.firstCopies],
    ["QoS 1 repeats (allowed)", verdict.repeats],
    ["copies for overlapping filters (allowed)", verdict.overlapCopies],
    ...whatWasDone(report),
  ]
  const faults = ANOMALY_KINDS.map((kind): [string, number] => [ANOMALY_TITLES[kind], countOf(report, kind)])
  const width = Math.max(...[...facts, ...faults].map(([name]) => name.length))
  const line = ([name, count]: [string, number]): string => `${name.padEnd(width)}  ${count}`
  const histories = verdict.anomalies.flatMap(({ kind, history }) => [
    "",
    `the first of "${ANOMALY_TITLES[kind]}":`,
    ...history.map((text) => `  ${escapeLine(text)}`),
  ])
  const end = `${verdict.clean ? "clean" : "NOT CLEAN"} (seed ${report.seed}, ${(durationMs / 1000).toFixed(1)} s)`
  return [...facts.map(line), "", ...faults.map(line), ...histories, "", end, ""].join("\n")
}

/** How often who got a signal, and what came of it. */
function whatWasDone({ signal, signals, serverKills, takeOvers, longestTakeOverMs }: SeededReport): [string, number][] {
  const facts: [string, number][] = [[`${signal === "none" ? "signals" : `SIG${signal}`} sent to the broker`, signals]]
  if (serverKills > 0) facts.push(["SIGKILL sent to the store's server", serverKills])
  if (takeOvers > 0) facts.push(["take-overs by a broker that stood by", takeOvers], ["longest take-over, in ms", longestTakeOverMs])
  return facts
}

/** The verdict as one JSON object on one line, `anomalies` by kind with 0 for those not seen. Ends with a newline. */
export function renderJson(report: SeededReport): string {
  const { anomalies, ...counts } = report.verdict
  const byKind = Object.fromEntries(ANOMALY_KINDS.map((kind) => [kind, countOf(report, kind)]))
  const histories = Object.fromEntries(anomalies.map(({ kind, history }) => [kind, history]))
  const { verdict: _, ...done } = report
  return `${jsonLine({ event: "verdict", ...counts, ...done, anomalies: byKind, histories })}\n`
}

function countOf(report: TortureReport, kind: AnomalyKind): number {
  return report.verdict.anomalies.find((anomaly) => anomaly.kind === kind)?.count ?? 0
}
