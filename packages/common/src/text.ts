import { isIP, isIPv6 } from "node:net"
import { usageError } from "./errors.js"
import { bytesOf, hasForeignBytes, quoted } from "./exact-text.js"

/** Longest UTF-8 string and Binary Data of MQTT in bytes (MQTT 5.0 section 1.5.4 and 1.5.6). */
export const MAX_FIELD_BYTES = 65_535

/** What keeps a text from being a UTF-8 Encoded String (MQTT 5.0 section 1.5.4), or undefined. */
export function textProblem(text: string): string | undefined {
  if (text.includes("\0")) return "it contains a NUL character"
  if (hasForeignBytes(text)) return "it is not UTF-8 text"
  if (text.length > MAX_FIELD_BYTES / 3 && Buffer.byteLength(text) > MAX_FIELD_BYTES) return `it is longer than ${MAX_FIELD_BYTES} bytes`
  return undefined
}

/** A UTF-8 Encoded String from the command line. */
export function parseText(text: string): string {
  const problem = textProblem(text)
  if (problem !== undefined) throw usageError(`${quoted(text)} is not valid: ${problem}`)
  return text
}

/** A host name or an address without brackets; an IPv6 address may stand in them, as in URLs. */
export function parseHost(text: string): string {
  const host = parseText(text)
  if (host.includes("://")) throw usageError(`host ${quoted(host)} is a URL`, `use: --url ${host}`)
  const inner = /^\[(.*)\]$/.exec(host)?.[1]
  if (inner !== undefined || host.includes(":") ? isIPv6(inner ?? host) : !/[\s\p{Cc}/\\?#@[\]<>^|%]/u.test(host)) return inner ?? host
  const port = /:(\d+)$/.exec(host)?.[1]
  const hint = port === undefined ? "for example broker.example, 127.0.0.1 or ::1" : `give the port by itself: -p ${port}`
  throw usageError(`host ${quoted(host)} is neither a name nor an address`, hint)
}

/** An IP address; see {@link parseHost}. */
export function parseAddress(text: string): string {
  const address = parseHost(text)
  if (address !== "" && isIP(address) === 0) throw usageError(`${quoted(address)} is not an IP address`)
  return address
}

/** Binary Data from the command line: each byte as it was given. */
export function parseBinary(text: string): Buffer {
  return checkBinary(bytesOf(text))
}

/** Throws a usage error for Binary Data that is longer than MQTT allows. */
export function checkBinary(bytes: Buffer): Buffer {
  if (bytes.length > MAX_FIELD_BYTES) throw usageError(`${bytes.length} bytes are too many`, `MQTT allows ${MAX_FIELD_BYTES} here`)
  return bytes
}

/** Text whose bytes matter later: a payload, the name of a file. */
export function parseExact(text: string): string {
  return text
}
