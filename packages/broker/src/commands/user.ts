import { existsSync } from "node:fs"
import {
  applyOptions,
  askPassword,
  createDiagnostics,
  escapeLine,
  flag,
  helpText,
  integer,
  jsonLine,
  messageOf,
  oneOf,
  type OptionValues,
  passwordFromFile,
  quoted,
  resolveOptions,
  usageError,
  value,
  writeOut,
} from "@mqtt-trio/common"
import type { Command } from "commander"
import { addUser, changeUser, removeUser } from "../access/users/password-edits.js"
import { hashPassword, ITERATIONS, MOST_ITERATIONS, type PasswordHash } from "../access/users/password-hash.js"
import { readContent } from "../access/users/password-file.js"
import { accountsOf, nameProblem } from "../access/users/password-lines.js"
import { replaceFile } from "../access/replace-file.js"
import { PASSWORD_FILE_OPTION } from "./access-options.js"

const ACTIONS = ["add", "passwd", "remove", "list"] as const

export const USER_OPTIONS = {
  passwordFile: PASSWORD_FILE_OPTION,
  iterations: value({
    flags: "--iterations <n>",
    help: "of PBKDF2 with SHA-512: how long a password takes to try, here and in the broker",
    group: "Users and rights",
    parse: integer("the number of iterations", 1, MOST_ITERATIONS),
    fallback: ITERATIONS,
  }),
  json: flag({ flags: "--json", help: "one JSON object a line", group: "Output" }),
} as const

const HELP = {
  name: "mqtt-broker user",
  summary: "Adds and removes users of a password file, changes their passwords, and lists them. mosquitto reads the same file.",
  usage: `${ACTIONS.join("|")} [name] --password-file <file>`,
  examples: [
    ["mqtt-broker user add alice --password-file passwords", "asks for her password; makes the file if there is none"],
    ["mqtt-broker user list --password-file passwords", "the names, one a line"],
  ],
  footer: ["The password is asked for twice on a terminal; else it is the first line of stdin: … | mqtt-broker user passwd alice"],
} as const

export function registerUser(program: Command): void {
  const command = program.command(`user <${ACTIONS.join("|")}> [name]`).description("users of a password file")
  command.configureHelp({ formatHelp: () => helpText(HELP, USER_OPTIONS) })
  applyOptions(command, USER_OPTIONS)
  command.action(async (action: string, name?: string) => {
    const { values: options, given } = resolveOptions(command, USER_OPTIONS)
    await runUser({ action: oneOf("what user does", ACTIONS)(action), name, options, given })
  })
}

/** What the command line says. */
interface UserRequest {
  readonly action: (typeof ACTIONS)[number]
  readonly name: string | undefined
  readonly options: OptionValues<typeof USER_OPTIONS>
  readonly given: (key: keyof typeof USER_OPTIONS) => boolean
}

/** Does one action to a password file. Throws a usage error for what is missing or does not go together, and BrokerErrors. */
export async function runUser({ action, name, options, given }: UserRequest): Promise<void> {
  const file = options.passwordFile
  if (file === undefined) throw usageError(`user ${action} needs a password file`, "add --password-file FILE")
  const hashes = action === "add" || action === "passwd"
  if (given("json") && action !== "list") throw usageError(`--json does not belong to user ${action}`)
  if (given("iterations") && !hashes) throw usageError(`--iterations does not belong to user ${action}`)
  if (action === "list") await list(file, name, options.json)
  else await edit(action, file, { user: checkedName(action, name), iterations: options.iterations })
}

const EDITS = {
  add: { change: addUser, done: "was added to" },
  passwd: { change: changeUser, done: "has a new password in" },
  remove: { change: removeUser, done: "was removed from" },
} as const

async function edit(action: keyof typeof EDITS, file: string, { user, iterations }: { user: string; iterations: number }): Promise<void> {
  const { change, done } = EDITS[action]
  const before = action === "add" && !existsSync(file) ? Buffer.alloc(0) : readContent(file)
  change(before, { user, file, hash: "" }) // what cannot be done is said before a password is asked for
  const hash = action === "remove" ? "" : hashPassword(await newPassword(user), iterations)
  const after = await replaceFile(file, (content = Buffer.alloc(0)) => change(content, { user, file, hash }))
  process.stderr.write(`${escapeLine(`user ${quoted(user)} ${done} ${quoted(file)}`)}\n`)
  warnOfOthers(after, file)
}

async function list(file: string, name: string | undefined, json: boolean): Promise<void> {
  if (name !== undefined) throw usageError("user list takes no name", "it lists all users")
  const lines = Array.from(accountsOf(readContent(file), file), ([user, { hash }]) =>
    json ? jsonLine({ user, ...costsOf(hash) }) : escapeLine(user),
  )
  await writeOut(lines.map((line) => `${line}\n`).join(""))
}

/** How a password is hashed, without what comes out. */
function costsOf({ salt: _salt, digest: _digest, kind, ...costs }: PasswordHash): Record<string, unknown> {
  return { hash: kind, ...costs }
}

function checkedName(action: string, name: string | undefined): string {
  if (name === undefined)
    throw usageError(`user ${action} needs the name of a user`, `mqtt-broker user ${action} NAME --password-file FILE`)
  const problem = nameProblem(name)
  if (problem !== undefined) throw usageError(`${quoted(name)}: ${problem}`)
  return name
}

/** Asked for twice, where there is a terminal. */
async function newPassword(user: string): Promise<Buffer> {
  const password = process.stdin.isTTY ? await askPassword(`new password for ${quoted(user)}: `) : passwordFromFile("-")
  if (password.length === 0) throw usageError("the password is empty", "it is the first line of stdin, or asked for on a terminal")
  if (process.stdin.isTTY && !(await askPassword("the same again: ")).equals(password))
    throw usageError("the two passwords are not the same")
  return password
}

/** A file is changed whatever else is wrong with it: one line is mended after the other. */
function warnOfOthers(content: Buffer, file: string): void {
  try {
    accountsOf(content, file)
  } catch (error) {
    createDiagnostics().warn(`no broker would start with it yet: ${messageOf(error)}`)
  }
}
