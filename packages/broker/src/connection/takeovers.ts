import { createHash } from "node:crypto"

/** Takeovers of one Client Identifier within WINDOW_MS that pass without a wait. */
const FREE_TAKEOVERS = 5
const WINDOW_MS = 10_000
/** How long the next one waits for its CONNACK, in ms. */
const WAIT_MS = 1000
/** Client Identifiers whose takeovers are remembered, and how long they may be to be remembered as they are. */
const MOST_CLIENT_IDS = 10_000
const LONGEST_CLIENT_ID = 200

/**
 * Two clients with one Client Identifier take the Session from each other as fast as they reconnect: after a few
 * takeovers the newcomer waits a second, and the log says once what goes on.
 */
export class Takeovers {
  private readonly seen = new Map<string, { since: number; count: number }>()

  /** @param fight told once per fight */
  constructor(private readonly fight: (clientId: string) => void) {}

  /** A connection takes over; returns how many ms its CONNACK waits. `now` in ms. */
  note(clientId: string, now: number): number {
    const key = clientId.length > LONGEST_CLIENT_ID ? createHash("sha256").update(clientId).digest("base64") : clientId
    let entry = this.seen.get(key)
    if (!entry || now - entry.since > WINDOW_MS) {
      entry = { since: now, count: 0 }
      if (this.seen.size >= MOST_CLIENT_IDS) this.seen.clear()
      this.seen.set(key, entry)
    }
    if (++entry.count === FREE_TAKEOVERS + 1) this.fight(clientId)
    return entry.count > FREE_TAKEOVERS ? WAIT_MS : 0
  }
}
