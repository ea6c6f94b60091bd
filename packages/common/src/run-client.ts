import { exactArguments, exactEnvironment } from "./exact-text.js"
import { createDiagnostics, type Diagnostics } from "./diagnostics.js"
import { type ResolvedOptions, resolveOptions } from "./options/apply-options.js"
import { type CommandHelp, helpText } from "./options/help.js"
import { normalizeArguments } from "./options/normalize-arguments.js"
import type { OptionTable } from "./options/option-spec.js"
import { createProgram, runProgram } from "./options/program.js"
import { writeOut } from "./output.js"
import { runMain } from "./run-main.js"
import { connectionOptions } from "./settings/connection-options.js"
import { listenForStop, type Stop } from "./signals.js"
import { packageVersion } from "./version.js"

/** What tells one client command from another. */
export interface ClientCommand<Table extends OptionTable> {
  readonly help: CommandHelp
  /** its own options and those of the connection */
  readonly options: Table
  /** as commander declares arguments: `[topic]` */
  readonly arguments: readonly string[]
  /** the package.json that has its version */
  readonly manifest: URL
}

/** Where a client writes about itself, and what asks it to stop. */
export interface ClientIo {
  readonly diagnostics: Diagnostics
  readonly stop: Stop
}

/** What a client begins with. */
export interface ClientStart {
  readonly diagnostics: Diagnostics
  /** From here on signals ask for a graceful end. Before, while passwords and messages are read, they end the process as if nobody handled them. */
  readonly listenForStop: () => Stop
}

/** The command line. */
export interface ClientArguments {
  /** what is no option */
  readonly positional: readonly string[]
  /** all of it, each option and value by itself */
  readonly line: readonly string[]
}

const { host, quiet, debug, noColor } = connectionOptions
const GENERAL_OPTIONS = { host, quiet, debug, noColor }

/** The entry of mqtt-pub and mqtt-sub: reads the command line, prints the help, or calls `run`, whose result is the exit code. */
export function runClient<Table extends OptionTable>(
  command: ClientCommand<Table>,
  run: (resolved: ResolvedOptions<Table>, args: ClientArguments, start: ClientStart) => Promise<number>,
): Promise<void> {
  return runMain(async () => {
    const line = normalizeArguments(exactArguments(), command.options)
    const program = createProgram(command.help, command.options, packageVersion(command.manifest)).allowExcessArguments(true)
    for (const argument of command.arguments) program.argument(argument)
    let exitCode = 0
    program.action(async () => {
      const resolved = resolveOptions(program, command.options, { env: exactEnvironment() })
      const { values } = resolveOptions(program, GENERAL_OPTIONS, { env: exactEnvironment() })
      if (values.host === true) {
        await writeOut(helpText(command.help, command.options))
        return
      }
      let stop: Stop | undefined
      try {
        const diagnostics = createDiagnostics({ quiet: values.quiet, debug: values.debug, color: !values.noColor })
        exitCode = await run(
          resolved,
          { positional: program.args, line },
          {
            diagnostics,
            listenForStop: () => (stop ??= listenForStop()),
          },
        )
      } finally {
        stop?.dispose()
      }
    })
    await runProgram(program, line)
    return exitCode
  })
}
