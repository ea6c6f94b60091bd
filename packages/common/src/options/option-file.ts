import { usageError } from "../errors.js"
import { longFlag, type OptionSpec } from "./option-spec.js"

/** Values of options from a file, whatever its format. */
export interface OptionFile {
  /** Its path, as messages name it. */
  readonly name: string
  /** What stands there, by {@link keyOf}. */
  readonly values: ReadonlyMap<string, unknown>
}

/** The key of an option in a file: its long flag without the dashes. */
export function keyOf(spec: Pick<OptionSpec<unknown>, "flags">): string {
  return longFlag(spec).slice(2)
}

/** What stands in a file as the texts that the option reads. Throws a usage error for what no option of this kind can be. */
export function storedTexts({ kind, mayBeEmpty }: OptionSpec<unknown>, stored: unknown): string[] {
  if (kind === "list") {
    if (!Array.isArray(stored)) throw usageError("the value is no array", "put it in brackets, as often as you need it: [a, b]")
    return stored.map((item) => scalar(item, mayBeEmpty))
  }
  if (typeof stored === "boolean" && kind === "flag") return [String(stored)]
  return [scalar(stored, mayBeEmpty)]
}

function scalar(stored: unknown, mayBeEmpty = false): string {
  if (stored === "" && !mayBeEmpty) throw usageError("the value is empty", "leave it out for the default")
  if (typeof stored === "string" || typeof stored === "number" || typeof stored === "bigint") return String(stored)
  if (typeof stored === "boolean") throw usageError(`the value is "${stored}", not a number or a text`)
  if (Array.isArray(stored)) throw usageError("the value is an array, not one number or text")
  throw usageError("the value is a table or a date, not a number or a text", "put a text in quotes")
}
