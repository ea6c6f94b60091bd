import { randomInt, randomUUID } from "node:crypto"
import { exactEnvironment, usageError } from "@mqtt-trio/common"

/** What the placeholders stand for in one message. */
interface TemplateContext {
  /** Running number, from 1. */
  readonly n: number
  /** The line of stdin, for `-l`. */
  readonly line: string | undefined
}

export type Template = (context: TemplateContext) => string

type Part = (context: TemplateContext) => string

/**
 * Compiles `{{n}} {{iso}} {{unix}} {{uuid}} {{randInt a b}} {{env X}} {{line}}`; everything else is text.
 * Throws a usage error for a placeholder that is not known.
 */
export function compileTemplate(text: string, env: NodeJS.ProcessEnv = exactEnvironment()): Template {
  const parts: Part[] = []
  let end = 0
  for (const match of text.matchAll(/\{\{\s*(.*?)\s*\}\}/g)) {
    const before = text.slice(end, match.index)
    if (before !== "") parts.push(() => before)
    parts.push(placeholder(match[1] ?? "", env))
    end = match.index + match[0].length
  }
  const rest = text.slice(end)
  return (context) => parts.map((part) => part(context)).join("") + rest
}

function placeholder(text: string, env: NodeJS.ProcessEnv): Part {
  const [name = "", ...args] = text.split(/\s+/)
  switch (name) {
    case "n":
      return ({ n }) => String(n)
    case "iso":
      return () => new Date().toISOString()
    case "unix":
      return () => String(Math.floor(Date.now() / 1000))
    case "uuid":
      return () => randomUUID()
    case "line":
      return ({ line }) => {
        if (line === undefined) throw usageError("{{line}} needs -l")
        return line
      }
    case "env": {
      const value = env[args[0] ?? ""]
      if (value === undefined) throw usageError(`{{env ${args[0] ?? ""}}}: there is no such environment variable`)
      return () => value
    }
    case "randInt": {
      const [low, high] = args.map(Number)
      if (low === undefined || high === undefined || !Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low > high) {
        throw usageError(`{{${text}}} is not {{randInt LOW HIGH}} with two whole numbers`)
      }
      return () => String(randomInt(low, high + 1))
    }
    default:
      throw usageError(`{{${text}}} is not a placeholder`, "known: n, iso, unix, uuid, randInt LOW HIGH, env NAME, line")
  }
}
