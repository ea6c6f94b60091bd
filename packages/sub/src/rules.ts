import {
  checkConnection,
  checkVersion5Options,
  counted,
  CONNECTION_VERSION_5,
  DEFAULT_QOS,
  mergeProperties,
  packetProperties,
  parseTopicFilter,
  propertiesFor,
  refuseOption,
  splitShare,
  passwordShown,
  urlDecides,
  urlOf,
  usageError,
  type OptionValues,
  type Properties,
  type Qos,
  type ResolvedOptions,
  quoted,
} from "@mqtt-trio/common"
import type { Subscription } from "@mqtt-trio/client"
import { compileFormat } from "./format/format-language.js"
import { subOptions } from "./options.js"

export type SubValues = OptionValues<typeof subOptions>

/** What to subscribe to, without contradictions. */
export interface SubPlan {
  readonly values: SubValues
  readonly subscriptions: readonly Subscription[]
  readonly subscribeProperties: Properties | undefined
  readonly unsubscribeProperties: Properties | undefined
  /** False when version 3.1.1 may be tried after 5. */
  readonly versionFixed: boolean
  /** The URL of the command line or the environment names the broker. */
  readonly useUrl: boolean
  /** The command line has a password that others can read. */
  readonly passwordShown: boolean
}

const VERSION_5 = [...CONNECTION_VERSION_5, "subscriptionId", "userProperty", "retainAsPublished", "retainHandling", "noLocal"] as const
const RETAIN_HANDLING = { always: 0, new: 1, never: 2 } as const

/** Checks the command line (`line`, with these operands) as a whole, before anything is opened. Throws a usage error. */
export function planSub(resolved: ResolvedOptions<typeof subOptions>, args: readonly string[], line: readonly string[]): SubPlan {
  const { values, given } = resolved
  for (const filter of args) refuseOption(filter, line)
  checkConnection(resolved)
  checkVersion5Options(resolved, subOptions, VERSION_5, values.protocolVersion)
  const useUrl = urlDecides(resolved)
  const urlTopic = useUrl ? urlOf(values)?.topic : undefined
  const filters = [...args.map(parseTopicFilter), ...values.topic, ...(urlTopic === undefined ? [] : [parseTopicFilter(urlTopic)])]
  if (filters.length === 0 && values.unsubscribe.length === 0)
    throw usageError("no topic filter given", "for example: mqtt-sub test, or mqtt-sub '#' for everything")
  const qos = qosOf(values, filters.length)
  const repeated = filters.find((filter, index) => filters.indexOf(filter) !== index)
  if (repeated !== undefined) throw usageError(`the topic filter ${quoted(repeated)} is given twice`)
  if (values.noLocal && filters.some((filter) => splitShare(filter) !== undefined))
    throw usageError("--no-local does not go with a shared subscription (MQTT 5.0 section 3.8.3.1)")
  checkOutput(values)
  return {
    values,
    subscriptions: filters.map((filter, index) => subscription(values, filter, qos[index] ?? qos[0] ?? DEFAULT_QOS)),
    subscribeProperties: mergeProperties([
      ...packetProperties("subscribe", resolved),
      values.subscriptionId === undefined ? {} : { subscriptionIdentifier: values.subscriptionId },
    ]),
    unsubscribeProperties: mergeProperties(propertiesFor("unsubscribe", values.property)),
    versionFixed: given("protocolVersion") || VERSION_5.some((key) => given(key)),
    useUrl,
    passwordShown: passwordShown(resolved),
  }
}

function qosOf({ qos }: SubValues, filters: number): readonly Qos[] {
  if (qos.length <= 1 || qos.length === filters) return qos
  throw usageError(`${counted(filters, "topic filter")} but ${qos.length} times --qos`, "give one for all, or one for each filter")
}

function subscription(values: SubValues, filter: string, qos: Qos): Subscription {
  return {
    filter,
    qos,
    noLocal: values.noLocal,
    retainAsPublished: values.retainAsPublished,
    retainHandling: RETAIN_HANDLING[values.retainHandling ?? "always"],
  }
}

function checkOutput(values: SubValues): void {
  const formats = (["format", "json", "verbose"] as const).filter((key) => values[key] !== undefined && values[key] !== false)
  if (formats.length > 1) throw usageError(`--${formats.join(" and --")} both set the format`, "give one of them")
  if (values.hex && values.base64) throw usageError("--hex and --base64 both set the format of payloads", "give one of them")
  if (values.format !== undefined && (values.hex || values.base64))
    throw usageError("--format does not go with --hex or --base64", "write %x in the format")
  if (values.pretty && !values.json && values.format === undefined) throw usageError("--pretty is about JSON", "add --json")
  if (values.format !== undefined) compileFormat(values.format, { pretty: false, complain: () => undefined })
  if (values.skipRetained && (values.retainedOnly || values.removeRetained))
    throw usageError("--skip-retained does not go with --retained-only or --remove-retained")
  if (values.exitAfterSubscribe && (values.count !== undefined || values.timeout !== undefined))
    throw usageError("--exit-after-subscribe does not wait for messages", "leave out --count and --timeout")
}
