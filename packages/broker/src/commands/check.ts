import {
  applyOptions,
  createDiagnostics,
  defaultOf,
  escapeLine,
  flag,
  helpText,
  jsonLine,
  keyOf,
  type OptionSource,
  type OptionValues,
  type ResolvedOption,
  type ResolvedOptions,
  type Target,
  writeOut,
} from "@mqtt-trio/common"
import type { Command } from "commander"
import { readAclFile } from "../access/acl-file.js"
import { readPasswordFile } from "../access/password-file.js"
import { readTlsFiles } from "../server/listeners/tls-files.js"
import { isLocal, isLoopback } from "../server/loopback.js"
import { storeUrl } from "../stores/store-url.js"
import { resolveWithFile } from "./config-file.js"
import { checkStart, isOpen, START_OPTIONS, type StartOptions } from "./start.js"

/** Its own option; the others are those of `mqtt-broker start`. */
export const CHECK_OPTIONS = {
  json: flag({ flags: "--json", help: "one JSON object", group: "Output" }),
} as const

const HELP = {
  name: "mqtt-broker check",
  summary: "Reads the options of mqtt-broker start as it does, starts nothing, and prints each value and where it came from.",
  usage: "[options of mqtt-broker start]",
  examples: [
    ["mqtt-broker check --config broker.toml", "what a broker with this file would do"],
    ["mqtt-broker check --config broker.toml --json", "the same, for a program"],
  ],
  footer: ["Exit code 0: mqtt-broker start takes these options; what is odd about them is said on stderr. 2: it does not."],
} as const

/** One option in the answer. */
interface Row {
  readonly option: string
  /** What the broker understood; a number of bytes or milliseconds where it is a size or a time, of a second where it is a rate. */
  readonly value: unknown
  readonly source: OptionSource
  /** The flag, the variable or the file. */
  readonly from: string | null
  /** As it stood there. */
  readonly text: string
}

export function registerCheck(program: Command): void {
  const command = program.command("check").description("look over the options of start")
  const table = { ...START_OPTIONS, ...CHECK_OPTIONS }
  command.configureHelp({ formatHelp: () => helpText(HELP, table) })
  applyOptions(command, table)
  command.action(async () => {
    const json = command.getOptionValueSource("json") === "cli"
    command.setOptionValue("json", undefined) // it says how this command prints, not how start would
    await runCheck(await resolveWithFile(command, START_OPTIONS), { json })
  })
}

/** Prints the options of `start` and what is odd about them. Throws what `start` would throw. */
export async function runCheck(
  resolved: ResolvedOptions<typeof START_OPTIONS>,
  { json }: OptionValues<typeof CHECK_OPTIONS>,
): Promise<void> {
  const { targets, tls } = checkStart(resolved)
  if (tls) readTlsFiles(tls)
  const { passwordFile, aclFile } = resolved.values
  if (passwordFile !== undefined) readPasswordFile(passwordFile)
  if (aclFile !== undefined) readAclFile(aclFile)
  const rows = resolved.all.map((option) => rowOf(option, resolved.values))
  const warnings = oddities(resolved.values, targets)
  if (json) return void (await writeOut(`${jsonLine({ options: rows, warnings })}\n`))
  const widths = [Math.max(...rows.map(({ option }) => option.length)), Math.max(...rows.map(({ text }) => text.length))] as const
  const lines = rows.map(({ option, text, from }) => `${option.padEnd(widths[0])}  ${text.padEnd(widths[1])}  ${from ?? "default"}`)
  await writeOut(`${lines.map(escapeLine).join("\n")}\n`)
  const diagnostics = createDiagnostics()
  for (const warning of warnings) diagnostics.warn(warning)
}

function rowOf({ spec, value, source, from, texts }: ResolvedOption, { store }: StartOptions): Row {
  const plain = value === store ? storeUrl(store) : value
  const given = spec.kind === "flag" || value === store ? undefined : texts.length > 0 ? texts.join(", ") : defaultOf(spec)
  return { option: keyOf(spec), value: plain ?? null, source, from: from ?? null, text: given ?? shown(plain) }
}

function shown(value: unknown): string {
  return typeof value === "string" || typeof value === "boolean" ? String(value) : "none"
}

function placeOf(target: Target): string {
  return JSON.stringify(target.kind === "tcp" ? target.host : target.path)
}

/** From here on some clients take a broker that does not answer for one that is gone. */
const LONG_PAUSE_SECONDS = 10

/** What is allowed and seldom meant. */
function oddities(options: StartOptions, targets: readonly Target[]): string[] {
  const { maxRate = Infinity, maxByteRate = Infinity } = options
  const {
    anonymous,
    passwordFile,
    aclFile,
    store,
    maxPacket,
    maxQueue,
    maxRetained,
    maxRetainedSize,
    maxSessions,
    maxConnections,
    logLevel,
  } = options
  const found: [boolean, string][] = [
    ...targets.map((target): [boolean, string] => [
      !isLocal(target) && isOpen(target, options),
      `everybody who reaches ${placeOf(target)} may connect, read and publish, without a password`,
    ]),
    ...targets.map((target): [boolean, string] => [
      !isLocal(target) && !isOpen(target, options) && target.kind === "tcp" && !target.tls,
      `passwords travel to ${placeOf(target)} as they are, for everybody on the way to read: mqtts: and wss: hide them`,
    ]),
    [
      aclFile !== undefined && passwordFile === undefined && !options.tlsUser,
      "acl-file without password-file: everybody is anonymous, so only the rules before its first user line count",
    ],
    [
      anonymous && !passwordFile && targets.every(isLocal),
      `anonymous changes nothing: only this machine reaches ${targets.map(placeOf).join(", ")}`,
    ],
    [
      targets.some((target) => target.kind === "tcp" && target.port === 0),
      "port 0: at each start another one, that clients have to be told",
    ],
    [store.kind === "memory", "store memory: nothing survives the broker"],
    [maxQueue < maxPacket, "max-queue is less than max-packet: a message that is accepted may find no room in any queue"],
    [
      maxRetained > 0 && maxRetainedSize < maxPacket,
      "max-retained-size is less than max-packet: a message that is accepted may never be retained",
    ],
    [maxSessions < maxConnections, "max-sessions is less than max-connections: each connection needs a session, so fewer can connect"],
    [maxRate < 1, "max-rate is less than one message a second: a client that sends two waits longer for the answer than most do"],
    [
      maxPacket / maxByteRate > LONG_PAUSE_SECONDS,
      `max-byte-rate is little for max-packet: behind the largest packet a client is not read for ${Math.round(maxPacket / maxByteRate)} s, its pings included`,
    ],
    [
      (options.maxConnectionsPerAddress ?? 0) >= maxConnections,
      "max-connections-per-address is not less than max-connections: one address may take them all",
    ],
    [
      options.proxyProtocol.some(({ bits }) => bits === 0),
      "proxy-protocol of 0 bits: whoever connects may say that it comes from anywhere",
    ],
    [
      options.proxyProtocol.length > 0 &&
        targets.every(isLocal) &&
        !options.proxyProtocol.some(({ address, bits }) => bits === 0 || isLoopback(address)),
      "proxy-protocol changes nothing: none of its addresses is this machine's, which alone reaches the broker",
    ],
    [logLevel === "silent", "log-level silent: nobody learns what was dropped"],
  ]
  return found.filter(([odd]) => odd).map(([, text]) => text)
}
