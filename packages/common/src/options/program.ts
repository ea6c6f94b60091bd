import { Command, CommanderError } from "commander"
import { usageError } from "../errors.js"
import { writeOut } from "../output.js"
import { applyOptions } from "./apply-options.js"
import { helpText, type CommandHelp } from "./help.js"
import type { OptionTable } from "./option-spec.js"

/** Help and version as commander prints them: written at the end, so that a failure is noticed. */
const printed: string[] = []

/** A commander program whose `--help` comes from `help` and `table`, and which throws instead of printing errors or ending the process. */
export function createProgram(help: CommandHelp, table: OptionTable, version: string): Command {
  const program = prepareCommand(new Command(help.name))
  program.version(version, "--version", "print the version")
  program.configureHelp({ formatHelp: () => helpText(help, table) })
  return applyOptions(program, table)
}

/** Makes a command throw instead of ending the process; commands made with `.command()` inherit it. */
export function prepareCommand(command: Command): Command {
  return command
    .exitOverride()
    .configureOutput({ writeOut: (text) => printed.push(text), writeErr: () => undefined })
    .helpOption("--help", "print this help")
    .showSuggestionAfterError(true)
}

/**
 * Parses `args` (without node and script) and runs the action that matches. Help and version print to stdout and count as done.
 * Throws a usage error (exit code 2) for a command line that commander cannot understand.
 */
export async function runProgram(program: Command, args: readonly string[]): Promise<void> {
  try {
    await program.parseAsync([...args], { from: "user" })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) {
      await writeOut(printed.splice(0).join(""))
      return
    }
    const [message, suggestion] = parts(error)
    throw usageError(message, suggestion ?? `see ${commandNamed(program, args)} --help`)
  }
}

/** What somebody meant who wrote a long flag that is not in the table: `Did you mean --port?`; undefined when nothing is like it. */
export function suggestOption(flag: string, table: OptionTable): string | undefined {
  try {
    const silent = new Command()
      .exitOverride()
      .helpOption(false)
      .configureOutput({ writeErr: () => undefined })
    applyOptions(silent, table).parse([flag], { from: "user" })
  } catch (error) {
    if (error instanceof CommanderError) return parts(error)[1]
    throw error
  }
  return undefined
}

/** What commander says, and what it suggests where that is likely. The argument in it may have line feeds too. */
function parts({ message }: CommanderError): [message: string, suggestion: string | undefined] {
  const [, first = "", suggestion = ""] = /^(?:error: )?([^]*?)(?:\n\((Did you mean [^]*)\))?$/.exec(message) ?? []
  return [first, isAlike(first, suggestion) ? suggestion : undefined]
}

/** The program, with the command that the arguments name. */
function commandNamed(program: Command, args: readonly string[]): string {
  const command = program.commands.find((candidate) => candidate.name() === args[0])
  return command === undefined ? program.name() : `${program.name()} ${command.name()}`
}

/** Throws a usage error for a topic such as `-0` in the command line `args`: commander takes that for a number. After `--` it is a topic. */
export function refuseOption(topic: string, args: readonly string[]): void {
  if (topic.startsWith("-") && !args.includes("--")) throw usageError(`unknown option '${topic}'`, `if it is a topic: -t ${topic}`)
}

/** commander finds `--path` in `--watch`; who mistypes a word hits its first letter. */
function isAlike(message: string, suggestion: string): boolean {
  const [typed, meant] = [message, suggestion].map((text) => /(?:'-*|--|one of |mean )(\w)/.exec(text)?.[1])
  return typed !== undefined && typed === meant
}
