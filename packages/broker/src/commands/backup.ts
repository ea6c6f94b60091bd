import { resolve } from "node:path"
import {
  applyOptions,
  counted,
  flag,
  helpText,
  jsonLine,
  messageOf,
  type OptionValues,
  quoted,
  resolveOptions,
  writeOut,
} from "@mqtt-trio/common"
import type { Command } from "commander"
import { BrokerError } from "../errors.js"
import type { Contents } from "../stores/inspect.js"
import { contentsInWords } from "./contents.js"
import { storeOption } from "./store-folder.js"

export const BACKUP_OPTIONS = {
  json: flag({ flags: "--json", help: "what is in the copy as a JSON object", group: "Output" }),
  store: storeOption("the running broker's store: file:DIR"),
} as const

const HELP = {
  name: "mqtt-broker backup",
  summary: "Copies the store of the running broker to a new or empty folder. What was acknowledged before is in it.",
  usage: "<folder> [options]",
  examples: [
    ["mqtt-broker backup ./copy", "the store in this user's data folder"],
    ["mqtt-broker start --store file:./copy", "a broker on the copy"],
  ],
} as const

export function registerBackup(program: Command): void {
  const command = program.command("backup <folder>").description("copy the store of the running broker")
  command.configureHelp({ formatHelp: () => helpText(HELP, BACKUP_OPTIONS) })
  applyOptions(command, BACKUP_OPTIONS)
  command.action(async (folder: string) => runBackup(folder, resolveOptions(command, BACKUP_OPTIONS).values))
}

/** Lets the running broker copy its store, reads the copy whole, and says what is in it. */
export async function runBackup(folder: string, { store, json }: OptionValues<typeof BACKUP_OPTIONS>): Promise<void> {
  const [{ ask }, { inspectStore }] = await Promise.all([import("../admin/client.js"), import("../stores/inspect.js")])
  const place = resolve(folder)
  try {
    for await (const _ of ask(store, { command: "backup", folder: place }));
  } catch (error) {
    throw error instanceof BrokerError && error.code === "no-broker" ? withoutBroker(error, store) : error
  }
  const contents = inspected(place, inspectStore)
  if (contents.damaged)
    process.stderr.write(
      `${counted(contents.damaged, "row")} of messages were damaged before, and are so in the copy; they are not counted\n`,
    )
  await writeOut(`${json ? jsonLine({ folder: place, ...contents }) : `copied to ${quoted(place)}: ${contentsInWords(contents)}`}\n`)
}

function inspected(place: string, inspect: (folder: string) => Contents): Contents {
  try {
    return inspect(place)
  } catch (error) {
    throw new BrokerError("store-unusable", `the copy in ${quoted(place)} cannot be used: ${messageOf(error)}`, { cause: error })
  }
}

/** A folder that nobody uses may be copied as any other one. */
function withoutBroker(error: BrokerError, store: string): BrokerError {
  return new BrokerError("no-broker", error.message, {
    hint: `while none does, ${quoted(store)} may be copied like any folder`,
    cause: error,
  })
}
