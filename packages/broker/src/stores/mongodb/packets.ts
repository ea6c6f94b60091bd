import { Frames, Trait } from "../../wire/frames.js"
import type { Chunk } from "../chunks.js"
import type { PacketDocument } from "./documents.js"
import { checkMessage, damaged, documentOf, messageOf } from "./message.js"

/** The age of a chunk counts for all that is in it, so those in it came within so many ms. */
const CHUNK_MS = 10_000
const EXPIRING_CHUNK_MS = 1000
/** Positions of one chunk may differ by so many at most. */
const MOST_SPAN = 2 ** 28
const DIGITS = 16

/** See PacketDocument._id. */
export function packetKey(log: number, position: number): string {
  return `${String(log).padStart(DIGITS, "0")}/${String(position).padStart(DIGITS, "0")}`
}

function positionOf({ _id }: PacketDocument): number {
  return Number(_id.slice(DIGITS + 1))
}

/** The messages of a chunk. */
export function* packetsOf(log: number, { first, value, before }: Chunk): Generator<PacketDocument> {
  const frames = Frames.unseal(first, value)
  let { messages, bytes, expiring } = before
  for (let k = 0; k < frames.n; k++) {
    const kept = frames.isKept(k)
    yield {
      _id: packetKey(log, frames.positionOf(k)),
      log,
      ...documentOf(frames, k),
      ...(kept && { kept: true }),
      before: { messages, bytes, expiring },
    }
    messages++
    bytes += frames.endOf(k) - frames.startOf(k)
    if (frames.traits & Trait.EXPIRY) expiring++
  }
}

/** Throws Damage when somebody else wrote it. */
export function checkPacket(document: PacketDocument): void {
  checkMessage(document)
  if (typeof document.before?.messages !== "number") throw damaged(document._id)
}

/** Whether two messages may be in one chunk. */
export function together(head: PacketDocument, next: PacketDocument): boolean {
  const mayExpire = head.version === 5 || next.version === 5
  const span = positionOf(next) - positionOf(head)
  return next.at.getTime() - head.at.getTime() <= (mayExpire ? EXPIRING_CHUNK_MS : CHUNK_MS) && span < MOST_SPAN
}

/** Messages of a log as a chunk. */
export function chunkOf(documents: readonly PacketDocument[]): Chunk {
  const [head] = documents
  if (!head) throw new Error("a chunk has messages")
  const parts = documents.map((document) => messageOf(document))
  const whole = new Frames(Buffer.allocUnsafe(parts.reduce((sum, { bytes }) => sum + bytes, 0)), parts.length)
  whole.first = positionOf(head)
  whole.createdAt = head.at.getTime()
  for (const [k, document] of documents.entries()) {
    const part = parts[k]
    if (!part) continue
    if (document.kept === true) part.markKept(0)
    whole.append(part, 0, 1, positionOf(document))
  }
  return { first: whole.first, last: whole.last, before: head.before, value: whole.seal() }
}

/** About how many bytes a message has. */
export function sizeOf({ topic, payload, properties }: PacketDocument): number {
  return topic.length + (typeof payload === "string" ? payload.length : payload.length()) + (properties?.length() ?? 0) + 32
}
