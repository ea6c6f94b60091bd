import { usageError } from "../errors.js"
import { parseBoolean } from "../parsers.js"

/** How an option takes its value: not at all, always one, one or none, one each time it is repeated. */
export type OptionKind = "flag" | "value" | "optional" | "list"

/** What every kind of option declares. `T` is the resolved type, `undefined` included when there is no default. */
export interface OptionSpec<T> {
  readonly kind: OptionKind
  /** As commander reads them and `--help` prints them: `-p, --port <port>`. The long flag is required. */
  readonly flags: string
  /** One line of help, without the default. */
  readonly help: string
  /** Heading of the block in `--help` and in the README. */
  readonly group: string
  /** Environment variable that stands in for an absent flag. */
  readonly env?: string | undefined
  /** Further long flags that mean the same, not shown in `--help`. */
  readonly aliases?: readonly string[] | undefined
  /** Accepted but not shown in `--help`; the README reference shows it. */
  readonly hidden?: boolean | undefined
  /** How `--help` prints the default, when it is not the value itself. */
  readonly defaultText?: string | undefined
  /** An empty text is a value. Without this it is a usage error: it mostly comes from a shell variable that is not set. */
  readonly mayBeEmpty?: boolean | undefined
  /** Parses the texts of one source (for a list all of them, for a flag on the command line none); throws a usage error. */
  readonly read: (texts: readonly string[]) => T
  /** The value when no source has one. */
  readonly fallback: T
  /** How many arguments the option takes when they stand there, for flags such as `-D COMMAND NAME VALUE`; given the arguments that follow. */
  readonly width?: ((following: readonly string[]) => number) | undefined
}

/** A command's options by key. */
export type OptionTable = Readonly<Record<string, OptionSpec<unknown>>>

/** The resolved values of a table. */
export type OptionValues<Table extends OptionTable> = { readonly [Key in keyof Table]: Table[Key] extends OptionSpec<infer T> ? T : never }

type Declared = Pick<
  OptionSpec<unknown>,
  "flags" | "help" | "group" | "env" | "aliases" | "hidden" | "defaultText" | "mayBeEmpty" | "width"
>

/** A switch: true when given; elsewhere than on the command line it may be false. */
export function flag(declared: Declared): OptionSpec<boolean> {
  return { ...declared, kind: "flag", read: (texts) => texts.every(parseBoolean), fallback: false }
}

/** An option with one value; the last one wins. Without `fallback` it is undefined when absent. */
export function value<T>(declared: Declared & { parse: (text: string) => T; fallback: T }): OptionSpec<T>
export function value<T>(declared: Declared & { parse: (text: string) => T }): OptionSpec<T | undefined>
export function value<T>({ parse, ...declared }: Declared & { parse: (text: string) => T; fallback?: T }): OptionSpec<T | undefined> {
  return { fallback: undefined, ...declared, kind: "value", read: (texts) => parseGiven(texts.at(-1) ?? "", parse, declared) }
}

/** An option whose value may be left out: then it is true. */
export function optional<T>({ parse, ...declared }: Declared & { parse: (text: string) => T }): OptionSpec<T | true | undefined> {
  const read = (texts: readonly string[]): T | true => {
    const last = texts.at(-1)
    return last === undefined ? true : parseGiven(last, parse, declared)
  }
  return { ...declared, kind: "optional", read, fallback: undefined }
}

/** An option that may be repeated; empty when absent. */
export function list<T>({ parse, ...declared }: Declared & { parse: (text: string) => T }): OptionSpec<readonly T[]> {
  return { ...declared, kind: "list", read: (texts) => texts.map((text) => parseGiven(text, parse, declared)), fallback: [] }
}

function parseGiven<T>(text: string, parse: (text: string) => T, { mayBeEmpty }: Pick<Declared, "mayBeEmpty">): T {
  const parsed = parse(text)
  if (text === "" && mayBeEmpty !== true) throw usageError("the value is empty", "is a shell variable not set?")
  return parsed
}

/** The long flag of an option, dashes included. */
export function longFlag(spec: Pick<OptionSpec<unknown>, "flags">): string {
  return /--[\w-]+/.exec(spec.flags)?.[0] ?? spec.flags
}

/** The short flag of an option, dash included, if it has one. */
export function shortFlag(spec: Pick<OptionSpec<unknown>, "flags">): string | undefined {
  return /(?:^|\s)(-\w)(?:,|\s|$)/.exec(spec.flags)?.[1]
}
