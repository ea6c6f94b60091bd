import { Frames, Trait } from "../wire/frames.js"
import type { Chunk } from "./chunks.js"

/** How large a row of several chunks may become, in bytes. */
const ROW_BYTES = 65_536
/** Chunks go together when they were made within so many ms: the age of a block counts for all that is in it. */
const ROW_MS = 10_000
const EXPIRING_ROW_MS = 1000
/** Positions of one block may differ by so many at most. */
const MOST_SPAN = 2 ** 28

/** Puts the chunks of one log together to as few as the bounds allow, in order. */
export function* packed(chunks: readonly Chunk[]): Generator<Chunk> {
  let group: Chunk[] = []
  let head: Frames | undefined = undefined
  let bytes = 0
  for (const chunk of chunks) {
    const frames = Frames.unseal(chunk.first, chunk.value)
    if (head && (bytes + chunk.value.length > ROW_BYTES || !together(head, frames))) {
      yield joined(group)
      group = []
      bytes = 0
      head = undefined
    }
    head ??= frames
    group.push(chunk)
    bytes += chunk.value.length
  }
  if (group.length) yield joined(group)
}

function together(head: Frames, next: Frames): boolean {
  const expiring = (head.traits | next.traits) & Trait.EXPIRY
  return next.createdAt - head.createdAt <= (expiring ? EXPIRING_ROW_MS : ROW_MS) && next.last - head.first < MOST_SPAN
}

function joined(chunks: readonly Chunk[]): Chunk {
  const [only] = chunks
  if (!only) throw new Error("there is nothing to put together")
  if (chunks.length === 1) return only
  const parts = chunks.map(({ first, value }) => Frames.unseal(first, value))
  const whole = new Frames(
    Buffer.allocUnsafe(parts.reduce((sum, { bytes }) => sum + bytes, 0)),
    parts.reduce((sum, { n }) => sum + n, 0),
  )
  whole.first = only.first
  whole.createdAt = parts[0]?.createdAt ?? 0
  for (const part of parts) for (let k = 0; k < part.n; k++) whole.append(part, k, k + 1, part.positionOf(k))
  return { first: whole.first, last: whole.last, before: only.before, value: whole.seal() }
}
