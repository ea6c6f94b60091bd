import {
  createProgram,
  ERRORS,
  exactArguments,
  exactEnvironment,
  hasForeignBytes,
  helpText,
  packageVersion,
  quoted,
  runMain,
  runProgram,
  usageError,
} from "@mqtt-trio/common"
import { registerAcl } from "./commands/acl.js"
import { registerBackup } from "./commands/backup.js"
import { registerCert } from "./commands/cert.js"
import { registerCheck } from "./commands/check.js"
import { registerCompact } from "./commands/compact.js"
import { registerConfig } from "./commands/config.js"
import { registerQueue } from "./commands/queue.js"
import { registerRepair } from "./commands/repair.js"
import { registerStart } from "./commands/start.js"
import { registerTorture } from "./commands/torture.js"
import { registerUser } from "./commands/user.js"

const HELP = {
  name: "mqtt-broker",
  summary: "An MQTT broker that keeps order and loses nothing that was acknowledged.",
  usage: "<command> [options]",
  examples: [
    ["mqtt-broker start", "listen on port 5112 of this machine, keep queues on disk"],
    ["mqtt-broker start --port 1883 --store memory:", "another port, nothing kept"],
    ["mqtt-broker check --config broker.toml", "what a configuration file says, and what is odd about it"],
    ["mqtt-broker queue cli_sub", "what waits for the session cli_sub"],
    ["mqtt-broker backup ./copy", "a copy of the store, while the broker runs"],
    ["mqtt-broker torture", "kill the broker again and again, and count what was lost"],
  ],
  footer: [
    "Commands: start, check, cert, config, user, acl, queue, backup, repair, compact, torture. mqtt-broker <command> -h lists a command's options.",
  ],
} as const

await runMain(async () => {
  const program = createProgram(HELP, {}, packageVersion(new URL("../package.json", import.meta.url))).helpOption(
    "-h, --help",
    "print this help",
  )
  registerStart(program)
  registerCheck(program)
  registerCert(program)
  registerConfig(program)
  registerUser(program)
  registerQueue(program)
  registerBackup(program)
  registerRepair(program)
  registerCompact(program)
  let exitCode = 0
  const done = (code: number): void => {
    exitCode = code
  }
  registerAcl(program, done)
  registerTorture(program, done)
  const args = exactArguments()
  refuseForeignBytes(args)
  if (!args.length) {
    process.stderr.write(helpText(HELP, {}))
    return ERRORS.usage.exitCode
  }
  await runProgram(program, args)
  return exitCode
})

/** Throws a usage error for bytes that are not UTF-8, which would become another name: of a file, a user or a client. */
function refuseForeignBytes(args: readonly string[]): void {
  const variables = Object.entries(exactEnvironment()).filter(([name]) => name.startsWith("MQTT_BROKER_"))
  const named = [...args.map((text) => ["the argument", text] as const), ...variables.map(([name, text]) => [`${name}:`, text] as const)]
  for (const [what, text = ""] of named) if (hasForeignBytes(text)) throw usageError(`${what} ${quoted(text)} is not UTF-8 text`)
}
