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

/** Columns of help that goes to no terminal, and the most of one that does. */
const LINE_WIDTH = 80
const WIDEST_COLUMNS = 110
const NARROWEST_COLUMNS = 60

/** The text of `--help`: examples first, then the options by group; no line is longer than the terminal, or 80 columns. */
export function helpText(help: CommandHelp, table: OptionTable, columns = process.stdout.columns ?? LINE_WIDTH): string {
  const width = Math.min(Math.max(columns, NARROWEST_COLUMNS), WIDEST_COLUMNS)
  const lines = [...wrapped("", help.summary, width), "", "Examples:", ...exampleLines(help, width), ""]
  lines.push(`Usage: ${help.name} ${help.usage}`)
  for (const [group, specs] of optionGroups(table)) {
    const visible = specs.filter((spec) => spec.hidden !== true)
    if (visible.length > 0) lines.push("", `${group}:`, ...visible.flatMap((spec) => optionLines(spec, width)))
  }
  if (help.footer !== undefined) lines.push("", ...help.footer.flatMap((line) => wrapped("", line, width)))
  return `${lines.join("\n")}\n`
}

/** Commands that can be pasted stay on one line; what they do stands beside them, or below where that is too long. */
function exampleLines({ examples }: CommandHelp, width: number): string[] {
  const column = Math.max(...examples.map(([command]) => command.length))
  const beside = examples.every(([, what]) => column + what.length + 4 <= width)
  return examples.flatMap(([command, what]) =>
    beside ? [`  ${command.padEnd(column)}  ${what}`] : [`  ${command}`, ...wrapped("      ", what, width)],
  )
}

/** `text` in lines of at most `width` columns, each with the indent. */
function wrapped(indent: string, text: string, width: number): string[] {
  const rows = [indent]
  for (const word of text.split(" ")) {
    const row = rows.at(-1) ?? ""
    if (row.length > indent.length && row.length + 1 + word.length > width) rows.push(indent + word)
    else rows[rows.length - 1] = row.length > indent.length ? `${row} ${word}` : row + word
  }
  return rows
}

/** The options of a table by group, in the order in which the groups first appear. */
export function optionGroups(table: OptionTable): Map<string, OptionSpec<unknown>[]> {
  const groups = new Map<string, OptionSpec<unknown>[]>()
  for (const spec of Object.values(table)) groups.set(spec.group, [...(groups.get(spec.group) ?? []), spec])
  return groups
}

/** How the default of an option is shown, or undefined when there is nothing to show. */
export function defaultOf(spec: OptionSpec<unknown>): string | undefined {
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

function optionLines(spec: OptionSpec<unknown>, width: number): string[] {
  const flags = /^-\w,/.test(spec.flags) ? spec.flags : `    ${spec.flags}`
  const shown = defaultOf(spec)
  const indent = " ".repeat(FLAG_WIDTH + 4)
  const [first = "", ...rest] = wrapped(indent, `${spec.help}${shown === undefined ? "" : ` (default ${shown})`}`, width)
  if (flags.length > FLAG_WIDTH) return [`  ${flags}`, first, ...rest]
  return [`  ${flags.padEnd(FLAG_WIDTH)}  ${first.slice(indent.length)}`, ...rest]
}

function code(text: string | undefined): string {
  return text === undefined ? "" : `\`${text}\``
}
