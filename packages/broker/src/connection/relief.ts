import type { Accountant } from "../accounting/accountant.js"
import type { Counted } from "../accounting/tally.js"
import type { Clients } from "./clients.js"
import { TICK_MS, type Timed } from "./keep-alive.js"

/** How long memory may be tight before somebody is closed, in ms. */
const PATIENCE_MS = 2000
/** Who holds less is not closed: it would not help. */
const LEAST_BYTES = 65_536

/** What is said when memory becomes tight. */
export type TellTight = (takes: { bytes: number; limit: number; counted: Readonly<Counted> }) => void

/**
 * Gives memory back when clients take too much of it together: those that hold the most, of the place that holds the most,
 * are closed. At once when it is critical, else when pauses did not help.
 */
export class Relief implements Timed {
  /** for how long memory has been tight, in ms */
  private tightMs = 0

  constructor(
    private readonly accountant: Accountant,
    private readonly clients: Clients,
    private readonly tell: TellTight,
  ) {
    accountant.onCritical(() => {
      if (accountant.isCritical) this.evict()
    })
  }

  tick(): void {
    const { accountant } = this
    if (!accountant.isTight) {
      this.tightMs = 0
      return
    }
    if (this.tightMs === 0) this.sayTight()
    this.tightMs += TICK_MS
    if (this.tightMs > PATIENCE_MS) this.evict()
  }

  private sayTight(): void {
    const { counted: takes, limit, total } = this.accountant
    this.tell({ bytes: total, limit, counted: takes })
  }

  private evict(): void {
    const { accountant } = this
    if (this.tightMs === 0) this.sayTight()
    this.tightMs ||= TICK_MS
    let { excess } = accountant
    for (const client of this.clients.largest) {
      const { place, releasable } = client
      if (excess <= 0 || releasable < LEAST_BYTES) return
      excess -= releasable
      client.evict(
        `it takes ${Math.max(1, Math.round(releasable / 1_048_576))} MB of memory, and of all clients those from ${place.name} take the most; see --max-memory`,
      )
    }
  }
}
