import { quoted } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"
import { passwordLines, writeLine } from "./password-lines.js"

/** An empty file may be half-written. */
const NO_USERS = Buffer.from("# no users\n")

/** A user of a password file whose line is added, replaced or removed; other lines stay as they are, byte for byte. */
export interface Edit {
  readonly user: string
  /** the file's path, for messages */
  readonly file: string
  /** what stands behind the user's name */
  readonly hash: string
}

/** What the file is with one user more. Throws a BrokerError when it has that user already. */
export function addUser(content: Buffer, { user, file, hash }: Edit): Buffer {
  if (hasUser(content, user))
    throw new BrokerError("user-exists", `${quoted(file)} has a user ${quoted(user)} already`, {
      hint: "mqtt-broker user passwd changes the password",
    })
  const isWhole = content.length === 0 || content.at(-1) === 0x0a
  return Buffer.concat([content, Buffer.from(isWhole ? "" : "\n"), writeLine(user, hash)])
}

/** What the file is with another hash for a user. Throws a BrokerError when it has no such user. */
export function changeUser(content: Buffer, edit: Edit): Buffer {
  return replaceLines(content, edit, writeLine(edit.user, edit.hash))
}

/** What the file is without a user. Throws a BrokerError when it has no such user. */
export function removeUser(content: Buffer, edit: Edit): Buffer {
  const after = replaceLines(content, edit, Buffer.alloc(0))
  return after.length === 0 ? NO_USERS : after
}

/** Puts `line` in the place of a user's first line; should there be others of the same name, they go. */
function replaceLines(content: Buffer, { user, file }: Edit, line: Buffer): Buffer {
  if (!hasUser(content, user)) throw new BrokerError("no-user", `${quoted(file)} has no user ${quoted(user)}`)
  const lines = passwordLines(content)
  const first = lines.findIndex((one) => one.user === user)
  return Buffer.concat(lines.map((one, index) => (one.user !== user ? one.bytes : index === first ? line : Buffer.alloc(0))))
}

function hasUser(content: Buffer, user: string): boolean {
  return passwordLines(content).some((line) => line.user === user)
}
