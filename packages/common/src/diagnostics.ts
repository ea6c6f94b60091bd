import { colorsFor, type ColorTarget } from "./colors.js"
import { BaseError, messageOf } from "./errors.js"

/** Where diagnostics go: stderr of the process, or anything that takes text. */
export interface TextSink extends ColorTarget {
  write(text: string): unknown
}

export interface DiagnosticsOptions {
  /** Only errors are printed. Default false. */
  readonly quiet?: boolean | undefined
  /** Debug lines and the stacks of errors are printed. Default false. */
  readonly debug?: boolean | undefined
  /** Colour on a terminal. Default true. */
  readonly color?: boolean | undefined
}

/** Everything a command says that is not data. */
export interface Diagnostics {
  readonly debugging: boolean
  note(text: string): void
  warn(text: string): void
  debug(text: string): void
  /** Prints `error: …`, the hint, and with `debug` the stack with its causes. */
  report(error: unknown): void
}

/** Control characters other than line feed and tab, shown as \xNN so that no text from elsewhere steers the terminal. */
export function escapeControls(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`)
}

/** Diagnostics on `sink` (stderr of the process by default), one line per call. */
export function createDiagnostics(options: DiagnosticsOptions = {}, sink: TextSink = process.stderr): Diagnostics {
  const colors = colorsFor(sink, process.env, options.color ?? true)
  const line = (text: string): void => void sink.write(`${text}\n`)
  return {
    debugging: options.debug ?? false,
    note: (text) => {
      if (!options.quiet) line(colors.dim(escapeControls(text)))
    },
    warn: (text) => {
      if (!options.quiet) line(`${colors.yellow("warning:")} ${escapeControls(text)}`)
    },
    debug: (text) => {
      if (options.debug) line(colors.dim(escapeControls(text)))
    },
    report: (error) => {
      line(`${colors.red("error:")} ${escapeControls(messageOf(error))}`)
      if (error instanceof BaseError && error.hint !== undefined) line(`${colors.cyan("hint:")} ${escapeControls(error.hint)}`)
      if (options.debug) printStack(error, line)
      else if (!(error instanceof BaseError)) line(`${colors.cyan("hint:")} this is a bug; run it again with --debug to see where`)
    },
  }
}

function printStack(error: unknown, line: (text: string) => void): void {
  for (let current = error; current instanceof Error; current = current.cause) line(escapeControls(current.stack ?? current.message))
}
