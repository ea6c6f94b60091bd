import { usageError } from "../errors.js"
import { longFlag, shortFlag, type OptionSpec, type OptionTable } from "./option-spec.js"

/**
 * Rewrites a command line so that commander understands it: hidden aliases become their long flag, and an option that takes several
 * arguments (`-D publish user-property key value`) becomes one whose value is a JSON array. Everything else stays as it is.
 */
export function normalizeArguments(args: readonly string[], table: OptionTable): string[] {
  const specs = specsByFlag(table)
  const result: string[] = []
  let index = 0
  while (index < args.length) {
    const arg = args[index] ?? ""
    if (arg === "--") return [...result, ...args.slice(index)]
    const name = /^(--[^=]+|-\w)/.exec(arg)?.[0] ?? arg
    const spec = specs.get(name)
    index += 1
    if (spec === undefined) {
      result.push(arg)
    } else if (spec.width !== undefined && arg === name) {
      const following = args.slice(index)
      const width = spec.width(following)
      if (following.length < width) throw usageError(`${name} needs ${width} values`, `see the line for ${longFlag(spec)} in --help`)
      result.push(`${longFlag(spec)}=${JSON.stringify(following.slice(0, width))}`)
      index += width
    } else {
      result.push(arg.startsWith("--") ? longFlag(spec) + arg.slice(name.length) : arg)
      if (takesNext(arg, specs) && index < args.length) {
        result.push(args[index] ?? "")
        index += 1
      }
    }
  }
  return result
}

function specsByFlag(table: OptionTable): Map<string, OptionSpec<unknown>> {
  const specs = new Map<string, OptionSpec<unknown>>()
  for (const spec of Object.values(table)) {
    const short = shortFlag(spec)
    for (const name of [longFlag(spec), ...(short === undefined ? [] : [short]), ...(spec.aliases ?? [])]) specs.set(name, spec)
  }
  return specs
}

/** True when the value of the (last) option in `arg` is the next argument: `--port 1`, `-p 1`, `-dp 1`, but not `--port=1` or `-p1`. */
function takesNext(arg: string, specs: Map<string, OptionSpec<unknown>>): boolean {
  if (arg.startsWith("--")) return !arg.includes("=") && needsValue(specs.get(arg))
  for (let at = 1; at < arg.length; at += 1) {
    const spec = specs.get(`-${arg[at]}`)
    if (needsValue(spec)) return at === arg.length - 1
    if (spec === undefined || spec.kind === "optional") return false
  }
  return false
}

function needsValue(spec: OptionSpec<unknown> | undefined): boolean {
  return spec?.kind === "value" || spec?.kind === "list"
}
