import { createDiagnostics, type Diagnostics } from "./diagnostics.js"
import { BaseError, ERRORS } from "./errors.js"
import { quietPipes } from "./output.js"

/**
 * The entry of every command: runs `main`, sets `process.exitCode` once, and lets the process end by itself.
 * `main` returns its exit code (nothing means 0) or throws; what it throws is printed on stderr as `error: …` with its hint,
 * without a stack unless the command line has `--debug`. Exit code: the error's own, or 1 for what is no {@link BaseError}.
 */
export async function runMain(main: () => Promise<number | undefined>, diagnostics: Diagnostics = entryDiagnostics()): Promise<void> {
  quietPipes()
  try {
    process.exitCode = (await main()) ?? 0
  } catch (error) {
    diagnostics.report(error)
    process.exitCode = error instanceof BaseError ? error.exitCode : ERRORS.internal.exitCode
  }
}

function entryDiagnostics(): Diagnostics {
  return createDiagnostics({ debug: process.argv.includes("--debug"), color: !process.argv.includes("--no-color") })
}
