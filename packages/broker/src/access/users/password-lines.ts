import { isUtf8 } from "node:buffer"
import { createHash } from "node:crypto"
import { quoted } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"
import { parseHash, type PasswordHash } from "./password-hash.js"

/** One line of a password file (mosquitto's `password_file`). */
export interface PasswordLine {
  /** as it stands in the file, with its line feed */
  readonly bytes: Buffer
  /** undefined: a comment, an empty line, or what is neither */
  readonly user: string | undefined
  /** what stands behind the colon */
  readonly hash: string
}

/** One user of a password file. */
export interface Account {
  /** changes with the hash, and tells nothing of it */
  readonly token: string
  readonly hash: PasswordHash
}

const LINE_FEED = 0x0a
/** What mosquitto leaves out around names and hashes. */
const BLANKS = /^[ \t\v\f\r\n]+|[ \t\v\f\r\n]+$/g
/** What stands in no name that mosquitto or we would write. */
const NO_NAME = /[\p{Cc}\uFEFF]/u
const BYTE_ORDER_MARK = Buffer.from("\uFEFF")
const LONGEST_NAME = 65_535

/** The lines of a password file; put together again they are the same bytes. */
export function passwordLines(content: Buffer): PasswordLine[] {
  const lines: PasswordLine[] = []
  for (let start = 0, end = 0; start < content.length; start = end) {
    const feed = content.indexOf(LINE_FEED, start)
    end = feed === -1 ? content.length : feed + 1
    lines.push(lineOf(content.subarray(start, end), start === 0))
  }
  return lines
}

/**
 * The users of a password file, by name. A line that mosquitto would pass over or misread is an error here: it may be half of
 * one. Throws a BrokerError "access-unusable" that names file and line, and shows nothing of a password.
 */
export function accountsOf(content: Buffer, file: string): Map<string, Account> {
  const accounts = new Map<string, Account>()
  for (const [index, line] of passwordLines(content).entries()) {
    const fail = (problem: string): never => {
      const hint = line.user === undefined ? "remove it, or put a # at its beginning" : HINT
      throw new BrokerError("access-unusable", `${quoted(file)}, line ${index + 1}: ${problem}`, { hint })
    }
    if (line.user === undefined) {
      if (!isPassedOver(index === 0 ? withoutMark(line.bytes) : line.bytes))
        fail("it is no comment, and has no colon between a user's name and a hash")
      continue
    }
    const { user } = line
    const problem = isUtf8(line.bytes) ? nameProblem(user) : "it is not UTF-8 text"
    if (problem !== undefined) fail(problem)
    if (accounts.has(user)) fail(`the user ${quoted(user)} stands in the file already`)
    const hash = hashOf(line)
    if (typeof hash === "string") return fail(`the user ${quoted(user)} is of no use: ${hash}`)
    accounts.set(user, { token: createHash("sha256").update(line.hash).digest("base64"), hash })
  }
  return accounts
}

const HINT = "mqtt-broker user passwd NAME writes a new line for a user, mqtt-broker user remove NAME takes it out"

/** What keeps a name from standing in a password file, or undefined. */
export function nameProblem(user: string): string | undefined {
  if (user === "") return "the user's name is empty"
  if (user.includes(":")) return "a user's name cannot have a colon"
  if (user.startsWith("#")) return "a user's name that begins with # would be a comment"
  if (user.replaceAll(BLANKS, "") !== user) return "a user's name cannot begin or end with a blank"
  if (NO_NAME.test(user)) return "a user's name cannot have control characters"
  if (Buffer.byteLength(user) > LONGEST_NAME) return `a user's name cannot be longer than ${LONGEST_NAME} bytes`
  return undefined
}

/** A line for {@link passwordLines}. */
export function writeLine(user: string, hash: string): Buffer {
  return Buffer.from(`${user}:${hash}\n`)
}

function lineOf(bytes: Buffer, first: boolean): PasswordLine {
  const text = (first ? withoutMark(bytes) : bytes).toString()
  const colon = text.indexOf(":")
  if (text.startsWith("#") || colon === -1) return { bytes, user: undefined, hash: "" }
  return { bytes, user: trimmed(text.slice(0, colon)), hash: trimmed(text.slice(colon + 1)) }
}

/** Without the byte order mark that some editors begin a file with. */
function withoutMark(bytes: Buffer): Buffer {
  return bytes.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK) ? bytes.subarray(BYTE_ORDER_MARK.length) : bytes
}

function isPassedOver(bytes: Buffer): boolean {
  const text = bytes.toString("latin1")
  return text.startsWith("#") || trimmed(text) === ""
}

function trimmed(text: string): string {
  return text.replaceAll(BLANKS, "")
}

/** The length of argon2id's hash is free: that it is whole is known from the line feed behind it, or from mosquitto's length. */
function hashOf({ bytes, hash: text }: PasswordLine): PasswordHash | string {
  const hash = parseHash(text)
  if (typeof hash === "string" || hash.kind !== "argon2id" || bytes.at(-1) === LINE_FEED || hash.digest.length === 64) return hash
  return "its hash may be cut off: the line does not end"
}
