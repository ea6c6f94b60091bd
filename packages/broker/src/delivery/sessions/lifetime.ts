import type { SessionRow } from "../../stores/store.js"
import type { GroupCommit } from "../logs/group-commit.js"

/** How long a persistent Session lasts (MQTT 5.0 section 3.1.2.11.2), and its row in the store. Changes are in the gathering commit. */
export class Lifetime {
  constructor(
    private readonly id: number,
    private row: SessionRow,
    private readonly commits: GroupCommit,
  ) {}

  /** Session Expiry Interval in seconds, null: never */
  get expirySeconds(): number | null {
    return this.row.expirySeconds
  }
  /** when its connection ended, by the broker's time; null: it is connected */
  get disconnectedAt(): number | null {
    return this.row.disconnectedAt
  }
  /** by the broker's time; Infinity: not as long as nothing changes */
  get expiresAt(): number {
    const { disconnectedAt, expirySeconds } = this.row
    return disconnectedAt === null || expirySeconds === null ? Infinity : disconnectedAt + expirySeconds * 1000
  }

  /** Whose it is from now on; stored when it is resumed. */
  belongTo(user: string): void {
    this.row = { ...this.row, user }
  }

  connected(expirySeconds: number | null): void {
    this.write({ ...this.row, expirySeconds, disconnectedAt: null })
  }

  /** `expirySeconds`: as DISCONNECT changed it, undefined: as before. False: it ends with the connection. */
  disconnected(expirySeconds: number | null | undefined): boolean {
    const expiry = expirySeconds === undefined ? this.row.expirySeconds : expirySeconds
    if (expiry === 0) return false
    this.write({ ...this.row, expirySeconds: expiry, disconnectedAt: this.commits.time.now })
    return true
  }

  private write(row: SessionRow): void {
    this.row = row
    this.commits.writeSession(this.id, row)
  }
}
