import { Option, type Command } from "commander"
import { CliError, messageOf } from "../errors.js"
import { quoted } from "../exact-text.js"
import { keyOf, storedTexts, type OptionFile } from "./option-file.js"
import { longFlag, type OptionSpec, type OptionTable, type OptionValues } from "./option-spec.js"

/** Where a value came from. */
export type OptionSource = "flag" | "env" | "file" | "default"

/** The value of one option and where it came from. */
export interface ResolvedOption {
  readonly spec: OptionSpec<unknown>
  readonly value: unknown
  readonly source: OptionSource
  /** The flag, the variable or the file that gave it. */
  readonly from: string | undefined
  /** What it was read from, as it stood there; none for a flag without a value and for a default. */
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
  /** How messages name an option, by where its value came from: `--port`, `MQTT_BROKER_PORT` or `port in "b.toml"`. */
  readonly nameOf: (key: keyof Table) => string
  /** All of them, in the order of the table. */
  readonly all: readonly ResolvedOption[]
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
 * The values of a parsed command's options: flag, then environment, then file, then default. An empty environment variable counts as
 * absent. Throws a usage error that names the flag, the variable, or the file and its key.
 */
export function resolveOptions<Table extends OptionTable>(
  command: Command,
  table: Table,
  { env = process.env, file }: OptionSources = {},
): ResolvedOptions<Table> {
  const all = new Map<keyof Table, ResolvedOption>(
    Object.entries(table).map(([key, spec]) => [key, resolveOne(command, spec, { env, file })]),
  )
  const values = Object.fromEntries([...all].map(([key, { value }]) => [key, value]))
  const source = (key: keyof Table): OptionSource => all.get(key)?.source ?? "default"
  return {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each key was just read by the spec that declares its type
    values: values as OptionValues<Table>,
    source,
    given: (key) => source(key) !== "default",
    nameOf: (key) => {
      const { spec, source: where, from } = all.get(key) ?? { source: "default" }
      if (spec === undefined) return String(key)
      return where === "default" || from === undefined ? longFlag(spec) : where === "file" ? placeIn(from, spec) : from
    },
    all: [...all.values()],
    places: (key) => {
      const spec = table[key]
      return spec === undefined ? [] : storedFor(command, spec).map(({ place }) => place)
    },
  }
}

function resolveOne(command: Command, spec: OptionSpec<unknown>, { env, file }: OptionSources): ResolvedOption {
  const inFile = file && storedOption(spec, file) // read in any case: a file is right or wrong as a whole
  const attribute = new Option(spec.flags).attributeName()
  if (command.getOptionValueSource(attribute) === "cli") {
    const texts = storedFor(command, spec).map((one) => one.text)
    return { spec, value: readFrom(longFlag(spec), () => spec.read(texts)), source: "flag", from: longFlag(spec), texts }
  }
  const text = spec.env === undefined ? undefined : env?.[spec.env]
  if (spec.env !== undefined && text !== undefined && text !== "")
    return { spec, value: readFrom(spec.env, () => spec.read([text])), source: "env", from: spec.env, texts: [text] }
  return inFile ?? { spec, value: spec.fallback, source: "default", from: undefined, texts: [] }
}

function storedOption(spec: OptionSpec<unknown>, { name, values }: OptionFile): ResolvedOption | undefined {
  const stored = values.get(keyOf(spec))
  if (stored === undefined) return undefined
  return readFrom(placeIn(name, spec), () => {
    const texts = storedTexts(spec, stored)
    return { spec, value: spec.read(texts), source: "file", from: name, texts }
  })
}

function placeIn(file: string, spec: OptionSpec<unknown>): string {
  return `${keyOf(spec)} in ${quoted(file)}`
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

function readFrom<T>(name: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== "usage") throw error
    throw new CliError("usage", `${name}: ${messageOf(error)}`, { hint: error.hint, cause: error })
  }
}
