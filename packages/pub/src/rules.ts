import {
  checkConnection,
  checkVersion5Options,
  CONNECTION_VERSION_5,
  packetProperties,
  topicNameProblem,
  passwordShown,
  quoted,
  refuseOption,
  urlDecides,
  urlOf,
  usageError,
  type OptionValues,
  type Properties,
  type ResolvedOptions,
} from "@mqtt-trio/common"
import { pubOptions } from "./options.js"

type PubValues = OptionValues<typeof pubOptions>

/** Where the payloads come from. */
type PayloadSource =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "stdin" }
  | { readonly kind: "lines"; readonly text: string | undefined }

/** What to publish and how often, without contradictions. */
export interface PubPlan {
  readonly values: PubValues
  readonly topic: string
  readonly source: PayloadSource
  /** What `-D publish` and `--user-property` say, in order. */
  readonly properties: readonly Properties[]
  /** How many messages; Infinity until stopped or until stdin ends. */
  readonly count: number
  /** Steady clock between messages; undefined: as fast as the broker acknowledges. */
  readonly periodMs: number | undefined
  /** Print the running number of each acknowledged message. */
  readonly numbered: boolean
  /** False when version 3.1.1 may be tried after 5. */
  readonly versionFixed: boolean
  /** The URL of the command line or the environment names the broker. */
  readonly useUrl: boolean
  /** The command line has a password that others can read. */
  readonly passwordShown: boolean
}

const VERSION_5 = [
  ...CONNECTION_VERSION_5,
  "userProperty",
  "expiry",
  "contentType",
  "responseTopic",
  "correlationData",
  "payloadFormat",
  "topicAlias",
] as const

/** Checks the command line (`line`, with these operands) as a whole, before anything is opened. Throws a usage error. */
export function planPub(resolved: ResolvedOptions<typeof pubOptions>, args: readonly string[], line: readonly string[]): PubPlan {
  const { values, given } = resolved
  checkConnection(resolved)
  checkVersion5Options(resolved, pubOptions, VERSION_5, values.protocolVersion)
  const useUrl = urlDecides(resolved)
  const urlTopic = useUrl ? urlOf(values)?.topic : undefined
  const named = values.topic ?? urlTopic
  const [topic, ...rest] = named === undefined ? args : [named, ...args]
  if (topic === undefined) throw usageError("no topic given", 'for example: mqtt-pub test "Hello"')
  if (named === undefined) refuseOption(topic, line)
  if (!values.template) checkTopic(topic)
  const [message, ...tooMany] = rest
  if (tooMany.length > 0 && named !== undefined)
    throw usageError(
      `the topic is given twice: ${quoted(named)} and ${quoted(message ?? "")}`,
      "give it as the first argument, with --topic or in the URL",
    )
  if (tooMany.length > 0) throw usageError(`unexpected argument ${quoted(tooMany[0] ?? "")}`, "put a message with spaces in quotes")
  const source = payloadSource(values, message)
  checkPace(values, source)
  return {
    values,
    topic,
    source,
    properties: packetProperties("publish", resolved),
    count: values.repeat ?? (values.interval === undefined && source.kind !== "lines" ? 1 : Number.POSITIVE_INFINITY),
    periodMs: values.interval ?? values.repeatDelay,
    numbered: values.interval !== undefined && source.kind !== "lines",
    versionFixed: given("protocolVersion") || VERSION_5.some((key) => given(key)),
    useUrl,
    passwordShown: passwordShown(resolved),
  }
}

/** Throws a usage error when messages cannot be published to `topic`. */
export function checkTopic(topic: string): void {
  const problem = topicNameProblem(topic)
  if (problem !== undefined) throw usageError(`topic ${quoted(topic)} is not valid: ${problem}`)
}

function payloadSource(values: PubValues, argument: string | undefined): PayloadSource {
  const sources: PayloadSource[] = []
  const text = values.message ?? argument
  if (values.message !== undefined && argument !== undefined)
    throw usageError("the message is given twice", "give it as an argument or with --message")
  if (text !== undefined && !(values.stdinLine && values.template)) sources.push({ kind: "text", text })
  if (values.file !== undefined) sources.push(values.file === "-" ? { kind: "stdin" } : { kind: "file", path: values.file })
  if (values.stdinFile) sources.push({ kind: "stdin" })
  if (values.stdinLine) sources.push({ kind: "lines", text })
  if (values.nullMessage) sources.push({ kind: "text", text: "" })
  const [source, second] = sources
  if (source === undefined) throw usageError("no message given", "give it as the second argument, or use -m, -f, -s, -l or -n")
  if (second !== undefined) throw usageError("more than one message given", "use only one of: message, -m, -f, -s, -l, -n")
  if (values.passwordFile === "-" && (source.kind === "stdin" || source.kind === "lines"))
    throw usageError("stdin cannot give both the password and the message")
  return source
}

function checkPace(values: PubValues, source: PayloadSource): void {
  if (values.repeat !== undefined && source.kind === "lines") throw usageError("--repeat does not go with -l: each line is published once")
  if (values.interval !== undefined && values.repeatDelay !== undefined)
    throw usageError("--interval and --repeat-delay both set the pace", "give one of them")
  if (values.repeatDelay !== undefined && values.repeat === undefined) throw usageError("--repeat-delay needs --repeat")
  if (values.payloadFormat && source.kind === "text" && source.text === "")
    throw usageError("--payload-format says nothing about an empty message")
}
