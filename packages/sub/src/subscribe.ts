import { CliError, counted, quoted, someOf, splitShare, type Diagnostics } from "@mqtt-trio/common"
import { reasonText, refusedRequest, type ClientConnection } from "@mqtt-trio/client"
import type { SubPlan } from "./rules.js"

const FIRST_REFUSAL = 0x80
/** The most refusals with a line of their own. */
const REPORTED = 3
const NO_REASON = " (before MQTT 5 it cannot say why)"

/**
 * Sends SUBSCRIBE and then the UNSUBSCRIBE of `-U`. Warns when a granted QoS is lower than asked. Returns the refusal when the broker
 * refused some of the filters; throws it when it refused all of them, and whatever the connection throws.
 */
export async function subscribeAll(connection: ClientConnection, plan: SubPlan, diagnostics: Diagnostics): Promise<CliError | undefined> {
  const { subscriptions, values } = plan
  const version5 = connection.settings.version === 5
  const codes = subscriptions.length === 0 ? [] : await connection.subscribe(subscriptions, version5 ? plan.subscribeProperties : undefined)
  const refusals: CliError[] = []
  const lower: string[] = []
  for (const [index, { filter, qos }] of subscriptions.entries()) {
    const code = codes[index] ?? FIRST_REFUSAL
    if (code >= FIRST_REFUSAL) refusals.push(refusal(filter, code, version5))
    else if (code < qos) lower.push(`QoS ${code} for ${quoted(filter)} instead of ${qos}`)
  }
  if (lower.length > 0) diagnostics.warn(`the broker granted ${someOf(lower)}`)
  if (values.unsubscribe.length > 0) await connection.unsubscribe(values.unsubscribe, version5 ? plan.unsubscribeProperties : undefined)
  const [first] = refusals
  if (first === undefined || refusals.length < subscriptions.length) {
    for (const refusal of refusals.slice(0, REPORTED)) diagnostics.report(refusal)
    if (refusals.length > REPORTED) diagnostics.report(new CliError("request-refused", `… and ${refusals.length - REPORTED} more`))
    return first
  }
  throw refusals.length === 1
    ? first
    : new CliError(
        "request-refused",
        `the broker refused all ${counted(codes.length, "subscription")}${version5 ? `: ${someOf([...new Set(codes.map(reasonText))])}` : NO_REASON}`,
        { hint: first.hint },
      )
}

function refusal(filter: string, code: number, version5: boolean): CliError {
  const what = `the subscription to ${quoted(filter)}`
  if (version5) return refusedRequest(what, code)
  const hint =
    splitShare(filter) === undefined
      ? "the broker's access rules may forbid it; with MQTT 5 it could say why: leave out -V"
      : "shared subscriptions are a part of MQTT 5, this broker may have none: leave out $share/GROUP/"
  return new CliError("request-refused", `the broker refused ${what}${NO_REASON}`, { hint })
}
