import { type OptionSpec, type OptionTable } from "./option-spec.js"

/** What `--help` and the README say about a command besides its options. */
export interface CommandHelp {
  readonly name: string
  readonly summary: string
  /** What follows the name: `[topic] [message] [options]`. */
  readonly usage: string
  /** At least two command lines that can be pasted, with what they do. */
  readonly examples: readonly (readonly [command: string, what: string])[]
  /** Lines at the end. */
  readonly footer?: readonly string[]
}

const FLAG_WIDTH = 30
const LINE_WIDTH = 110

/** The text of `--help`: examples first, then the options by group, each on one line where it fits. */
export function helpText(help: CommandHelp, table: OptionTable): string {
  const width = Math.max(...help.examples.map(([command]) => command.length))
  const lines = [help.summary, "", "Examples:", ...help.examples.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`), ""]
  lines.push(`Usage: ${help.name} ${help.usage}`)
  for (const [group, specs] of optionGroups(table)) {
    const visible = specs.filter((spec) => spec.hidden !== true)
    if (visible.length > 0) lines.push("", `${group}:`, ...visible.flatMap(optionLines))
  }
  if (help.footer !== undefined) lines.push("", ...help.footer)
  return `${lines.join("\n")}\n`
}

/** The options of a table by group, in the order in which the groups first appear. */
export function optionGroups(table: OptionTable): Map<string, OptionSpec<unknown>[]> {
  const groups = new Map<string, OptionSpec<unknown>[]>()
  for (const spec of Object.values(table)) groups.set(spec.group, [...(groups.get(spec.group) ?? []), spec])
  return groups
}

/** How the default of an option is shown, or undefined when there is nothing to show. */
function defaultOf(spec: OptionSpec<unknown>): string | undefined {
  if (spec.defaultText !== undefined) return spec.defaultText
  const { fallback } = spec
  return typeof fallback === "string" || typeof fallback === "number" ? String(fallback) : undefined
}

/** A table's options as Markdown for the README: a table for each group, all options, hidden aliases included. */
export function optionReference(table: OptionTable): string {
  const parts: string[] = []
  for (const [group, specs] of optionGroups(table)) {
    parts.push(`**${group}**`, "", "| option | what | default | environment |", "|---|---|---|---|", ...specs.map(referenceRow), "")
  }
  return parts.join("\n").trimEnd()
}

function referenceRow(spec: OptionSpec<unknown>): string {
  const aliases = spec.aliases === undefined ? "" : ` (also ${spec.aliases.map((name) => `\`${name}\``).join(", ")})`
  const cells = [`${code(spec.flags)}${aliases}`, spec.help, code(defaultOf(spec)), code(spec.env)]
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
}

function optionLines(spec: OptionSpec<unknown>): string[] {
  const flags = /^-\w,/.test(spec.flags) ? spec.flags : `    ${spec.flags}`
  const shown = defaultOf(spec)
  const words = `${spec.help}${shown === undefined ? "" : ` (default ${shown})`}`.split(" ")
  const rows = [""]
  for (const word of words) {
    const row = rows.at(-1) ?? ""
    if (row !== "" && row.length + word.length + FLAG_WIDTH + 4 > LINE_WIDTH) rows.push(word)
    else rows[rows.length - 1] = row === "" ? word : `${row} ${word}`
  }
  const indent = " ".repeat(FLAG_WIDTH + 4)
  const [first = "", ...rest] = rows
  const fits = flags.length <= FLAG_WIDTH
  const head = fits ? [`  ${flags.padEnd(FLAG_WIDTH)}  ${first}`] : [`  ${flags}`, indent + first]
  return [...head, ...rest.map((row) => indent + row)]
}

function code(text: string | undefined): string {
  return text === undefined ? "" : `\`${text}\``
}
