/** A sealed block of a log with the positions of its first and last message. */
export interface Chunk {
  readonly first: number
  readonly last: number
  readonly value: Buffer
}

/** The index of the first of several ascending chunks that has a message at or above `position`; their number when none has. */
export function placeOf(chunks: readonly Chunk[], position: number): number {
  let lo = 0
  let hi = chunks.length
  while (lo < hi) {
    const mid = (lo + hi) >> 1
    if ((chunks[mid]?.last ?? Infinity) < position) lo = mid + 1
    else hi = mid
  }
  return lo
}

/** The chunks from `position` on, as far as `most` goes (Store.read). */
export function chunksFrom(chunks: readonly Chunk[], position: number, most: { chunks: number; bytes: number }): Chunk[] {
  const from = placeOf(chunks, position)
  let { bytes } = most
  let to = from
  while (to < chunks.length && to - from < most.chunks && bytes > 0) bytes -= chunks[to++]?.value.length ?? 0
  return chunks.slice(from, to)
}
