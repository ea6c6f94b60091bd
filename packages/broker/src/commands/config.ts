import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { escapeLine, helpText, messageOf, oneOf, quoted, usageError, writeOut } from "@mqtt-trio/common"
import type { Command } from "commander"
import { readText, toToml } from "./config-file.js"
import { fromMosquitto } from "./from-mosquitto.js"
import type { MosquittoLine } from "./mosquitto-listeners.js"
import { START_OPTIONS } from "./start.js"

const HELP = {
  name: "mqtt-broker config from-mosquitto",
  summary: "Turns a mosquitto.conf into a configuration file of this broker on stdout; on stderr stands what has no counterpart.",
  usage: "<file>",
  examples: [
    ["mqtt-broker config from-mosquitto /etc/mosquitto/mosquitto.conf >broker.toml", "then read what it says on stderr"],
    ["mqtt-broker check --config broker.toml", "what a broker with it would do"],
  ],
} as const

export function registerConfig(program: Command): void {
  const command = program.command("config <from-mosquitto> <file>").description("turn a mosquitto.conf into one of this broker")
  command.configureHelp({ formatHelp: () => helpText(HELP, {}) })
  command.action(async (source: string, file: string) => {
    oneOf("what config does", ["from-mosquitto"])(source)
    await runFromMosquitto(file)
  })
}

/** Prints what a mosquitto.conf is here. Throws a usage error for a file that cannot be read. */
export async function runFromMosquitto(file: string): Promise<void> {
  const { values, left } = fromMosquitto(await readLines(file), START_OPTIONS)
  for (const line of left) process.stderr.write(`${escapeLine(line)}\n`)
  await writeOut(await toToml(values))
}

/** The lines that say something, those of an included folder in their place, in the order of the files' names. */
async function readLines(file: string, isIncluded = false): Promise<MosquittoLine[]> {
  const lines: MosquittoLine[] = []
  for (const [index, text] of (await readText(file)).split("\n").entries()) {
    const [, name = "", value = ""] = /^\s*([^\s#]\S*)\s*(.*?)\s*$/.exec(text) ?? []
    if (name === "include_dir" && !isIncluded)
      for (const included of await confFiles(value)) lines.push(...(await readLines(included, true)))
    else if (name !== "") lines.push({ at: `${file}:${index + 1}`, name, value })
  }
  return lines
}

async function confFiles(folder: string): Promise<string[]> {
  try {
    const names = (await readdir(folder)).filter((name) => name.endsWith(".conf"))
    return names.toSorted((a, b) => (a < b ? -1 : 1)).map((name) => join(folder, name))
  } catch (error) {
    throw usageError(`the included folder ${quoted(folder)} cannot be read: ${messageOf(error)}`)
  }
}
