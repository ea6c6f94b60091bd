import { realpathSync } from "node:fs"
import { join } from "node:path"
import { applyOptions, flag, helpText, jsonLine, type OptionValues, quoted, resolveOptions, writeOut } from "@mqtt-trio/common"
import type { Command } from "commander"
import { storeOption } from "./store-folder.js"

export const COMPACT_OPTIONS = {
  json: flag({ flags: "--json", help: "the sizes as a JSON object", group: "Output" }),
  store: storeOption("the store, which no broker uses: file:DIR"),
} as const

const HELP = {
  name: "mqtt-broker compact",
  summary: "Gives the space of what was removed from a store back. The broker does it when it starts and most of a large file is free.",
  usage: "[options]",
  examples: [
    ["mqtt-broker compact", "the store in this user's data folder"],
    ["mqtt-broker compact --store file:./queues", "another one"],
  ],
} as const

export function registerCompact(program: Command): void {
  const command = program.command("compact").description("give the space of removed messages back")
  command.configureHelp({ formatHelp: () => helpText(HELP, COMPACT_OPTIONS) })
  applyOptions(command, COMPACT_OPTIONS)
  command.action(async () => runCompact(resolveOptions(command, COMPACT_OPTIONS).values))
}

/** Compacts a store that no broker uses, and says what it took before and after. */
export async function runCompact({ store, json }: OptionValues<typeof COMPACT_OPTIONS>): Promise<void> {
  const [{ checkFile }, { compact }, { DATABASE }, { withFolder }] = await Promise.all([
    import("../stores/check-file.js"),
    import("../stores/compact.js"),
    import("../stores/folder.js"),
    import("./offline.js"),
  ])
  const { before, after } = await withFolder(store, async () => {
    const path = realpathSync.native(store)
    const size = checkFile(join(path, DATABASE))
    if (!size) throw new Error("there is no store in it")
    return { before: size.bytes, after: await compact(path, size) }
  })
  await writeOut(
    json ? `${jsonLine({ folder: store, before, after })}\n` : `${quoted(store)} took ${before} bytes, and takes ${after} now\n`,
  )
}
