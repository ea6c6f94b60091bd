import { getSystemErrorMap } from "node:util"
import { messageOf, quoted, textOf, topicFilterProblem } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"
import { AclRules } from "./acl-rules.js"
import { readRegularFile } from "../regular-file.js"
import type { AclRule } from "./rule-tree.js"

const ACCESS = ["read", "write", "readwrite", "deny"] as const

const LINES = "a line is: user NAME, topic [read|write|readwrite|deny] TOPIC, the same with pattern, or a comment that begins with #"
const WORDS = "topic [read|write|readwrite|deny] TOPIC, with spaces between"

/**
 * Reads an ACL file of mosquitto. What its lines mean is what mosquitto 2.0 makes of them:
 *
 * - `topic` and `pattern` allow to read (to receive), to write (to publish), or both, which is also meant by no word; `deny`
 *   refuses both. What no line allows is refused, so a file without such lines allows nothing.
 * - `user NAME` begins the lines of that user, up to the next; those of one user in several places add up. The `topic` lines
 *   before the first are for clients without a user, and for nobody else; an empty user name counts as none.
 * - The `topic` lines of a client are looked at first, then all `pattern` lines, which are everybody's wherever they stand;
 *   each time those with `deny` before the others. The first look that finds a line decides.
 * - In a pattern, `%u` is the client's user and `%c` its Client Identifier. One with `%u` is not for clients without a user.
 *   A user or Client Identifier with + or # has no patterns; a slash in it separates levels.
 * - Topics that begin with $ are matched only by lines whose topic does.
 * - Blanks around names and topics do not count, those inside do; a topic with spaces needs the word before it.
 *
 * Where this is not mosquitto 2.0.11, beside that `$SYS/#` is reserved (see `isReserved`):
 *
 * - SUBSCRIBE is refused when nothing that it could bring may be read; mosquitto accepts it and delivers nothing.
 * - A line such as `topic read`, with no topic behind the word, is an error; there it allows to read and write the topic "read".
 *   So is one that is not UTF-8.
 * - The last line must end with a line feed: else the file may be half-written.
 * - A byte order mark, and blanks before the # of a comment, are no error.
 *
 * Throws a BrokerError that names the file, and the line which is wrong.
 */
export function readAclFile(file: string): AclRules {
  const text = textOf(readBytes(file))
  // half a line may allow more than the whole one, and half a file more than all of it
  if (!/(^|\n)[ \t\r]*$/.test(text))
    throw wrong(
      `${file}:${text.split("\n").length}`,
      "the last line has no line feed at its end: the file may be half-written",
      "end it with a line feed",
    )
  return new AclRules(parseAcl(file, text))
}

/** The lines of an ACL file that allow or refuse something; `file` is its name for errors. See {@link readAclFile}. */
export function parseAcl(file: string, text: string): AclRule[] {
  const rules: AclRule[] = []
  let scope: AclRule["scope"] = "anonymous"
  for (const [index, raw] of text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    const line = trimmed(raw)
    if (line === "" || line.startsWith("#")) continue
    const at = `${file}:${index + 1}`
    const [word, rest] = split(line)
    if (/\0|\p{Surrogate}/u.test(line)) throw wrong(at, "the line is not UTF-8 text", "save the file as UTF-8")
    if (word === "user") scope = { user: userName(at, rest) }
    else if (word === "topic") rules.push({ line: index + 1, text: line, scope, ...parseRule(at, word, rest) })
    else if (word === "pattern") rules.push({ line: index + 1, text: line, scope: "pattern", ...parseRule(at, word, rest) })
    else throw wrong(at, `unknown word ${quoted(word)}`, LINES)
  }
  return rules
}

function userName(at: string, rest: string): string {
  const name = trimmed(rest)
  if (name === "") throw wrong(at, 'no name after "user"', "lines for clients without a user stand before the first user line")
  return name
}

function parseRule(at: string, kind: string, rest: string): Pick<AclRule, "access" | "levels"> {
  if (rest === "") throw wrong(at, `no topic after ${quoted(kind)}`, WORDS)
  const [word, topic] = split(rest)
  const access = ACCESS.find((one) => one === word)
  if (access === undefined && topic !== "")
    throw wrong(
      at,
      `${quoted(word)} is none of ${ACCESS.join(", ")}`,
      `a topic with spaces needs one of them before it: ${kind} readwrite ${rest}`,
    )
  const [, lonely] = /^(read|write|readwrite|deny)(?:\t|$)/.exec(rest) ?? []
  if (lonely !== undefined)
    throw wrong(at, `no topic after ${quoted(lonely)}`, `${WORDS}; the topic of that name is: ${kind} readwrite ${lonely}`)
  const filter = access === undefined ? word : trimmed(topic)
  // no topic begins like a shared subscription, so a line that does is one for nothing, as in mosquitto
  const problem = topicFilterProblem(filter.replace(/^\$share/, "-share"))
  if (problem !== undefined)
    throw wrong(at, `topic ${quoted(filter)} is not valid: ${problem}`, "see the wildcards + and # of Topic Filters")
  return { access: access ?? "readwrite", levels: filter.split("/") }
}

/** The first word, and what follows it without the spaces between. */
function split(text: string): [word: string, rest: string] {
  const end = text.indexOf(" ")
  return end < 0 ? [text, ""] : [text.slice(0, end), text.slice(end).replace(/^ +/, "")]
}

/** Without the blanks at both ends, those of C. */
function trimmed(text: string): string {
  return text.replaceAll(/^[ \t\v\f\r]+|[ \t\v\f\r]+$/g, "")
}

function readBytes(file: string): Buffer {
  try {
    return readRegularFile(file)
  } catch (error) {
    const [, words] = error instanceof Error && "errno" in error ? (getSystemErrorMap().get(Number(error.errno)) ?? []) : []
    throw new BrokerError("access-unusable", `the ACL file ${quoted(file)} cannot be read: ${words ?? messageOf(error)}`, {
      hint: "give another one with --acl-file FILE, or none for no rules",
      cause: error,
    })
  }
}

function wrong(at: string, what: string, hint: string): BrokerError {
  return new BrokerError("access-unusable", `${at}: ${what}`, { hint })
}
