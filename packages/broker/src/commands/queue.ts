import {
  applyOptions,
  counted,
  escapeLine,
  flag,
  helpText,
  integer,
  jsonLine,
  type OptionValues,
  resolveOptions,
  value,
  writeOut,
} from "@mqtt-trio/common"
import type { Command } from "commander"
import type { AdminReply, QueueRecord } from "../admin/protocol.js"
import { adminFolder, RUNNING_STORE } from "./store-folder.js"

export const QUEUE_OPTIONS = {
  peek: value({
    flags: "--peek <n>",
    help: "how many records to show, from the oldest on",
    group: "Output",
    parse: integer("the number of records", 0, 1_000_000),
    fallback: 20,
  }),
  json: flag({ flags: "--json", help: "one JSON object a line", group: "Output" }),
  store: RUNNING_STORE,
} as const

const HELP = {
  name: "mqtt-broker queue",
  summary: "Shows what waits for a session, a record a line from the oldest on, asked from the running broker.",
  usage: "<client> [options]",
  examples: [
    ["mqtt-broker queue cli_sub", "the first 20 messages that wait for cli_sub"],
    ["mqtt-broker queue cli_sub --peek 1000 --json", "more of them, for a program"],
  ],
} as const

export function registerQueue(program: Command): void {
  const command = program.command("queue <client>").description("show what waits for a session")
  command.configureHelp({ formatHelp: () => helpText(HELP, QUEUE_OPTIONS) })
  applyOptions(command, QUEUE_OPTIONS)
  command.action(async (client: string) => runQueue(client, resolveOptions(command, QUEUE_OPTIONS).values))
}

/** Prints what waits for a Session, a record a line, asked from the running broker. */
export async function runQueue(clientId: string, options: OptionValues<typeof QUEUE_OPTIONS>): Promise<void> {
  const { ask } = await import("../admin/client.js")
  let shown = 0
  let messages = 0
  const { store, peek } = options
  const url = store.kind === "mongodb" ? store.shown : undefined
  for await (const reply of ask(await adminFolder(store), { command: "queue", clientId, peek }, url)) {
    if (reply.type === "record") shown++
    if (reply.type === "session") messages = reply.messages
    const line = options.json ? jsonLine(reply.type === "record" ? reply.record : reply) : text(reply)
    const toData = options.json || reply.type === "record"
    if (!toData) process.stderr.write(`${line}\n`)
    else if (!(await writeOut(`${line}\n`))) return
  }
  if (!options.json && shown < messages && shown === options.peek) process.stderr.write(`… and more; --peek ${messages} shows all\n`)
}

function text(reply: AdminReply): string {
  if (reply.type === "record") return recordLine(reply.record)
  if (reply.type !== "session") return ""
  const state = reply.connected ? "connected" : `away since ${reply.disconnectedAt ?? "the broker started"}`
  return escapeLine(
    `${reply.clientId}: ${reply.exact ? "" : "at least "}${counted(reply.messages, "message")} (${counted(reply.bytes, "byte")}) ${reply.messages === 1 ? "waits" : "wait"}, ${state}`,
  )
}

function recordLine(record: QueueRecord): string {
  const payload = record.payloadEncoding === "utf8" ? record.payload : `base64:${record.payload}`
  const flags = [
    `qos ${record.qos}`,
    ...(record.inFlight ? ["in flight"] : []),
    ...(record.expiresInSeconds === null ? [] : [`expires in ${record.expiresInSeconds} s`]),
  ]
  return escapeLine(`${record.accepted}  ${record.topic}  ${flags.join(", ")}  ${payload}`)
}
