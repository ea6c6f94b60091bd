import { type Chunk, chunksFrom, placeOf } from "./chunks.js"
import type { Commit, Store, StoredChunk, StoredState } from "./store.js"

/** `memory:` keeps the queues while the broker runs; nothing survives it. */
export class MemoryStore implements Store {
  readonly url = "memory:"
  readonly trouble = undefined
  /** by log, ascending */
  private readonly logs = new Map<number, Chunk[]>()

  async load(): Promise<StoredState> {
    return { sessions: [], retained: [], wills: [], logs: [], next: { position: 1, id: 1 } }
  }

  async commit(commit: Commit): Promise<void> {
    for (const append of commit.appends) {
      const chunks = this.logs.get(append.log)
      if (chunks) chunks.push(append)
      else this.logs.set(append.log, [append])
    }
    for (const { log, below } of commit.cuts) {
      const chunks = this.logs.get(log)
      chunks?.splice(0, placeOf(chunks, below))
      if (!chunks?.length) this.logs.delete(log)
    }
  }

  read(log: number, position: number, most: { chunks: number; bytes: number }): StoredChunk[] {
    return chunksFrom(this.logs.get(log) ?? [], position, most)
  }

  async close(): Promise<void> {}
}
