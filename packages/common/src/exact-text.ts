import { isUtf8 } from "node:buffer"
import { readFileSync } from "node:fs"
import { usageError } from "./errors.js"

/*
 * Node.js replaces bytes that are not UTF-8 in arguments and environment variables. Here they become lone surrogates instead, each byte
 * one (U+DC80 to U+DCFF, as Python's "surrogateescape" does it): no text that MQTT allows has those, and what takes bytes gets them back.
 */

const REPLACEMENT_CHARACTER = "\uFFFD"
const ESCAPED_BYTE = /[\uDC80-\uDCFF]/
/** With the flag u only those count that do not belong to a pair. */
const LONE_SURROGATE = /\p{Surrogate}/u

/** Bytes as text; those that are not UTF-8 as lone surrogates. */
export function textOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString()
  let text = ""
  let at = 0
  while (at < bytes.length) {
    const length = characterLength(bytes, at)
    text += length === 0 ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0)) : bytes.toString("utf8", at, at + length)
    at += Math.max(length, 1)
  }
  return text
}

/** The bytes of {@link textOf}; a usage error for lone surrogates that stand for no byte. */
export function bytesOf(text: string): Buffer {
  if (!LONE_SURROGATE.test(text)) return Buffer.from(text)
  const parts = Array.from(text, (char) =>
    ESCAPED_BYTE.test(char) && char.length === 1 ? Buffer.from([char.charCodeAt(0) & 0xff]) : Buffer.from(known(char)),
  )
  return Buffer.concat(parts)
}

/** True when the text has bytes that are not UTF-8, or other halves of surrogate pairs. */
export function hasForeignBytes(text: string): boolean {
  return LONE_SURROGATE.test(text)
}

/** The text in quotes for a message, cut where it is long; bytes that are not UTF-8 as \xNN. */
export function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200)).replaceAll(/\\udc([89a-f][0-9a-f])/g, String.raw`\x$1`)
}

/**
 * The arguments of this process, without node and script, each byte as it was given. Throws a usage error where the system does not
 * show them and Node.js has replaced some.
 */
export function exactArguments(): string[] {
  const args = process.argv.slice(2)
  const lossy = args.find((text) => text.includes(REPLACEMENT_CHARACTER))
  if (lossy === undefined) return args
  const raw = entriesOf("/proc/self/cmdline").slice(-args.length)
  if (raw.length === args.length && raw.every((bytes, index) => bytes.toString() === args[index])) return raw.map(textOf)
  throw usageError(`the argument ${quoted(lossy)} may have bytes that are not UTF-8, and this system does not show them`, USE_STDIN)
}

/** The environment of this process, each byte as it was given; values whose bytes the system does not show are valid nowhere. */
export function exactEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const lossy = Object.entries(env).filter(([, text]) => text?.includes(REPLACEMENT_CHARACTER) === true)
  if (lossy.length === 0) return env
  const raw = entriesOf("/proc/self/environ").map((bytes): [string, string] => {
    const equals = bytes.indexOf("=")
    return [bytes.toString("utf8", 0, equals), textOf(bytes.subarray(equals + 1))]
  })
  const exact = new Map(raw)
  return {
    ...env,
    ...Object.fromEntries(lossy.map(([name, text = ""]) => [name, exact.get(name) ?? text.replaceAll(REPLACEMENT_CHARACTER, "\uD800")])),
  }
}

const USE_STDIN = "give a payload with -s or -f"

function known(char: string): string {
  if (LONE_SURROGATE.test(char)) throw usageError("a value has bytes that are not UTF-8, and this system does not show them", USE_STDIN)
  return char
}

/** The length of the UTF-8 character that starts here, 0 when none does. */
function characterLength(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  const end = at + length
  return end <= bytes.length && isUtf8(bytes.subarray(at, end)) ? length : 0
}

/** What stands in a file of /proc, each entry ended by NUL; nothing where there is no such file. */
function entriesOf(file: string): Buffer[] {
  let text: string
  try {
    text = readFileSync(file, "latin1")
  } catch {
    return []
  }
  return text
    .split("\0")
    .slice(0, -1)
    .map((entry) => Buffer.from(entry, "latin1"))
}
