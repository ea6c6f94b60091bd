import type { Chunk } from "./chunks.js"
import { packed } from "./packing.js"

/** A block that several logs have may take so many bytes over all of them before it is kept once; the tests make it small. */
const MOST_COPIED_BYTES = Number(process.env["MQTT_BROKER_TEST_COPIED_BYTES"] ?? 8192)
/** One that is smaller is hardly larger than the row that would name it. */
const LEAST_BODY_BYTES = Math.min(256, MOST_COPIED_BYTES)

/** Whether a block that so many logs have is kept once, as a body: else each has it in a row of its own, which costs less. */
export function isBody(bytes: number, logs: number): boolean {
  return logs > 1 && bytes >= LEAST_BODY_BYTES && bytes * logs > MOST_COPIED_BYTES
}

/** Blocks one behind the other that the same logs have, with nothing between them. */
interface Strand {
  /** how many of a log's chunks it is */
  chunks: number
  /** put together; and which of its chunks each begins with. None: each log has them in rows of its own */
  bodies: { from: number; chunk: Chunk }[]
}

/** What is known of a block. */
interface Link {
  /** logs that have it */
  logs: number
  /** the block before it in all of them, undefined: it is the first */
  before: Buffer | undefined
  /** not the same one everywhere */
  isMixed: boolean
  /** that begins with it */
  strand: Strand | undefined
}

/** A row of a log: of its own; or one that names a body, which several logs have. */
export interface Row {
  chunk: Chunk
  body: Chunk | undefined
}

/**
 * Finds what several logs have in common, block for block, so that it is stored once. First every log is noted, then the rows
 * of each are made. Chunks whose `value` is one Buffer are one block, with the same positions.
 */
export class Sharing {
  private readonly links = new Map<Buffer, Link>()

  /** @param chunks of one log, ascending */
  note(chunks: readonly Chunk[]): void {
    let before: Buffer | undefined = undefined
    for (const { value } of chunks) {
      const link = this.links.get(value)
      if (!link) this.links.set(value, { logs: 1, before, isMixed: false, strand: undefined })
      else {
        link.logs++
        if (link.before !== before) link.isMixed = true
      }
      before = value
    }
  }

  /** The rows of one log that was noted: as few as the bounds allow, in order. */
  *rows(chunks: readonly Chunk[]): Generator<Row> {
    let own: Chunk[] = []
    for (let at = 0; at < chunks.length;) {
      const strand = this.strandAt(chunks, at)
      if (strand.bodies.length) {
        for (const chunk of packed(own)) yield { chunk, body: undefined }
        own = []
        for (const { from, chunk } of strand.bodies) {
          const { before } = chunks[at + from] ?? chunk
          yield { chunk: { ...chunk, before }, body: chunk }
        }
      } else own.push(...chunks.slice(at, at + strand.chunks))
      at += strand.chunks
    }
    for (const chunk of packed(own)) yield { chunk, body: undefined }
  }

  /** All logs that have the block at `at` have the same strand: it is looked for once. */
  private strandAt(chunks: readonly Chunk[], at: number): Strand {
    const link = this.linkAt(chunks, at)
    if (!link) throw new Error("a log was not noted")
    if (link.strand) return link.strand
    let end = at + 1
    while (end < chunks.length && this.isSameAsBefore(chunks, end)) end++
    const strand = chunks.slice(at, end)
    const bytes = strand.reduce((sum, { value }) => sum + value.length, 0)
    return (link.strand = { chunks: strand.length, bodies: isBody(bytes, link.logs) ? bodiesOf(strand) : [] })
  }

  /** Whether the logs that have a block are those that have the one before it. */
  private isSameAsBefore(chunks: readonly Chunk[], at: number): boolean {
    const link = this.linkAt(chunks, at)
    return link !== undefined && !link.isMixed && link.logs === this.linkAt(chunks, at - 1)?.logs
  }

  private linkAt(chunks: readonly Chunk[], at: number): Link | undefined {
    const chunk = chunks[at]
    return chunk && this.links.get(chunk.value)
  }
}

function bodiesOf(strand: readonly Chunk[]): Strand["bodies"] {
  return Array.from(packed(strand), (chunk) => ({ from: strand.findIndex(({ first }) => first === chunk.first), chunk }))
}
