import { checked, withChecksum } from "./checksum.js"
import { type Chunk, type Reference, referenceBytes } from "./chunks.js"
import type { MessageTables } from "./environment.js"
import { idKey, readUint64, referenceKey } from "./keys.js"

/** From so many on, those that nobody reads any more are looked for. */
const LEAST_SWEEP = 1000

/** The row that says how many references a body has. */
export function sharersRow(key: Buffer, references: number): Buffer {
  return withChecksum("sharers", key, idKey(references))
}

/** How many references a body has; undefined: the row is missing, or not what was written. */
export function sharersOf(key: Buffer, row: Buffer | undefined): number | undefined {
  const bytes = row && checked("sharers", key, row)
  return bytes && readUint64(bytes, 0)
}

/** The checksum of a body's row, by which its references know it. */
export function checksumOf(row: Buffer): number {
  return row.readUInt32LE(0)
}

/** The bodies that one fold writes, and what refers to them. */
export class BodyWriter {
  private readonly written = new Map<Chunk, { id: number; checksum: number; references: number }>()
  /** whose number of references is not written */
  private readonly uncounted = new Set<{ id: number; references: number }>()

  constructor(
    private readonly tables: Pick<MessageTables, "bodies" | "references" | "sharers">,
    private readonly newId: () => number,
  ) {}

  /**
   * Writes that a log has a body, which is written with the first one. What counts() gives belongs into the same transaction.
   * @param place what the log has for itself
   */
  put(log: number, place: Chunk, body: Chunk): Promise<unknown> {
    const known = this.written.get(body)
    if (known) return this.refer(log, place, { body, known })
    const id = this.newId()
    const row = withChecksum("bodies", idKey(id), body.value)
    const made = { id, checksum: checksumOf(row), references: 0 }
    this.written.set(body, made)
    return Promise.all([this.tables.bodies.put(idKey(id), row), this.refer(log, place, { body, known: made })])
  }

  private refer(
    log: number,
    place: Chunk,
    { body, known }: { body: Chunk; known: { id: number; checksum: number; references: number } },
  ): Promise<boolean> {
    known.references++
    this.uncounted.add(known)
    const key = referenceKey(log, place.last, known.id)
    return this.tables.references.put(key, withChecksum("references", key, referenceBytes(place, body.value, known.checksum)))
  }

  /** Writes how many references those bodies have by now that got some. */
  counts(): Promise<boolean>[] {
    const counted = [...this.uncounted]
    this.uncounted.clear()
    return counted.map(({ id, references }) => this.tables.sharers.put(idKey(id), sharersRow(idKey(id), references)))
  }
}

/** Removes references; a body goes with its last one. All of it in one transaction. `sharers`: how many each of the bodies has. */
export function removeReferences(
  tables: Pick<MessageTables, "bodies" | "references" | "sharers">,
  rows: readonly (readonly [log: number, last: number, body: number])[],
  sharers: readonly (readonly [body: number, references: number])[],
): Promise<boolean>[] {
  const removed = new Map<number, number>()
  for (const [, , body] of rows) removed.set(body, (removed.get(body) ?? 0) + 1)
  return [
    ...rows.map(([log, last, body]) => tables.references.remove(referenceKey(log, last, body))),
    ...sharers.flatMap(([body, references]) => {
      const key = idKey(body)
      const left = references - (removed.get(body) ?? 0)
      return left > 0 ? [tables.sharers.put(key, sharersRow(key, left))] : [tables.sharers.remove(key), tables.bodies.remove(key)]
    }),
  ]
}

/** What became of reading a body: it is damaged, or it went with the last that referred to it. */
export type ReadBody = Buffer | "damaged" | "gone"

/** Bodies that were read, each once in memory for all who read it, for as long as one of them does. */
export class ReadBodies {
  private readonly known = new Map<number, { checksum: number; bytes: WeakRef<Buffer> }>()
  private readonly asked = new Map<string, Promise<ReadBody>>()
  private sweepAt = LEAST_SWEEP

  /** @param read gets what a reference of a log refers to */
  constructor(private readonly read: (log: number, reference: Reference) => Promise<ReadBody>) {}

  async get(log: number, reference: Reference): Promise<ReadBody> {
    const { body, checksum } = reference
    const known = this.known.get(body)
    const bytes = known?.checksum === checksum ? known.bytes.deref() : undefined
    if (bytes) return bytes
    const name = `${body}/${checksum}`
    let asked = this.asked.get(name)
    if (!asked) {
      asked = this.read(log, reference).finally(() => this.asked.delete(name))
      this.asked.set(name, asked)
    }
    const found = await asked
    if (typeof found !== "string") this.keep(reference, found)
    return found
  }

  private keep({ body, checksum }: Reference, bytes: Buffer): void {
    if (this.known.get(body)?.bytes.deref() === bytes) return
    this.known.set(body, { checksum, bytes: new WeakRef(bytes) })
    if (this.known.size < this.sweepAt) return
    for (const [id, one] of this.known) if (!one.bytes.deref()) this.known.delete(id)
    this.sweepAt = Math.max(LEAST_SWEEP, 2 * this.known.size)
  }
}
