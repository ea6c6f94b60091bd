import { CliError, messageOf, systemCode } from "./errors.js"

/** Streams whose reader may leave at any time (`… | head -1`): their errors must not end the process with a stack. */
export function quietPipes(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", ignore)
}

function ignore(): void {
  // The writer learns of the error from its own callback; a closed stderr has nobody to tell.
}

/**
 * Writes `data` to stdout and resolves when the operating system has taken it: true, or false when the reader has closed the pipe.
 * Throws `output-failed` for anything else, such as a full disk.
 */
export async function writeOut(data: string | Uint8Array): Promise<boolean> {
  const error = await new Promise<unknown>((resolve) => {
    process.stdout.write(data, resolve)
  })
  if (error === undefined || error === null) return true
  if (isClosedPipe(error)) return false
  throw outputError(error)
}

/** True when the error says that the reader of a pipe went away. */
export function isClosedPipe(error: unknown): boolean {
  const code = systemCode(error)
  return code === "EPIPE" || code === "ERR_STREAM_DESTROYED"
}

/** The error for output that could not be written (exit code 7). */
export function outputError(cause: unknown): CliError {
  const hint = systemCode(cause) === "ENOSPC" ? "free some space; what was not written out was not acknowledged" : undefined
  return new CliError("output-failed", `cannot write the output: ${messageOf(cause)}`, { cause, hint })
}
