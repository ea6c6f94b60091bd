import type { StoredChunk } from "../../stores/store.js"
import { Frames } from "../../wire/frames.js"

/** An index of less is not worth the look, in bytes of the block. */
const LEAST_BYTES = 1024

/** Blocks whose bytes a store gave to several logs. */
const known = new WeakMap<Buffer, Frames>()

/** The block of a chunk: logs that have the same bytes share its index too, so that thousands of readers cost one. */
export function unsealed({ first, value, before, isShared = false }: StoredChunk): Frames {
  const other = value.length < LEAST_BYTES ? undefined : known.get(value)
  if (other?.first === first) return other.sharedAfter(before)
  const frames = Frames.unseal(first, value, before)
  frames.isShared = isShared
  if (value.length >= LEAST_BYTES) known.set(value, frames)
  return frames
}
