import { Option, type Command } from "commander"
import { CliError, messageOf } from "../errors.js"
import { quoted } from "../exact-text.js"
import { keyOf, storedTexts, type OptionFile } from "./option-file.js"
import { longFlag, type OptionSpec, type OptionTable, type OptionValues } from "./option-spec.js"

/** Where a value came from. */
export type OptionSource = "flag" | "env" | "file" | "default"

/** A value and where it came from. */
interface Resolved {
  readonly value: unknown
  readonly source: OptionSource
  /** What it was read from, as it stood there; none for a flag and for a default. */
  readonly texts: readonly string[]
}

/** Where values may come from besides the command line. */
export interface OptionSources {
  /** Default: the environment of this process. */
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly file?: OptionFile | undefined
}

/** A command's resolved options. */
export interface ResolvedOptions<Table extends OptionTable> {
  readonly values: OptionValues<Table>
  /** Where the value of an option came from. */
  readonly source: (key: keyof Table) => OptionSource
  /** True when anything but the default gave the option. */
  readonly given: (key: keyof Table) => boolean
  /** What the value was read from, as it stood there; empty for a flag and for a default. */
  readonly texts: (key: keyof Table) => readonly string[]
}

/** Declares the options of `table` on a commander command. Values are read afterwards with {@link resolveOptions}. */
export function applyOptions(command: Command, table: OptionTable): Command {
  for (const spec of Object.values(table)) {
    const option = new Option(spec.flags, spec.help).helpGroup(`${spec.group}:`).hideHelp(spec.hidden ?? false)
    if (spec.kind !== "flag") option.argParser(collect)
    command.addOption(option)
  }
  return command
}

/**
 * The values of a parsed command's options: flag, then environment, then file, then default. An empty environment variable counts as
 * absent. Throws a usage error that names the flag, the variable, or the file and its key.
 */
export function resolveOptions<Table extends OptionTable>(
  command: Command,
  table: Table,
  { env = process.env, file }: OptionSources = {},
): ResolvedOptions<Table> {
  const all = new Map<keyof Table, Resolved>(Object.entries(table).map(([key, spec]) => [key, resolveOne(command, spec, { env, file })]))
  const values = Object.fromEntries([...all].map(([key, { value }]) => [key, value]))
  const source = (key: keyof Table): OptionSource => all.get(key)?.source ?? "default"
  return {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each key was just read by the spec that declares its type
    values: values as OptionValues<Table>,
    source,
    given: (key) => source(key) !== "default",
    texts: (key) => all.get(key)?.texts ?? [],
  }
}

function resolveOne(command: Command, spec: OptionSpec<unknown>, { env, file }: OptionSources): Resolved {
  const attribute = new Option(spec.flags).attributeName()
  if (command.getOptionValueSource(attribute) === "cli") {
    const given = flagTexts(command.getOptionValue(attribute))
    return readFrom(spec, "flag", longFlag(spec), () => given)
  }
  const text = spec.env === undefined ? undefined : env?.[spec.env]
  if (spec.env !== undefined && text !== undefined && text !== "") return readFrom(spec, "env", spec.env, () => [text])
  const stored = file?.values.get(keyOf(spec))
  if (file === undefined || stored === undefined) return { value: spec.fallback, source: "default", texts: [] }
  return readFrom(spec, "file", `${keyOf(spec)} in ${quoted(file.name)}`, () => storedTexts(spec, stored))
}

function collect(text: string, previous: unknown): string[] {
  return [...flagTexts(previous), text]
}

/** What {@link collect} gathered; commander puts `true` there for an optional value that was left out. */
function flagTexts(stored: unknown): string[] {
  return Array.isArray(stored) ? stored.map(String) : []
}

function readFrom(spec: OptionSpec<unknown>, source: OptionSource, name: string, textsOf: () => readonly string[]): Resolved {
  try {
    const texts = textsOf()
    return { value: spec.read(texts), source, texts }
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== "usage") throw error
    throw new CliError("usage", `${name}: ${messageOf(error)}`, { hint: error.hint, cause: error })
  }
}
