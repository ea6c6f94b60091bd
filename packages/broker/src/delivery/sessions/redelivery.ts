import type { Window } from "./window.js"

/** What was in flight when the network connection ended and is sent again, in its order, after a reconnect [MQTT-4.4.0-1]. */
export class Redelivery {
  /** the entry of the window that is looked at next, and how many are left */
  private entry = 0
  private left = 0
  /** sent again and not acknowledged since: kept below the client's Receive Maximum, which may be smaller than before */
  private unacknowledged = 0

  constructor(private readonly window: Window) {}

  /** Something is left to look at. */
  get goesOn(): boolean {
    return this.left > 0
  }
  get hasRoom(): boolean {
    return this.unacknowledged < this.window.limit
  }

  /** A network connection is there. */
  begin(): void {
    this.entry = this.unacknowledged = 0
    this.left = this.window.length
  }

  end(): void {
    this.entry = this.left = this.unacknowledged = 0
  }

  /** The next entry, unless its message is to be sent again and lies at or above `position`: -1. */
  take(position: number): number {
    const { entry, window } = this
    if (!this.left || (window.needsMessage(entry) && window.positionAt(entry) >= position)) return -1
    this.entry++
    this.left--
    return entry
  }

  /** The entry of the message at `position`, which is sent again now; -1: it was given up before it was sent. */
  send(position: number): number {
    const { entry } = this
    if (this.window.positionAt(entry) !== position) return -1
    this.entry++
    this.left--
    this.unacknowledged++
    return entry
  }

  /** An entry was done; the head of the window, from which places are counted, moved so far. */
  finished(moved: number): void {
    if (!this.left) return
    this.unacknowledged = Math.max(0, this.unacknowledged - 1)
    const place = this.entry - moved
    this.entry = Math.max(0, place)
    if (place < 0) this.left = Math.max(0, this.left + place)
  }
}
