import { foldNeeds, HEAD_ROOM_BYTES, megabytes } from "./disk-guard.js"

/** How long a look counts where there is plenty, and one at the tables, in ms. */
const FRESH_MS = 50
/** From when on somebody is told that there is no room, in ms: a fold that makes some may be on its way. */
const LASTING_MS = 1000
/** Who waits for room asks more often, in ms. */
const PAUSE_MS = 500
/** With so much more than the head room it does not matter what of the tables can be used again, in bytes. */
const PLENTY_BYTES = 64 << 20
/** What is unused in the tables stands for so much of the head room: it does not come back to the disk. */
const MOST_STOOD_FOR_BYTES = 10 << 20
/** With less there is none, in bytes: what is small would find a place between others that wait. */
const LEAST_BYTES = 256 << 10
/** What is so many times smaller than what was refused does not say that there is room for it. */
const ALIKE = 4
/** What a byte of a message takes in the journal and, at most, in the tables. */
const COPIES = 3

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
 * Says how many bytes of messages a store has room for: beside them the head room must stay free, and what it takes to bring
 * what is unfolded into the tables. Else the queue that fills the disk would keep those away that empty it.
 */
export class Room {
  private left = 0
  private unused = 0
  private why = ""
  private lookedAt = -Infinity
  /** since when it has had too little, and when last */
  private refusedSince = 0
  private refusedAt = -Infinity
  private refusedBytes = 0
  /** somebody was told that there is no room */
  private timer: NodeJS.Timeout | undefined = undefined

  /** @param most bytes that the store may take; undefined: what the disk has */
  constructor(
    private readonly space: Space,
    private readonly most: number | undefined,
    private readonly events: RoomEvents,
  ) {}

  /** Whether there is room for so many bytes of messages. */
  has(bytes: number): boolean {
    const now = performance.now()
    if (this.left < PLENTY_BYTES || now - this.lookedAt >= FRESH_MS) this.look(now)
    const has = this.left / COPIES > Math.max(bytes, LEAST_BYTES)
    if (!has) this.refused(bytes, now)
    else if (bytes * ALIKE > this.refusedBytes) this.refusedSince = now
    return has
  }

  private look(now: number): void {
    const { space, most = Infinity } = this
    const onDisk = space.free()
    const allowed = most - space.used()
    const free = Math.min(onDisk, allowed)
    const unfolded = 2 * space.unfolded()
    const hasPlenty = free > HEAD_ROOM_BYTES + PLENTY_BYTES + unfolded
    if (!hasPlenty && now - this.lookedAt >= FRESH_MS) this.unused = space.unused()
    if (now - this.lookedAt >= FRESH_MS) this.lookedAt = now
    const unused = hasPlenty ? 0 : this.unused
    const headRoom = HEAD_ROOM_BYTES - Math.min(unused / 2, MOST_STOOD_FOR_BYTES)
    this.left = free - headRoom - foldNeeds(unfolded, unused)
    this.why = `${megabytes(Math.max(free, 0))} MB ${allowed < onDisk ? "of --max-store" : "of its disk"} are left`
  }

  private refused(bytes: number, now: number): void {
    this.refusedBytes = bytes
    if (now - this.refusedAt > PAUSE_MS) this.refusedSince = now
    this.refusedAt = now
    if (this.timer || now - this.refusedSince < LASTING_MS) return
    this.events.crowded?.(this.why)
    this.timer = setInterval(() => this.tellOfRoom(), PAUSE_MS).unref()
  }

  private tellOfRoom(): void {
    if (performance.now() - this.refusedAt < PAUSE_MS) return
    this.close()
    this.events.roomAgain?.()
  }

  close(): void {
    clearInterval(this.timer)
    this.timer = undefined
  }
}
