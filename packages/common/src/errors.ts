/** What a failure means to the caller of a command. */
export interface ErrorKind {
  /** Exit code of the process. */
  readonly exitCode: number
  /** One line for the README's table. */
  readonly meaning: string
}

/** Every failure that the commands can report, by its stable code. */
export const ERRORS = {
  internal: { exitCode: 1, meaning: "a bug in this program" },
  usage: { exitCode: 2, meaning: "the command line cannot be understood" },
  "cannot-connect": { exitCode: 3, meaning: "no broker could be reached" },
  "connection-refused": { exitCode: 4, meaning: "the broker refused the connection" },
  "request-refused": { exitCode: 5, meaning: "the broker refused a publish or a subscription" },
  "connection-lost": { exitCode: 6, meaning: "the connection was lost with messages unacknowledged" },
  "output-failed": { exitCode: 7, meaning: "the output could not be written" },
  "check-failed": { exitCode: 8, meaning: "messages are missing, doubled or out of order" },
  "timed-out": { exitCode: 27, meaning: "the time was over before what was asked for had happened" },
  interrupted: { exitCode: 130, meaning: "SIGINT came before what was asked for had happened" },
  terminated: { exitCode: 143, meaning: "SIGTERM came before what was asked for had happened" },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorDetails {
  readonly code: string
  readonly exitCode: number
  readonly message: string
  /** What to do about it: a sentence or a command that can be pasted. */
  readonly hint?: string | undefined
  readonly cause?: unknown
}

/** The base of all errors that are meant for the user: printed as `error: message` without a stack. */
export class BaseError extends Error {
  readonly code: string
  readonly exitCode: number
  readonly hint: string | undefined

  constructor(details: ErrorDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = details.code
    this.exitCode = details.exitCode
    this.hint = details.hint
  }
}

/** A {@link BaseError} whose exit code comes from {@link ERRORS}. */
export class CliError extends BaseError {
  constructor(code: ErrorCode, message: string, more: { hint?: string | undefined; cause?: unknown } = {}) {
    super({ code, exitCode: ERRORS[code].exitCode, message, ...more })
  }
}

/** A command line that cannot be understood: exit code 2. */
export function usageError(message: string, hint?: string): CliError {
  return new CliError("usage", message, { hint })
}

/** The `code` of a Node.js system error such as `ECONNREFUSED`, or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined
  return typeof error.code === "string" ? error.code : undefined
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** A table of errors as Markdown for the README. */
export function errorReference(errors: Readonly<Record<string, ErrorKind>>): string {
  const rows = Object.entries(errors).map(([code, { exitCode, meaning }]) => `| ${exitCode} | \`${code}\` | ${meaning} |`)
  return ["| exit code | error | meaning |", "|---|---|---|", ...rows].join("\n")
}
