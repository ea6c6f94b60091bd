import { Option, type Command } from "commander"
import { CliError, messageOf } from "../errors.js"
import { parseBoolean } from "../parsers.js"
import { longFlag, type OptionSpec, type OptionTable, type OptionValues } from "./option-spec.js"

/** Where a value came from. */
export type OptionSource = "flag" | "env" | "default"

/** A command's resolved options. */
export interface ResolvedOptions<Table extends OptionTable> {
  readonly values: OptionValues<Table>
  /** Where the value of an option came from. */
  readonly source: (key: keyof Table) => OptionSource
  /** True when a flag or the environment gave the option. */
  readonly given: (key: keyof Table) => boolean
  /** For each value that the command line gave to an option: its place among those of all options. */
  readonly places: (key: keyof Table) => readonly number[]
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
 * The values of a parsed command's options: flag, then environment, then default. An empty environment variable counts as absent.
 * Throws a usage error that names the flag or the variable.
 */
export function resolveOptions<Table extends OptionTable>(
  command: Command,
  table: Table,
  env: NodeJS.ProcessEnv = process.env,
): ResolvedOptions<Table> {
  const values: Record<string, unknown> = {}
  const sources = new Map<keyof Table, OptionSource>()
  for (const [key, spec] of Object.entries(table)) {
    const [value, source] = resolveOne(command, spec, env)
    values[key] = value
    sources.set(key, source)
  }
  const source = (key: keyof Table): OptionSource => sources.get(key) ?? "default"
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each key was just read by the spec that declares its type
  const resolved = values as OptionValues<Table>
  const places = (key: keyof Table): number[] => {
    const spec = table[key]
    return spec === undefined ? [] : storedFor(command, spec).map(({ place }) => place)
  }
  return { values: resolved, source, given: (key) => source(key) !== "default", places }
}

function resolveOne(command: Command, spec: OptionSpec<unknown>, env: NodeJS.ProcessEnv): [unknown, OptionSource] {
  const attribute = new Option(spec.flags).attributeName()
  if (command.getOptionValueSource(attribute) === "cli") {
    return [
      readFrom(
        spec,
        longFlag(spec),
        storedFor(command, spec).map(({ text }) => text),
      ),
      "flag",
    ]
  }
  const text = spec.env === undefined ? undefined : env[spec.env]
  if (spec.env === undefined || text === undefined || text === "") return [spec.fallback, "default"]
  if (spec.kind !== "flag") return [readFrom(spec, spec.env, [text]), "env"]
  return readFrom({ read: () => parseBoolean(text) }, spec.env, []) === true ? [true, "env"] : [spec.fallback, "default"]
}

/** One value of the command line. */
class Given {
  private static count = 0
  readonly place = (Given.count += 1)

  constructor(readonly text: string) {}
}

function collect(text: string, previous: unknown): Given[] {
  return [...collected(previous), new Given(text)]
}

/** What {@link collect} gathered; commander puts `true` there for an optional value that was left out. */
function collected(stored: unknown): Given[] {
  return Array.isArray(stored) ? stored.filter((one) => one instanceof Given) : []
}

function storedFor(command: Command, spec: OptionSpec<unknown>): Given[] {
  return collected(command.getOptionValue(new Option(spec.flags).attributeName()))
}

function readFrom(spec: Pick<OptionSpec<unknown>, "read">, name: string, texts: readonly string[]): unknown {
  try {
    return spec.read(texts)
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== "usage") throw error
    throw new CliError("usage", `${name}: ${messageOf(error)}`, { hint: error.hint, cause: error })
  }
}
