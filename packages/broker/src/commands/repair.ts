import { applyOptions, counted, flag, helpText, jsonLine, type OptionValues, quoted, resolveOptions, writeOut } from "@mqtt-trio/common"
import type { Command } from "commander"
import type { Missing, Repair, Repaired } from "../stores/repair/repair.js"
import { contentsInWords } from "./contents.js"
import { storeOption } from "./store-folder.js"

export const REPAIR_OPTIONS = {
  json: flag({ flags: "--json", help: "what was done as a JSON object", group: "Output" }),
  store: storeOption("the damaged store, which no broker uses: file:DIR"),
} as const

const HELP = {
  name: "mqtt-broker repair",
  summary: "Makes a store that starts of what is intact in a damaged one, and says what is missing. The files that were there are kept.",
  usage: "[options]",
  examples: [
    ["mqtt-broker repair", "the store in this user's data folder"],
    ["mqtt-broker repair --store file:./queues --json", "another one, for a program"],
  ],
} as const

export function registerRepair(program: Command): void {
  const command = program.command("repair").description("go on with what is intact in a damaged store")
  command.configureHelp({ formatHelp: () => helpText(HELP, REPAIR_OPTIONS) })
  applyOptions(command, REPAIR_OPTIONS)
  command.action(async () => runRepair(resolveOptions(command, REPAIR_OPTIONS).values))
}

/** Repairs a store that no broker uses, and says what it has and what is missing. */
export async function runRepair({ store, json }: OptionValues<typeof REPAIR_OPTIONS>): Promise<void> {
  const [{ repairStore }, { withFolder }] = await Promise.all([import("../stores/repair/repair.js"), import("./offline.js")])
  const repair = await withFolder(store, () => repairStore(store))
  await writeOut(json ? `${jsonLine({ folder: store, ...repair })}\n` : inWords(store, repair))
}

function inWords(folder: string, { contents, repaired }: Repair): string {
  if (!repaired) return `nothing in ${quoted(folder)} is damaged: ${contentsInWords(contents)}\n`
  return [
    `what was wrong: ${repaired.reason}`,
    `the store has now: ${contentsInWords(contents)}`,
    ...missingInWords(repaired),
    aside(repaired),
  ]
    .map((line) => `${line}\n`)
    .join("")
}

function aside({ aside: kept }: Repaired): string {
  return `the files that were there are in ${quoted(kept)}; remove it when you do not need it any more`
}

function missingInWords({ missing }: Repaired): string[] {
  if (!missing) return ["what is missing was said by the repair that was interrupted, if it came so far"]
  const lines = [`missing: ${lostRows(missing)}`]
  if (missing.messages)
    lines.push(`missing between others: ${counted(missing.messages, "queued message")} of ${counted(missing.logs, "log")}`)
  if (missing.commits) lines.push(`missing in the journal: ${counted(missing.commits, "commit")}`)
  if (missing.places)
    lines.push(
      `${counted(missing.places, "session")} lost the place in the queue: what is stored comes again from the beginning, with DUP 1`,
    )
  if (missing.mayBeOld) lines.push("what says which parts of the file are free is damaged: things that were removed before may be back")
  return lines
}

function lostRows({ sessions, subscriptions, retained, wills, blocks }: Missing): string {
  if (sessions === undefined) return "nobody knows how much, what says how much there was is damaged"
  const counts = [
    [sessions, "session"],
    [subscriptions, "subscription"],
    [blocks, "block"],
    [retained, "retained message"],
    [wills, "Will"],
  ] as const
  const lost = counts.flatMap(([n, what]) => (n ? [what === "block" ? `${counted(n, what)} of queued messages` : counted(n, what)] : []))
  return lost.length ? lost.join(", ") : "nothing that is known of"
}
