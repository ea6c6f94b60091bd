import { CliError, type Diagnostics } from "@mqtt-trio/common"
import { reasonText, refusedRequest, type Connection } from "@mqtt-trio/client"
import type { SubPlan } from "./rules.js"

const REFUSED = 0x80

/**
 * Sends SUBSCRIBE and then the UNSUBSCRIBE of `-U`. Warns when a granted QoS is lower than asked. Returns the refusal when the broker
 * refused some of the filters; throws it when it refused all of them, and whatever the connection throws.
 */
export async function subscribeAll(connection: Connection, plan: SubPlan, diagnostics: Diagnostics): Promise<CliError | undefined> {
  const { subscriptions, values } = plan
  const version5 = connection.settings.version === 5
  const codes = subscriptions.length === 0 ? [] : await connection.subscribe(subscriptions, version5 ? plan.subscribeProperties : undefined)
  const refusals: CliError[] = []
  for (const [index, { filter, qos }] of subscriptions.entries()) {
    const code = codes[index] ?? REFUSED
    if (code >= REFUSED) refusals.push(refusedRequest(`the subscription to ${JSON.stringify(filter)}`, code))
    else if (code < qos) diagnostics.warn(`the broker granted QoS ${code} for ${JSON.stringify(filter)} instead of ${qos}`)
  }
  if (values.unsubscribe.length > 0) await connection.unsubscribe(values.unsubscribe, version5 ? plan.unsubscribeProperties : undefined)
  const [first] = refusals
  if (first === undefined || refusals.length < subscriptions.length) {
    for (const refusal of refusals) diagnostics.report(refusal)
    return first
  }
  throw refusals.length === 1
    ? first
    : new CliError("request-refused", `the broker refused all subscriptions: ${codes.map(reasonText).join(", ")}`, { hint: first.hint })
}
