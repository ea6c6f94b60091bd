import { expect, test } from "vitest"
import { besiege, type SiegeOptions, type SiegeReport } from "../support/attack.js"
import type { LineReport } from "../support/bystander.js"

const MB = 1 << 20
/** Above idle, with `--max-memory 512MB`. */
const MOST_GROWTH = 300 * MB
/** Of a bystander's PUBACKs; what the machine adds is seen at a broker that nobody attacks, and counts. */
const P99_MS = 100
const BACK_TO = 1.5
const TIMEOUT_MS = 300_000

/** What is asked of an attack beside, or not, and why. */
export interface Bounds {
  /** of the longest wait for a PUBACK, too */
  readonly longestMs?: number
  /** the disk is slow: what needs it cannot be fast, and the bystander is one that needs no store */
  readonly slowDisk?: boolean
  /** what the attackers left is kept by promise, and takes memory as long as it is */
  readonly leaves?: boolean
  /** What they want takes more than there is, however it is kept: some are closed, refused or not read any more. */
  readonly stopped?: boolean
}

/** An attack, and that the broker bears it. */
export function bears(name: string, options: SiegeOptions & Bounds = {}): void {
  test(`${name}${options.sameAddress ? ", from the bystander's address" : ""}`, { timeout: TIMEOUT_MS }, async () => {
    expectBorne(await besiege(name, options), options)
  })
}

/** All bounds are looked at, so that a report says all that is wrong. */
export function expectBorne(report: SiegeReport, { longestMs, slowDisk = false, leaves = false, stopped = false }: Bounds = {}): void {
  const { idle, highest, back, end, bystander, control, attackers } = report
  expect.soft(end, "the broker lives").toBeUndefined()
  expect.soft((highest - idle) / MB, "MB above idle").toBeLessThan(MOST_GROWTH / MB)
  if (!leaves) expect.soft(back / idle, "RssAnon a minute later, in multiples of before").toBeLessThanOrEqual(BACK_TO)
  if (stopped) expect.soft(attackers.stopped + attackers.paused, "attackers that are closed, refused or paused").toBeGreaterThan(0)
  for (const kind of slowDisk ? (["clean"] as const) : (["clean", "stored"] as const)) {
    const line = bystander?.[kind]
    expect.soft(line, `the ${kind} bystander is served`).toBeDefined()
    if (!line) continue
    expectServed(line, kind)
    const { p99, max } = control[kind].puback
    expect.soft(line.puback.p99, `p99 of PUBACK, ${kind}`).toBeLessThan(Math.max(P99_MS, 2 * p99))
    if (longestMs !== undefined) expect.soft(line.puback.max, `longest wait for PUBACK, ${kind}`).toBeLessThan(Math.max(longestMs, 2 * max))
  }
}

function expectServed({ missing, inOrder, connected }: LineReport, kind: string): void {
  expect.soft({ missing, inOrder, connected }, `the ${kind} bystander`).toEqual({ missing: 0, inOrder: true, connected: true })
}
