import { join } from "node:path"
import { Frames } from "../wire/frames.js"
import { checksumOf } from "./bodies.js"
import { checkFile } from "./check-file.js"
import { checked } from "./checksum.js"
import { type Reference, referenceOfRow } from "./chunks.js"
import type { TableName } from "./environment.js"
import { Damage } from "./errors.js"
import { DATABASE } from "./folder.js"
import { FORMAT_KEY, formatOf } from "./formats.js"
import { readJournal } from "./journal/recovery.js"
import { readUint64 } from "./keys.js"
import { SECRET_KEY } from "./tables.js"
import { Unfolded } from "./unfolded.js"

/** What is in a store. */
export interface Contents {
  sessions: number
  subscriptions: number
  /** that are stored in queues: one counts in each log that has it, delivered or not */
  messages: number
  retained: number
  wills: number
  /** rows of messages that are not what was written */
  damaged: number
}

/** Reads a whole store that nobody has open, without changing it. Throws a Damage when it would not start. */
export function inspectStore(folder: string): Contents {
  const found = new Found()
  if (!checkFile(join(folder, DATABASE), (table, key, value) => found.row(table, key, value)))
    throw new Damage(`${JSON.stringify(join(folder, DATABASE))} is missing`)
  const unfolded = new Unfolded()
  readJournal(folder, found, (commit) => unfolded.apply(commit))
  return found.with(unfolded)
}

class Found {
  folded = 0
  secret = 0
  private readonly ids = { sessions: new Set<number>(), retained: new Set<number>(), wills: new Set<number>() }
  private readonly subscriptions = new Set<string>()
  /** of each row of messages: log, last position, how many */
  private readonly chunks: { log: number; last: number; messages: number }[] = []
  private readonly bodies = new FoundBodies()
  private damaged = 0
  /** messages in rows of format 1, which have no checksum */
  private older = 0

  row(table: TableName, key: Buffer, value: Buffer): void {
    if (table === "meta" && key.equals(FORMAT_KEY)) return this.format(value)
    if (table === "logs") return void (this.older += Frames.messagesOf(value))
    const bytes = checked(table, key, value)
    if (!bytes && !MESSAGES.includes(table)) throw new Damage(`a row of ${table} in it is damaged`)
    if (!bytes) this.damaged++
    else if (table === "bodies") this.bodies.checksums.set(readUint64(key, 0), checksumOf(value))
    else if (table === "sharers") this.bodies.sharers.set(readUint64(key, 0), readUint64(bytes, 0))
    else if (table === "references") this.bodies.references.push([readUint64(key, 0), referenceOfRow(key, bytes)])
    else if (table === "meta" && key.toString() === "folded") this.folded = readUint64(bytes, 0)
    else if (table === "meta" && key.equals(SECRET_KEY)) this.secret = bytes.readUInt32LE(0)
    else if (table === "chunks") this.chunks.push({ log: readUint64(key, 0), last: readUint64(key, 8), messages: Frames.messagesOf(bytes) })
    else if (table === "subscriptions") this.subscriptions.add(`${readUint64(key, 0)}/${key.readUInt32BE(8)}`)
    else if (table === "sessions" || table === "retained" || table === "wills") this.ids[table].add(readUint64(key, 0))
  }

  private format(row: Buffer): void {
    if (formatOf(row) === 1) throw new Error("its format is 1, and has no checksums; start the broker on it, which brings it up to date")
  }

  with(unfolded: Unfolded): Contents {
    const { ids, subscriptions } = this
    const bodies = this.bodies.with(unfolded)
    for (const table of ["sessions", "retained", "wills"] as const)
      for (const [id, row] of unfolded[table])
        if (row) ids[table].add(id)
        else ids[table].delete(id)
    for (const [session, rows] of unfolded.subscriptions)
      for (const [slot, row] of rows)
        if (row) subscriptions.add(`${session}/${slot}`)
        else subscriptions.delete(`${session}/${slot}`)
    let messages = this.older + bodies.messages
    for (const chunk of this.chunks) if (chunk.last >= (unfolded.cuts.get(chunk.log) ?? 0)) messages += chunk.messages
    for (const chunks of unfolded.logs.values()) for (const { value } of chunks) messages += Frames.messagesOf(value)
    return {
      sessions: ids.sessions.size,
      subscriptions: subscriptions.size,
      messages,
      retained: ids.retained.size,
      wills: ids.wills.size,
      damaged: this.damaged + bodies.damaged,
    }
  }
}

const MESSAGES: readonly TableName[] = ["chunks", "references", "bodies", "sharers"]

/** Bodies, and what refers to them. */
class FoundBodies {
  readonly checksums = new Map<number, number>()
  readonly sharers = new Map<number, number>()
  readonly references: [log: number, reference: Reference][] = []

  /** Damaged are references without their body, and bodies whose number of references is not right. */
  with({ cuts }: Unfolded): { messages: number; damaged: number } {
    let messages = 0
    let damaged = 0
    const counts = new Map<number, number>()
    let before = { log: 0, last: -1 }
    for (const [log, { last, body, checksum, messages: some }] of this.references) {
      counts.set(body, (counts.get(body) ?? 0) + 1)
      const isDouble = before.log === log && before.last === last // a fold was interrupted
      if (this.checksums.get(body) !== checksum) damaged++
      else if (!isDouble && last >= (cuts.get(log) ?? 0)) messages += some
      before = { log, last }
    }
    for (const body of new Set([...this.checksums.keys(), ...this.sharers.keys()]))
      if (!this.checksums.has(body) || this.sharers.get(body) !== counts.get(body)) damaged++
    return { messages, damaged }
  }
}
