import type { SubscriptionRow } from "../../stores/store.js"
import type { GroupCommit } from "../logs/group-commit.js"
import type { Log } from "../logs/log.js"
import type { Hold, Reader } from "../logs/reader.js"
import type { SubscriptionOptions } from "./session.js"

/** Where the logs of Topic Filters are. */
export interface Logs {
  /** The log of a Topic Filter, made when there is none. `own`: without what this Session publishes itself, for it alone. */
  of(filter: string, own: boolean): Log
  /** A new log that no Topic Filter leads to. */
  make(): Log
  /** One that the store has. */
  stored(row: SubscriptionRow): Log
}

/** What holds need of their Session. */
export interface HoldingSession {
  readonly id: number
  readonly readers: readonly Reader[]
  hold(log: Log, hold: Hold): Reader
  /** False: nothing of it is left to deliver. */
  letGo(reader: Reader, until?: number): boolean
  /** A grant was raised. */
  raise(): void
}

/** What one persistent Session holds of the logs at QoS 1 and 2, by Topic Filter, and the rows of it in the store. */
export class Holds {
  private readonly held = new Map<string, { slot: number; reader: Reader | undefined }>()
  private nextSlot = 1

  constructor(
    private readonly session: HoldingSession,
    private readonly logs: Logs,
    private readonly commits: GroupCommit,
  ) {}

  /** A Subscription was made or replaced. */
  subscribe(filter: string, options: SubscriptionOptions): void {
    const { session, commits } = this
    const held = this.held.get(filter) ?? { slot: this.nextSlot++, reader: undefined }
    this.held.set(filter, held)
    const current = held.reader
    const log = options.qos ? this.logs.of(filter, options.noLocal) : undefined
    if (current && current.log === log) {
      if (options.qos > current.qos) session.raise()
      current.qos = options.qos
    } else {
      // what waits under the old grant is still delivered [MQTT-3.8.4-4]
      if (current) this.drain(filter, current, commits.next)
      held.reader = log && session.hold(log, { since: commits.next, qos: options.qos, filter })
    }
    commits.writeSubscription(session.id, held.slot, rowOf(filter, options, held.reader))
  }

  /** The readers that end with a Subscription. */
  endingWith(filter: string): Reader[] {
    const current = this.held.get(filter)?.reader
    return this.session.readers.filter((reader) => reader === current || (reader.slot && reader.filter === filter))
  }

  /** A Subscription ended. What waits only under it is dropped, what is in flight completes. */
  unsubscribe(filter: string): void {
    const held = this.held.get(filter)
    const ending = this.endingWith(filter)
    this.held.delete(filter)
    for (const reader of ending) this.drain(filter, reader)
    if (held) this.commits.writeSubscription(this.session.id, held.slot, undefined)
  }

  /** Ends a hold; as long as something of it is to be delivered, it has a row of its own. */
  private drain(filter: string, reader: Reader, until?: number): void {
    if (!this.session.letGo(reader, until)) return
    reader.slot ||= this.nextSlot++
    const options = { qos: reader.qos, noLocal: false, retainAsPublished: false, identifier: 0 }
    this.commits.writeSubscription(this.session.id, reader.slot, rowOf(filter, options, reader))
  }

  /** The log of retained messages that a SUBSCRIBE brought this Session. It stands among its holds under an empty filter. */
  privateLog(): Log {
    const held = this.held.get("")
    if (held?.reader) return held.reader.log
    const { session, commits } = this
    const log = this.logs.make()
    const reader = session.hold(log, { since: commits.next, qos: 2, filter: "" })
    const slot = this.nextSlot++
    this.held.set("", { slot, reader })
    commits.writeSubscription(session.id, slot, rowOf("", PRIVATE_OPTIONS, reader))
    return log
  }

  /** A stored Subscription, or a hold that outlived one. */
  restore(slot: number, row: SubscriptionRow): void {
    const { session } = this
    const { filter, qos, since } = row
    this.nextSlot = Math.max(this.nextSlot, slot + 1)
    if (row.until === null) {
      this.held.set(filter, { slot, reader: row.log ? session.hold(this.logs.stored(row), { since, qos, filter }) : undefined })
      return
    }
    const reader = session.hold(this.logs.stored(row), { since, qos, filter })
    reader.slot = slot
    session.letGo(reader, row.until)
  }

  /** The Session is discarded. */
  removeRows(): void {
    for (const { slot } of this.held.values()) this.commits.writeSubscription(this.session.id, slot, undefined)
  }
}

const PRIVATE_OPTIONS: SubscriptionOptions = { qos: 2, noLocal: false, retainAsPublished: true, identifier: 0 }

function rowOf(filter: string, options: SubscriptionOptions, reader: Reader | undefined): SubscriptionRow {
  return {
    filter,
    ...options,
    log: reader?.log.id ?? 0,
    since: reader?.since ?? 0,
    until: reader && reader.until !== Infinity ? reader.until : null,
  }
}
