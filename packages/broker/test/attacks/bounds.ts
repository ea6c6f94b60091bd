import { expect, test } from "vitest"
import { BACK_TO, besiege, type SiegeOptions, type SiegeReport } from "../support/attack.js"

const MB = 1 << 20
/** Above idle, with `--max-memory 512MB`. */
const MOST_GROWTH = 300 * MB
/** Of a bystander's PUBACKs; what the machine adds is seen at a broker that nobody attacks, and counts. */
const P99_MS = 100
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
    const report = await besiege(name, options)
    // what else the machine did at that moment does not come twice, what the attack does comes each time
    const mayBeChance = isHeld(report, options) && waits(report, options).some(({ ms, limit }) => ms >= limit)
    expectBorne(mayBeChance ? await besiege(name, options) : report, options)
  })
}

/** Whether all is kept but times. */
function isHeld({ end, highest, idle, back, normal, bystander }: SiegeReport, { leaves = false }: Bounds): boolean {
  return end === undefined && bystander !== undefined && highest - idle < MOST_GROWTH && (leaves || back <= BACK_TO * normal)
}

/** How long the bystander waited for PUBACKs, and how long it may. */
function waits(
  { bystander, control }: SiegeReport,
  { longestMs, slowDisk = false }: Bounds,
): { what: string; ms: number; limit: number }[] {
  if (!bystander) return []
  return (slowDisk ? (["clean"] as const) : (["clean", "stored"] as const)).flatMap((kind) => {
    const [{ p99, max }, quiet] = [bystander[kind].puback, control[kind].puback]
    const all = [{ what: `p99 of PUBACK, ${kind}`, ms: p99, limit: Math.max(P99_MS, 2 * quiet.p99) }]
    if (longestMs === undefined) return all
    return [...all, { what: `longest wait for PUBACK, ${kind}`, ms: max, limit: Math.max(longestMs, 2 * quiet.max) }]
  })
}

/** All bounds are looked at, so that a report says all that is wrong. */
function expectBorne(report: SiegeReport, bounds: Bounds): void {
  const { normal, idle, highest, back, end, bystander, attackers } = report
  expect.soft(end, "the broker lives").toBeUndefined()
  expect.soft((highest - idle) / MB, "MB above idle").toBeLessThan(MOST_GROWTH / MB)
  if (!bounds.leaves)
    expect.soft(back / normal, "RssAnon a minute later, in multiples of what a normal load takes").toBeLessThanOrEqual(BACK_TO)
  if (bounds.stopped) expect.soft(attackers.stopped + attackers.paused, "attackers that are closed, refused or paused").toBeGreaterThan(0)
  const all = { missing: 0, inOrder: true, connected: true }
  expect.soft(bystander, "the bystander").toMatchObject({ clean: all, stored: all })
  for (const { what, ms, limit } of waits(report, bounds)) expect.soft(ms, what).toBeLessThan(limit)
}
