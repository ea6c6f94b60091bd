import { readFile } from "node:fs/promises"
import {
  keyOf,
  messageOf,
  type OptionFile,
  type OptionSpec,
  type OptionTable,
  parseExact,
  quoted,
  type ResolvedOptions,
  resolveOptions,
  suggestOption,
  systemCode,
  usageError,
  value,
} from "@mqtt-trio/common"
import type { Command } from "commander"

/** The option of commands whose other options may stand in a file. */
export const CONFIG_OPTION = value({
  flags: "--config <file>",
  help: "TOML file with these options: port = 1883; flags and environment come first",
  group: "Configuration",
  env: "MQTT_BROKER_CONFIG",
  parse: parseExact,
})

/** Refusals of the system in words. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this user may not read it",
  EISDIR: "it is a folder",
}

/** What the library says about a text that has no quotes. */
const BARE_TEXT = /^(invalid value|illegal (leading zero|character in numeric)|invalid date)/

/** A command's options: flag, then environment, then the file of `--config`, then default. Throws a usage error. */
export async function resolveWithFile<Table extends OptionTable & { readonly config: OptionSpec<string | undefined> }>(
  command: Command,
  table: Table,
): Promise<ResolvedOptions<Table>> {
  const { config: path } = resolveOptions(command, { config: CONFIG_OPTION }).values
  if (path === undefined) return resolveOptions(command, table)
  const { config: _config, ...allowed } = table
  return resolveOptions(command, table, { file: await readOptionFile(path, allowed) })
}

/** Reads a TOML file whose keys are options of the table. Its errors show of the file only the key that is wrong. */
async function readOptionFile(path: string, table: OptionTable): Promise<OptionFile> {
  const values = new Map(Object.entries(await parseToml(path, await readText(path))))
  const known = new Set(Object.values(table).map(keyOf))
  const unknown = [...values.keys()].find((key) => !known.has(key))
  if (unknown === undefined) return { name: path, values }
  const keys = "keys are the long options of --help, without the dashes"
  const hint = isTable(values.get(unknown))
    ? `there are no tables here: ${keys}`
    : (suggestOption(`--${unknown}`, table)?.replaceAll("--", "") ?? keys)
  throw usageError(`unknown key ${quoted(unknown)} in ${quoted(path)}`, hint)
}

/** A table, or an array of them. */
function isTable(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(isTable)
  return typeof value === "object" && value !== null && !(value instanceof Date)
}

/** A configuration file as text. Throws a usage error. */
export async function readText(path: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path))
  } catch (error) {
    const code = systemCode(error) ?? ""
    const reason = code === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "it is not UTF-8 text" : (REASONS[code] ?? messageOf(error))
    throw usageError(`the configuration file ${quoted(path)} cannot be read: ${reason}`)
  }
}

async function parseToml(path: string, text: string): Promise<object> {
  const { parse, TomlError } = await import("smol-toml")
  try {
    return parse(text, { integersAsBigInt: true })
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    // behind the first line the library shows the lines around, which may be secret
    const [reason = ""] = error.message.replace("Invalid TOML document: ", "").split("\n")
    const hint = BARE_TEXT.test(reason) ? 'a text stands in quotes: max-queue = "1GB"' : undefined
    throw usageError(`${quoted(path)} is not TOML in line ${error.line}, column ${error.column}: ${reason}`, hint)
  }
}

/** Values as such a file. */
export async function toToml(values: Readonly<Record<string, string | number | boolean | readonly string[]>>): Promise<string> {
  const { stringify } = await import("smol-toml")
  return `${stringify(values).trimEnd()}\n`
}
