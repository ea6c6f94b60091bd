import type { Collection, FindCursor } from "mongodb"
import type { PacketDocument } from "./documents.js"
import { packetKey } from "./packets.js"

/** So many queries are kept open at most, each for a Session that goes on in a log. */
const MOST_OPEN = 16
/** So many Sessions read at once; connections are left for commits. */
const MOST_AT_ONCE = 4
/** What one query gives at a time, in messages. */
const BATCH = 500
/** How long one may take, in ms: some servers look through all messages of a log. */
const LONGEST_MS = 60_000

interface OpenQuery {
  log: number
  /** the position below which it gave all */
  position: number
  /** the last position that it gives */
  last: number
  cursor: FindCursor<PacketDocument>
  /** the message that it gave, and nobody took */
  ahead: PacketDocument | undefined
}

/** The messages of logs in the order of their positions; who goes on where it ended is answered by the same query. */
export class PacketReading {
  private readonly open: OpenQuery[] = []
  /** how many more may read; below 0: so many wait for it */
  private left = MOST_AT_ONCE
  private readonly waiting: (() => void)[] = []

  constructor(private readonly packets: Collection<PacketDocument>) {}

  /**
   * The messages of a log from a position up to `last`, as long as `take` says true; the one that it does not take comes
   * the next time.
   */
  async each(log: number, from: { position: number; last: number }, take: (document: PacketDocument) => boolean): Promise<void> {
    if (this.left-- <= 0)
      await new Promise<void>((resolve) => {
        this.waiting.push(resolve)
      })
    try {
      await this.read(log, from, take)
    } finally {
      this.left++
      this.waiting.shift()?.()
    }
  }

  private async read(log: number, from: { position: number; last: number }, take: (document: PacketDocument) => boolean): Promise<void> {
    const query = this.reopened(log, from.position, from.last) ?? this.begin(log, from)
    try {
      for (;;) {
        const document = query.ahead ?? (await query.cursor.next()) ?? undefined // oxlint-disable-line no-await-in-loop -- one behind the other
        query.ahead = document
        if (!document) return await query.cursor.close()
        if (!take(document)) break
        query.ahead = undefined
        query.position = Number(document._id.slice(document._id.indexOf("/") + 1)) + 1
      }
    } catch (error) {
      await query.cursor.close().catch(() => {})
      throw error
    }
    this.open.push(query)
    if (this.open.length > MOST_OPEN) await this.open.shift()?.cursor.close()
  }

  private reopened(log: number, position: number, last: number): OpenQuery | undefined {
    const place = this.open.findIndex((query) => query.log === log && query.position === position && query.last === last)
    return place < 0 ? undefined : this.open.splice(place, 1)[0]
  }

  private begin(log: number, { position, last }: { position: number; last: number }): OpenQuery {
    const range = { $gte: packetKey(log, position), $lte: packetKey(log, last) }
    const cursor = this.packets.find({ log, _id: range }, { timeoutMS: LONGEST_MS, timeoutMode: "iteration" })
    return { log, position, last, cursor: cursor.sort({ _id: 1 }).batchSize(BATCH), ahead: undefined }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.open.splice(0).map(({ cursor }) => cursor.close()))
  }
}
