import type { Commit, Cursor, Reserved, SessionRow, StoredTime, SubscriptionRow, WillRow } from "./store.js"
import { type Chunk, chunksFrom, placeOf } from "./chunks.js"
import { isBody } from "./sharing.js"

/** What a chunk, a row or a cut costs in memory beside its bytes. */
const OVERHEAD_BYTES = 200

/** What the journal has and the tables have not, in memory: chunks that somebody still needs, and rows in their last state. */
export class Unfolded {
  readonly logs = new Map<number, Chunk[]>()
  /** by log: what lies below is needed by nobody */
  readonly cuts = new Map<number, number>()
  readonly sessions = new Map<number, SessionRow | undefined>()
  /** by Session and slot */
  readonly subscriptions = new Map<number, Map<number, SubscriptionRow | undefined>>()
  readonly cursors = new Map<number, Cursor>()
  /** by Session and Packet Identifier: whether it is open */
  readonly incoming = new Map<number, Map<number, boolean>>()
  readonly retained = new Map<number, Buffer | undefined>()
  readonly wills = new Map<number, WillRow | undefined>()
  reserved: Reserved | undefined = undefined
  time: StoredTime | undefined = undefined
  /** about what it takes in memory, and in the tables: a block that logs share counts once where it is stored once */
  bytes = 0
  /** by block: how many chunks have it */
  private readonly sharers = new Map<Buffer, number>()

  /** A commit that is durable. */
  apply(commit: Commit): void {
    for (const append of commit.appends) this.append(append)
    for (const { log, below } of commit.cuts) this.cut(log, below)
    for (const { id, row } of commit.sessions) {
      this.set(this.sessions, id, row)
      if (!row) this.cursors.delete(id)
    }
    for (const { session, slot, row } of commit.subscriptions) this.set(inner(this.subscriptions, session), slot, row)
    for (const { session, cursor } of commit.cursors) {
      this.bytes += (cursor.inflight?.length ?? 0) - (this.cursors.get(session)?.inflight?.length ?? 0)
      this.set(this.cursors, session, cursor)
    }
    for (const { session, identifier, open } of commit.incoming) this.set(inner(this.incoming, session), identifier, open)
    for (const { id, value } of commit.retained) this.setBytes(this.retained, id, value)
    for (const { id, value } of commit.wills) {
      this.bytes += (value?.packet.length ?? 0) - (this.wills.get(id)?.packet.length ?? 0)
      this.set(this.wills, id, value)
    }
    if (commit.reserved) this.reserved = commit.reserved
    if (commit.time) this.time = commit.time
  }

  private append(chunk: Commit["appends"][number]): void {
    const chunks = this.logs.get(chunk.log)
    if (chunks) chunks.push(chunk)
    else this.logs.set(chunk.log, [chunk])
    this.share(chunk.value, 1)
  }

  /** A chunk more, or less, has the block. */
  private share(value: Buffer, chunks: 1 | -1): void {
    const before = this.sharers.get(value) ?? 0
    const after = before + chunks
    if (after) this.sharers.set(value, after)
    else this.sharers.delete(value)
    const most = Math.max(before, after)
    const counts = most > 1 && isBody(value.length, most) ? 0 : value.length
    this.bytes += chunks * (counts + OVERHEAD_BYTES)
  }

  private cut(log: number, below: number): void {
    this.set(this.cuts, log, below)
    const chunks = this.logs.get(log)
    if (!chunks) return
    for (const { value } of chunks.splice(0, placeOf(chunks, below))) this.share(value, -1)
    if (!chunks.length) this.logs.delete(log)
  }

  private set<K, V>(map: Map<K, V>, key: K, value: V): void {
    if (!map.has(key)) this.bytes += OVERHEAD_BYTES
    map.set(key, value)
  }

  private setBytes(map: Map<number, Buffer | undefined>, id: number, value: Buffer | undefined): void {
    this.bytes += (value?.length ?? 0) - (map.get(id)?.length ?? 0)
    this.set(map, id, value)
  }

  /** See Store.read. */
  read(log: number, position: number, most: { chunks: number; bytes: number }): Chunk[] {
    return chunksFrom(this.logs.get(log) ?? [], position, most)
  }
}

function inner<V>(map: Map<number, Map<number, V>>, key: number): Map<number, V> {
  const known = map.get(key)
  if (known) return known
  const made = new Map<number, V>()
  map.set(key, made)
  return made
}
