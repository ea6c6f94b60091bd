import {
  applyOptions,
  ERRORS,
  escapeLine,
  flag,
  helpText,
  jsonLine,
  oneOf,
  type OptionValues,
  parseText,
  parseTopicFilter,
  parseTopicName,
  resolveOptions,
  usageError,
  value,
  writeOut,
} from "@mqtt-trio/common"
import type { Command } from "commander"
import type { AclDecision } from "../access/rights/acl-rules.js"
import type { Direction } from "../access/rights/rights.js"
import { ACL_FILE_OPTION } from "./acl-options.js"

export const ACL_OPTIONS = {
  aclFile: ACL_FILE_OPTION,
  client: value({
    flags: "--client <id>",
    help: "the client's identifier, for patterns with %c",
    group: "Client",
    parse: parseText,
  }),
  anonymous: flag({ flags: "--anonymous", help: "in place of USER: a client without one", group: "Client" }),
  json: flag({ flags: "--json", help: "one JSON object", group: "Output" }),
} as const

const HELP = {
  name: "mqtt-broker acl explain",
  summary: "Says whether a user may read or write a topic, and which line of the ACL file decides. No broker is asked.",
  usage: "<user> read|write <topic> [options]",
  examples: [
    ["mqtt-broker acl explain joe write home/door --acl-file acl", "may joe publish to home/door?"],
    ["mqtt-broker acl explain joe read 'home/#' --acl-file acl --client phone", "may joe's phone subscribe to home/#?"],
    ["mqtt-broker acl explain --anonymous read news --acl-file acl", "may clients without a user receive news?"],
  ],
  footer: [
    "A topic filter to read is a subscription: allowed when it can bring anything; what may not be read is left out.",
    `Exit code 0: allowed. ${ERRORS["request-refused"].exitCode}: refused, which is also that of mqtt-pub and mqtt-sub then.`,
  ],
} as const

/** What is asked. */
interface Question {
  /** undefined: a client without one */
  readonly user: string | undefined
  readonly direction: Direction
  readonly topic: string
}

/** What is answered. */
interface Answer extends AclDecision {
  /** what there is to say when no line decides */
  readonly reason: string
}

/** Adds `acl explain` to the program; `done` gets the exit code. */
export function registerAcl(program: Command, done: (exitCode: number) => void): void {
  const command = program.command("acl <explain> [question...]").description("say which line of an ACL file decides")
  command.configureHelp({ formatHelp: () => helpText(HELP, ACL_OPTIONS) })
  applyOptions(command, ACL_OPTIONS)
  command.action(async (what: string, words: readonly string[]) => {
    oneOf("what acl does", ["explain"])(what)
    const { values } = resolveOptions(command, ACL_OPTIONS)
    done(await runExplain(parseQuestion(words, values.anonymous), values))
  })
}

/** Prints who decides: 0 when it is allowed, the exit code of refused requests when not. Throws a usage error, or what reading the file throws. */
export async function runExplain(question: Question, options: OptionValues<typeof ACL_OPTIONS>): Promise<number> {
  const { aclFile: file, client: clientId, json } = options
  if (file === undefined) throw usageError("no ACL file is given", "add --acl-file FILE, or set MQTT_BROKER_ACL_FILE")
  const { allowed, rule, reason } = await answer(question, file, clientId)
  const found = { allowed, file, line: rule?.line ?? null, rule: rule?.text ?? null, reason: rule ? null : reason }
  const words = rule ? `${allowed ? "allowed" : "refused"} by ${file}:${rule.line}: ${rule.text}` : `refused: ${reason}`
  await writeOut(`${json ? jsonLine(found) : escapeLine(words)}\n`)
  return allowed ? 0 : ERRORS["request-refused"].exitCode
}

async function answer({ user, direction, topic }: Question, file: string, clientId: string | undefined): Promise<Answer> {
  const [{ readAclFile }, { isReserved }] = await Promise.all([
    import("../access/rights/acl-file.js"),
    import("../access/rights/reserved-topics.js"),
  ])
  const rules = readAclFile(file)
  if (direction === "write" && isReserved(topic))
    return { allowed: false, rule: undefined, reason: "clients may not publish below $SYS, whatever the file says" }
  const decision = rules.explain({ user, clientId }, direction, topic)
  const byPattern = decision.rule === undefined || decision.rule.scope === "pattern"
  if (byPattern && clientId === undefined && rules.namesClientIds)
    process.stderr.write("patterns with %c were left out; --client ID says whom they are about\n")
  const unfit = rules.isUnfitForPatterns({ user, clientId }) ? "; patterns are not for names with + or #" : ""
  return { ...decision, reason: `no line of ${file} allows it${unfit}` }
}

function parseQuestion(words: readonly string[], anonymous: boolean): Question {
  const [user, way, topic, ...more] = anonymous ? [undefined, ...words] : words
  if (way === undefined || topic === undefined || more.length > 0)
    throw usageError(
      anonymous ? "with --anonymous the question is: read|write TOPIC" : "the question is: USER read|write TOPIC",
      anonymous ? "for example: mqtt-broker acl explain --anonymous read a/b" : "for clients without a user: --anonymous read|write TOPIC",
    )
  const direction = oneOf("what the client does", ["read", "write"] as const)(way)
  return {
    user: user === undefined ? undefined : parseText(user),
    direction,
    topic: direction === "read" ? parseTopicFilter(topic) : parseTopicName(topic),
  }
}
