import { EventEmitter } from "node:events"
import MongoPersistence from "aedes-persistence-mongodb/asyncPersistence.js"
import type { Db } from "mongodb"
import { qosOf, RETAIN } from "../../wire/packet-types.js"
import { framesOf, payloadOf, topicOf } from "../../wire/publish.js"
import type { SubscriptionRow, WillRow } from "../store.js"
import type { Unfolded } from "../unfolded.js"
import { slices } from "./slices.js"

/** Does one write, unless no more may be done. */
type Step = (write: () => Promise<unknown>) => Promise<void>

interface Packet {
  topic: string
}
type Handler = (packet: Packet, done: () => void) => void

/** What the package needs of a broker: what it publishes comes back to it. */
class Echo extends EventEmitter {
  readonly id = "mqtt-broker"
  private handler: Handler | undefined = undefined

  subscribe(_pattern: string, handler: Handler, done: () => void): void {
    this.handler = handler
    done()
  }
  unsubscribe(_pattern: string, _handler: Handler, done: () => void): void {
    this.handler = undefined
    done()
  }
  publish(packet: Packet, done: () => void): void {
    this.handler?.(packet, done)
  }
}

/**
 * The Subscriptions of persistent Sessions and the Wills in the layout of aedes, in `subscriptions` and `will`: for people, and
 * for who goes back to aedes. The broker itself does not read them.
 */
export class AedesLayout {
  private persistence: MongoPersistence | undefined = undefined
  /** by Session: its Client Identifier, and the Topic Filter of each slot that has a Subscription */
  private readonly sessions = new Map<number, { clientId: string; topics: Map<number, string> }>()

  /** by id: its Client Identifier */
  private readonly wills = new Map<number, string>()
  /** by Client Identifier: the id of its newest */
  private readonly newest = new Map<string, number>()

  constructor(private readonly db: Db) {}

  async open(): Promise<void> {
    // the package looks for them and makes no index
    await Promise.all([
      this.db.collection("subscriptions").createIndex({ clientId: 1, topic: 1 }),
      this.db.collection("will").createIndex({ clientId: 1 }),
    ])
    const persistence = new MongoPersistence({ db: this.db })
    await persistence.setup(new Echo())
    this.persistence = persistence
  }

  /** A Subscription that is there since an earlier fold. */
  note({ session, slot, clientId }: { session: number; slot: number; clientId: string }, row: SubscriptionRow): void {
    if (!isShown(row)) return
    const known = this.sessions.get(session) ?? { clientId, topics: new Map<number, string>() }
    this.sessions.set(session, known)
    known.topics.set(slot, row.filter)
  }

  /** A Will that is there since an earlier fold. */
  noteWill(id: number, { clientId }: WillRow): void {
    this.wills.set(id, clientId)
    this.newest.set(clientId, Math.max(id, this.newest.get(clientId) ?? 0))
  }

  /** Done again, it does no harm. */
  async fold(unfolded: Unfolded, step: Step): Promise<void> {
    await this.foldSubscriptions(unfolded, step)
    await this.foldWills(unfolded, step)
  }

  /** A client has one, of its connection; the one before it goes first. */
  private async foldWills({ wills }: Unfolded, step: Step): Promise<void> {
    for (const [id, row] of wills) {
      const clientId = row?.clientId ?? this.wills.get(id)
      if (clientId === undefined) continue
      if (row) this.noteWill(id, row)
      // oxlint-disable no-await-in-loop -- one behind the other
      if (this.newest.get(clientId) === id) {
        // the package removes one at a time, and a write whose outcome is unknown may have made a second
        await step(() => this.db.collection("will").deleteMany({ clientId }))
        if (row) await step(async () => this.persistence?.putWill({ id: clientId }, willPacket(row)))
        else this.newest.delete(clientId)
      }
      // oxlint-enable no-await-in-loop
      if (!row) this.wills.delete(id)
    }
  }

  private async foldSubscriptions({ sessions, subscriptions }: Unfolded, step: Step): Promise<void> {
    for (const [id, row] of sessions)
      if (row && !this.sessions.has(id)) this.sessions.set(id, { clientId: row.clientId, topics: new Map() })
    const gone = [...sessions].flatMap(([id, row]) => (row ? [] : [id]))
    // who is gone goes first: the same client may have a new Session
    for (const id of gone) await this.removeSession(id, step) // oxlint-disable-line no-await-in-loop -- one after the other
    for (const [id, rows] of subscriptions) if (sessions.get(id) !== undefined || !sessions.has(id)) await this.change(id, rows, step) // oxlint-disable-line no-await-in-loop
  }

  private async removeSession(id: number, step: Step): Promise<void> {
    const session = this.sessions.get(id)
    if (session) await this.remove(session.clientId, [...session.topics.values()], step)
    this.sessions.delete(id)
  }

  private async remove(id: string, topics: readonly string[], step: Step): Promise<void> {
    for (const some of slices(topics, ({ length }) => length)) await step(async () => this.persistence?.removeSubscriptions({ id }, some)) // oxlint-disable-line no-await-in-loop -- not all at a time
  }

  private async change(id: number, rows: ReadonlyMap<number, SubscriptionRow | undefined>, step: Step): Promise<void> {
    const session = this.sessions.get(id)
    if (!session) return
    const { clientId, topics } = session
    const added = [...rows].flatMap(([slot, row]) => (row && isShown(row) ? [{ slot, row }] : []))
    const shown = new Set(added.map(({ row }) => row.filter))
    const removed = [...rows].flatMap(([slot, row]) => {
      const topic = topics.get(slot)
      return topic === undefined || (row && isShown(row)) || shown.has(topic) ? [] : [{ slot, topic }]
    })
    await this.remove(
      clientId,
      removed.map(({ topic }) => topic),
      step,
    )
    for (const some of slices(added, ({ row }) => row.filter.length)) {
      const subscriptions = some.map(({ row }) => ({ topic: row.filter, qos: row.qos, nl: row.noLocal, rap: row.retainAsPublished, rh: 0 }))
      await step(async () => this.persistence?.addSubscriptions({ id: clientId }, subscriptions)) // oxlint-disable-line no-await-in-loop -- not all at a time
    }
    for (const { slot } of removed) topics.delete(slot)
    for (const { slot, row } of added) topics.set(slot, row.filter)
  }

  async close(): Promise<void> {
    await this.persistence?.destroy()
  }
}

function willPacket({ packet, v5 }: WillRow): { cmd: "publish"; topic: string; payload: Buffer; qos: number; retain: boolean } {
  const frames = framesOf(Buffer.from(packet, "base64"), v5)
  const header = frames.headerOf(0)
  return { cmd: "publish", topic: topicOf(frames, 0), payload: payloadOf(frames, 0), qos: qosOf(header), retain: (header & RETAIN) !== 0 }
}

/** It holds, and is one of a client's own. */
function isShown(row: SubscriptionRow): boolean {
  return row.until === null && row.filter !== ""
}
