import type { Commit, Store, StoredChunk, StoredState } from "./store.js"

/** `memory:` keeps the queues while the broker runs; nothing survives it. */
export class MemoryStore implements Store {
  readonly url = "memory:"
  readonly trouble = undefined
  /** by log: first positions, ascending, and the values beside them */
  private readonly logs = new Map<number, { firsts: number[]; values: Buffer[] }>()

  async load(): Promise<StoredState> {
    return { sessions: [], retained: [], wills: [], logs: [], next: { position: 1, id: 1 } }
  }

  async commit(commit: Commit): Promise<void> {
    for (const { log, first, value } of commit.appends) {
      const chunks = this.logs.get(log) ?? { firsts: [], values: [] }
      this.logs.set(log, chunks)
      chunks.firsts.push(first)
      chunks.values.push(value)
    }
    // removes come in ascending order, a log's from its beginning: one splice a log
    const counts = new Map<number, number>()
    for (const { log, first } of commit.removes)
      if (this.logs.get(log)?.firsts[counts.get(log) ?? 0] === first) counts.set(log, (counts.get(log) ?? 0) + 1)
    for (const [log, count] of counts) {
      const chunks = this.logs.get(log)
      chunks?.firsts.splice(0, count)
      chunks?.values.splice(0, count)
      if (!chunks?.firsts.length) this.logs.delete(log)
    }
  }

  chunkAt(log: number, position: number): StoredChunk | undefined {
    return this.chunk(log, this.at(log, position + 1) - 1)
  }

  read(log: number, position: number, most: { chunks: number; bytes: number }): StoredChunk[] {
    const found: StoredChunk[] = []
    let { bytes } = most
    for (let i = this.at(log, position); found.length < most.chunks && bytes > 0; i++) {
      const chunk = this.chunk(log, i)
      if (!chunk) break
      found.push(chunk)
      bytes -= chunk.value.length
    }
    return found
  }

  firsts(log: number, { from, below, limit }: { from: number; below: number; limit: number }): number[] {
    const start = this.at(log, from)
    return this.logs.get(log)?.firsts.slice(start, Math.min(start + limit, this.at(log, below))) ?? []
  }

  async close(): Promise<void> {}

  private chunk(log: number, i: number): StoredChunk | undefined {
    const chunks = this.logs.get(log)
    const first = chunks?.firsts[i]
    const value = chunks?.values[i]
    return first === undefined || value === undefined ? undefined : { first, value }
  }

  /** Index of the first chunk at or above `position`. */
  private at(log: number, position: number): number {
    const firsts = this.logs.get(log)?.firsts ?? []
    let lo = 0
    let hi = firsts.length
    while (lo < hi) {
      const mid = (lo + hi) >> 1
      if ((firsts[mid] ?? Infinity) < position) lo = mid + 1
      else hi = mid
    }
    return lo
  }
}
