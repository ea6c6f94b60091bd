/** Messages that were given up, by reason. */
export interface Dropped {
  /** QoS 0 to a client that reads too slowly */
  slow: number
  /** Message Expiry Interval ran out */
  expired: number
  /** larger than the client's Maximum Packet Size */
  tooLarge: number
  /** the oldest of a queue that reached its cap */
  queueFull: number
  /** waited under a Topic Filter that was unsubscribed */
  unsubscribed: number
  /** the client answered with a Reason Code of 0x80 or above */
  refused: number
  /** its user lost the right to read the topic before its turn came */
  forbidden: number
  /** waited for Sessions of this client that were discarded: known from the next one on */
  discarded: number
}

/** Whose messages were given up. */
export interface Dropper {
  readonly clientId: string
  readonly dropped: Readonly<Dropped>
}

/** The Sessions that gave messages up, until somebody tells of it. */
export class Drops {
  private readonly sessions = new Set<Dropper>()

  note(session: Dropper): void {
    this.sessions.add(session)
  }

  /** Those since the last call. */
  take(): Dropper[] {
    const sessions = [...this.sessions]
    this.sessions.clear()
    return sessions
  }
}
