import { expect, it } from "vitest"
import { BaseError, CliError, createDiagnostics, ERRORS } from "@mqtt-trio/common"

it("exit codes are the promised ones", () => {
  const codes = Object.fromEntries(Object.entries(ERRORS).map(([code, { exitCode }]) => [code, exitCode]))
  expect(codes).toEqual({
    internal: 1,
    usage: 2,
    "cannot-connect": 3,
    "connection-refused": 4,
    "request-refused": 5,
    "connection-lost": 6,
    "output-failed": 7,
    "check-failed": 8,
    "timed-out": 27,
    interrupted: 130,
    terminated: 143,
  })
})

/** What a report of `error` prints. */
function report(error: unknown, debug = false): string {
  let text = ""
  createDiagnostics({ debug }, { write: (chunk: string) => void (text += chunk) }).report(error)
  return text
}

it("an error is printed with its hint and without its stack, unless debugging", () => {
  const error = new CliError("usage", 'bad "x"', { hint: "try y", cause: new Error("deep") })
  expect(error).toBeInstanceOf(BaseError)
  expect(report(error)).toBe('error: bad "x"\nhint: try y\n')
  expect(report(error, true)).toMatch(/^error: bad "x"\nhint: try y\nCliError: bad "x"\n {4}at [^]*Error: deep\n {4}at /)
})

it("what is no error of ours is a bug, and says so", () => {
  expect(report(new TypeError("oops"))).toBe("error: oops\nhint: this is a bug; run it again with --debug to see where\n")
})

it("control characters in messages cannot steer the terminal", () => {
  expect(report(new CliError("usage", "a\u001b[2Jb\rc"))).toBe("error: a\\x1b[2Jb\\x0dc\n")
})
