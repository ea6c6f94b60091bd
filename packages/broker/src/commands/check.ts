import {
  applyOptions,
  createDiagnostics,
  defaultOf,
  escapeLine,
  flag,
  helpText,
  jsonLine,
  keyOf,
  type OptionSource,
  type OptionValues,
  type ResolvedOption,
  type ResolvedOptions,
  writeOut,
} from "@mqtt-trio/common"
import type { Command } from "commander"
import { readAclFile } from "../access/rights/acl-file.js"
import { readPasswordFile } from "../access/users/password-file.js"
import { readTlsFiles } from "../server/listeners/tls-files.js"
import { storeUrl } from "../stores/store-url.js"
import { resolveWithFile } from "./config-file.js"
import { oddities, ruleOddities } from "./oddities.js"
import { checkStart, START_OPTIONS, type StartOptions } from "./start.js"

/** Its own option; the others are those of `mqtt-broker start`. */
export const CHECK_OPTIONS = {
  json: flag({ flags: "--json", help: "one JSON object", group: "Output" }),
} as const

const HELP = {
  name: "mqtt-broker check",
  summary: "Reads the options of mqtt-broker start as it does, starts nothing, and prints each value and where it came from.",
  usage: "[options of mqtt-broker start]",
  examples: [
    ["mqtt-broker check --config broker.toml", "what a broker with this file would do"],
    ["mqtt-broker check --config broker.toml --json", "the same, for a program"],
  ],
  footer: [
    "Exit code 0: mqtt-broker start takes these options; what is odd about them is said on stderr. Else its exit code: 2 for the options, 16 for a file of TLS, 17 for the password file or the ACL file.",
  ],
} as const

/** One option in the answer. */
interface Row {
  readonly option: string
  /** What the broker understood; a number of bytes or milliseconds where it is a size or a time, of a second where it is a rate. */
  readonly value: unknown
  readonly source: OptionSource
  /** The flag, the variable or the file. */
  readonly from: string | null
  /** As it stood there. */
  readonly text: string
}

export function registerCheck(program: Command): void {
  const command = program.command("check").description("look over the options of start")
  const table = { ...START_OPTIONS, ...CHECK_OPTIONS }
  command.configureHelp({ formatHelp: () => helpText(HELP, table) })
  applyOptions(command, table)
  command.action(async () => {
    const json = command.getOptionValueSource("json") === "cli"
    command.setOptionValue("json", undefined) // it says how this command prints, not how start would
    await runCheck(await resolveWithFile(command, START_OPTIONS), { json })
  })
}

/** Prints the options of `start` and what is odd about them. Throws what `start` would throw. */
export async function runCheck(
  resolved: ResolvedOptions<typeof START_OPTIONS>,
  { json }: OptionValues<typeof CHECK_OPTIONS>,
): Promise<void> {
  const { targets, tls } = checkStart(resolved)
  if (tls) readTlsFiles(tls)
  const { passwordFile, aclFile } = resolved.values
  if (passwordFile !== undefined) readPasswordFile(passwordFile)
  const rules = aclFile === undefined ? [] : readAclFile(aclFile).rules
  const rows = resolved.all.map((option) => rowOf(option, resolved.values))
  const warnings = [...oddities(resolved.values, targets), ...ruleOddities(aclFile, rules)]
  if (json) return void (await writeOut(`${jsonLine({ options: rows, warnings })}\n`))
  const widths = [Math.max(...rows.map(({ option }) => option.length)), Math.max(...rows.map(({ text }) => text.length))] as const
  const lines = rows.map(({ option, text, from }) => `${option.padEnd(widths[0])}  ${text.padEnd(widths[1])}  ${from ?? "default"}`)
  await writeOut(`${lines.map(escapeLine).join("\n")}\n`)
  const diagnostics = createDiagnostics()
  for (const warning of warnings) diagnostics.warn(warning)
}

function rowOf({ spec, value, source, from, texts }: ResolvedOption, { store }: StartOptions): Row {
  const plain = value === store ? storeUrl(store) : value
  const given = spec.kind === "flag" || value === store ? undefined : texts.length > 0 ? texts.join(", ") : defaultOf(spec)
  return { option: keyOf(spec), value: plain ?? null, source, from: from ?? null, text: given ?? shown(plain) }
}

function shown(value: unknown): string {
  return typeof value === "string" || typeof value === "boolean" ? String(value) : "none"
}
