import { foldNeeds, HEAD_ROOM_BYTES, megabytes } from "./disk-guard.js"

/** How long a look counts, in ms. */
const FRESH_MS = 50
/** So much more than the head room must be there before messages are taken again, in bytes: else it would be a question each moment. */
const MORE_BYTES = 2 << 20
/** From when on somebody is told that there is no room, in ms: a fold that makes some may be on its way. */
const LASTING_MS = 1000

/** What is to be known of a store's space, in bytes. */
export interface Space {
  /** what its file system has left */
  free(): number
  /** what it takes */
  used(): number
  /** what is not in the tables yet, and will be */
  unfolded(): number
  /** what of the file of tables can be used again */
  unused(): number
}

/** Told when there is no room for messages any more, and why; and when there is again. */
export interface RoomEvents {
  crowded?(why: string): void
  roomAgain?(): void
}

/**
 * Says whether a store has room for more messages: beside them the head room must stay free, and what it takes to bring what
 * is unfolded into the tables. Else the queue that fills the disk would keep those away that empty it.
 */
export class Room {
  /** why there is none */
  private why: string | undefined = undefined
  private since = 0
  private isTold = false
  private lookedAt = -Infinity

  /** @param most bytes that the store may take; undefined: what the disk has */
  constructor(
    private readonly space: Space,
    private readonly most: number | undefined,
    private readonly events: RoomEvents,
  ) {}

  get isCrowded(): boolean {
    const now = performance.now()
    if (now - this.lookedAt < FRESH_MS) return this.why !== undefined
    this.lookedAt = now
    const why = this.look()
    if (this.why === undefined) this.since = now
    this.why = why
    this.tell(now)
    return why !== undefined
  }

  private tell(now: number): void {
    const lasts = this.why !== undefined && now - this.since > LASTING_MS
    if (lasts && !this.isTold) this.events.crowded?.(this.why ?? "")
    if (this.why === undefined && this.isTold) this.events.roomAgain?.()
    this.isTold = this.why !== undefined && (lasts || this.isTold)
  }

  private look(): string | undefined {
    const { space, most = Infinity } = this
    const onDisk = space.free()
    const allowed = most - space.used()
    const free = Math.min(onDisk, allowed)
    const needed = HEAD_ROOM_BYTES + (this.why === undefined ? 0 : MORE_BYTES)
    const unfolded = 2 * space.unfolded()
    // what is unused is counted only when it matters
    if (free >= needed + unfolded) return undefined
    const missing = needed + foldNeeds(unfolded, space.unused()) - free
    if (missing <= 0) return undefined
    const where = allowed < onDisk ? "of what --max-store allows" : "on its disk"
    return `${megabytes(Math.max(free, 0))} MB ${where} are left; it goes on by itself when queues are emptied, or with ${megabytes(missing)} MB more`
  }
}
