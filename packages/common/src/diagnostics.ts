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

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const UNSAFE_CHARACTERS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu
const LINE_CHARACTERS = /[\n\t\u200c\u200d]/g

/**
 * Text from elsewhere for a terminal: line feed, tab and the joiners of scripts and emoji stay; other control characters,
 * those that turn the writing around, those that nobody sees, line separators and lone surrogates become \xNN or \uNNNN.
 */
export function escapeControls(text: string): string {
  return text.replaceAll(UNSAFE_CHARACTERS, escaped)
}

/** The same for a value in a line, which stays one line: everything that does not show itself is escaped. */
export function escapeLine(text: string): string {
  return escapeControls(text).replaceAll(LINE_CHARACTERS, (char) => (char === "\n" ? "\\n" : char === "\t" ? "\\t" : escaped(char)))
}

/** A value as JSON on one line that shows what is in it: programs read the same value, people no other one. */
export function jsonLine(value: unknown): string {
  return escapeJson(JSON.stringify(value))
}

/** The same for what is JSON already. */
export function escapeJson(json: string): string {
  return json.replaceAll(UNSAFE_CHARACTERS, (char) =>
    char
      .split("")
      .map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`)
      .join(""),
  )
}

function escaped(char: string): string {
  const code = char.codePointAt(0) ?? 0
  // A byte that is not UTF-8, as exact-text.ts has it.
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${hex(code & 0xff, 2)}`
  if (code > 0xffff) return `\\u{${code.toString(16)}}`
  return code < 0x100 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0")
}

/** Diagnostics on `sink` (stderr of the process by default), one line per call. */
export function createDiagnostics(options: DiagnosticsOptions = {}, sink: TextSink = process.stderr): Diagnostics {
  const colors = colorsFor(sink, process.env, options.color ?? true)
  const line = (text: string): void => void sink.write(`${text}\n`)
  return {
    debugging: options.debug ?? false,
    note: (text) => {
      if (!options.quiet) line(colors.dim(escapeLine(text)))
    },
    warn: (text) => {
      if (!options.quiet) line(`${colors.yellow("warning:")} ${escapeLine(text)}`)
    },
    debug: (text) => {
      if (options.debug) line(colors.dim(escapeLine(text)))
    },
    report: (error) => {
      line(`${colors.red("error:")} ${escapeLine(messageOf(error))}`)
      if (error instanceof BaseError && error.hint !== undefined) line(`${colors.cyan("hint:")} ${escapeLine(error.hint)}`)
      if (options.debug) printStack(error, line)
      else if (!(error instanceof BaseError)) line(`${colors.cyan("hint:")} this is a bug; run it again with --debug to see where`)
    },
  }
}

function printStack(error: unknown, line: (text: string) => void): void {
  for (let current = error; current instanceof Error; current = current.cause) line(escapeControls(current.stack ?? current.message))
}
