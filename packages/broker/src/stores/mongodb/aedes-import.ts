import { Binary, type Db } from "mongodb"
import { Frames, NO_AMOUNT } from "../../wire/frames.js"
import type { QoS } from "../../wire/packet-types.js"
import type { Commit, SubscriptionRow } from "../store.js"
import { Damage } from "../errors.js"
import { bytesOf, messageOf } from "./message.js"

/*
 * A database of aedes with aedes-persistence-mongodb becomes a store: its collections are set aside, what they have is the
 * first commit, and they go when that is folded. Each step may be interrupted, and is done again.
 */

const NAMES = ["subscriptions", "outgoing", "incoming", "retained", "will"] as const
/** What only a store has. */
const OWN = ["journal", "packets", "logs", "sessions", "holds", "wills"] as const
const ASIDE = "aedes_"
/** How large a block of queued messages becomes, in bytes. */
const BLOCK_BYTES = 65_536

interface AedesPacket {
  cmd?: string
  brokerId?: string
  brokerCounter?: number
  topic: string
  payload: string | Binary | Buffer
  qos: QoS
  retain?: boolean
}
interface AedesSubscription {
  clientId: string
  topic: string
  qos: QoS
  nl?: boolean
  rap?: boolean
}
interface ForClient {
  clientId: string
  packet: AedesPacket
}

/** Sets the collections aside, in a database that is not a store yet (`isStore`). Throws when they are somebody else's. */
export async function setAside(db: Db, isStore: () => Promise<boolean>): Promise<void> {
  const there = await names(db)
  for (const name of OWN) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    if (there.has(name) && (await db.collection(name).findOne({})) && !(await isStore())) throw foreign(name)
  }
  for (const name of NAMES) {
    if (!there.has(name)) continue
    // oxlint-disable no-await-in-loop -- one after the other
    if (await isStore()) return // another broker was faster
    const one = await db.collection(name).findOne({})
    if (one && !isOfAedes(name, one)) throw foreign(name)
    if (one && there.has(ASIDE + name))
      throw new Damage(
        `it has ${JSON.stringify(ASIDE + name)} of a take-over that was interrupted, and a newer ${JSON.stringify(name)}; keep one, under the second name`,
      )
    if (there.has(ASIDE + name)) await db.collection(name).drop()
    else await db.collection(name).rename(ASIDE + name)
    // oxlint-enable no-await-in-loop
  }
}

function foreign(name: string): Damage {
  return new Damage(`its collection ${JSON.stringify(name)} is neither mqtt-broker's nor aedes'; give another database`)
}

async function names(db: Db): Promise<Set<string>> {
  const found = await db.listCollections({}, { nameOnly: true }).toArray()
  return new Set(found.map(({ name }) => name))
}

function isOfAedes(name: string, document: object): boolean {
  const fields =
    name === "retained" ? ["topic", "payload"] : name === "subscriptions" ? ["clientId", "topic", "qos"] : ["clientId", "packet"]
  return fields.every((field) => field in document) && !("epoch" in document)
}

/** Whether collections of aedes are set aside. */
export async function isAside(db: Db): Promise<boolean> {
  const there = await names(db)
  return NAMES.some((name) => there.has(ASIDE + name))
}

export async function dropAside(db: Db): Promise<void> {
  const there = await names(db)
  for (const name of NAMES) if (there.has(ASIDE + name)) await db.collection(ASIDE + name).drop() // oxlint-disable-line no-await-in-loop -- one after the other
}

/** All that was set aside. */
export async function aedesCommit(db: Db, now: number): Promise<Commit> {
  const subscriptions = await db.collection<AedesSubscription>(`${ASIDE}subscriptions`).find().toArray()
  const outgoing = await db.collection<ForClient>(`${ASIDE}outgoing`).find().toArray()
  const retained = await db.collection<AedesPacket>(`${ASIDE}retained`).find().toArray()
  const wills = await db.collection<ForClient>(`${ASIDE}will`).find().toArray()
  const taken = new Taken(now)
  for (const [clientId, packets] of byClient(outgoing)) taken.queue(clientId, packets)
  for (const one of subscriptions) taken.subscribe(one)
  for (const packet of retained) taken.retain(packet)
  for (const { clientId, packet } of wills) taken.will(clientId, packet)
  return taken.commit()
}

/** aedes gives each message a number; the database gives them in no order. */
function byClient(outgoing: readonly ForClient[]): Map<string, AedesPacket[]> {
  const found = new Map<string, AedesPacket[]>()
  for (const { clientId, packet } of outgoing) {
    const packets = found.get(clientId)
    if (packets) packets.push(packet)
    else found.set(clientId, [packet])
  }
  for (const packets of found.values())
    packets.sort((a, b) => (a.brokerId ?? "").localeCompare(b.brokerId ?? "") || (a.brokerCounter ?? 0) - (b.brokerCounter ?? 0))
  return found
}

/** The commit, while it is made. */
class Taken {
  private position = 1
  private id = 1
  private readonly sessions = new Map<string, { id: number; rows: Omit<SubscriptionRow, "since">[] }>()
  private readonly logs = new Map<string, number>()
  private readonly appends: Commit["appends"] = []
  private readonly retained: Commit["retained"] = []
  private readonly wills: Commit["wills"] = []

  constructor(private readonly now: number) {}

  private session(clientId: string): { id: number; rows: Omit<SubscriptionRow, "since">[] } {
    const session = this.sessions.get(clientId) ?? { id: this.id++, rows: [] }
    this.sessions.set(clientId, session)
    return session
  }

  /** What waits for a client, in a log of its own; a Subscription may have brought it that is gone. */
  queue(clientId: string, packets: readonly AedesPacket[]): void {
    const messages = packets.filter(({ cmd }) => cmd === undefined || cmd === "publish").map((packet) => this.frames(packet))
    if (!messages.length) return
    const log = this.id++
    this.session(clientId).rows.push({ ...ROW, filter: "", qos: 2, retainAsPublished: true, log })
    let before = NO_AMOUNT
    while (messages.length) {
      let bytes = 0
      const count = Math.max(
        1,
        messages.findIndex((one) => (bytes += one.bytes) > BLOCK_BYTES),
      )
      const some = messages.splice(0, bytes > BLOCK_BYTES ? count : messages.length)
      const block = new Frames(Buffer.alloc(some.reduce((sum, one) => sum + one.bytes, 0)), some.length)
      block.first = this.position
      block.createdAt = this.now
      for (const one of some) block.append(one, 0, 1, this.position++)
      this.appends.push({ log, first: block.first, last: block.last, before, value: block.seal() })
      before = { messages: before.messages + block.n, bytes: before.bytes + block.bytes, expiring: 0 }
    }
  }

  subscribe({ clientId, topic, qos, nl = false, rap = false }: AedesSubscription): void {
    const key = JSON.stringify([topic, nl && clientId])
    const log = qos ? (this.logs.get(key) ?? this.id++) : 0
    if (log) this.logs.set(key, log)
    this.session(clientId).rows.push({ ...ROW, filter: topic, qos, noLocal: nl, retainAsPublished: rap, log })
  }

  retain(packet: AedesPacket): void {
    const frames = this.frames({ ...packet, retain: true })
    frames.createdAt = this.now
    frames.markKept(0)
    this.retained.push({ id: this.id++, value: frames.seal() })
  }

  will(clientId: string, packet: AedesPacket): void {
    const { buf } = this.frames(packet)
    this.wills.push({ id: this.id++, value: { clientId, delaySeconds: 0, v5: false, packet: buf.toString("base64") } })
  }

  private frames({ topic, payload, qos, retain = false }: AedesPacket): Frames {
    const bytes = Buffer.isBuffer(payload) ? payload : bytesOf(payload)
    return messageOf({ topic, payload: new Binary(bytes), qos, retain, dup: false, version: 4, at: new Date(this.now) })
  }

  commit(): Commit {
    const { appends, retained, wills, now, position, id } = this
    const sessions = [...this.sessions]
    return {
      appends,
      cuts: [],
      sessions: sessions.map(([clientId, session]) => ({ id: session.id, row: { clientId, expirySeconds: null, disconnectedAt: now } })),
      subscriptions: sessions.flatMap(([, session]) =>
        // a queue is read from its beginning on, a Subscription from now on
        session.rows.map((row, n) => ({ session: session.id, slot: n + 1, row: { ...row, since: row.filter ? position : 1 } })),
      ),
      cursors: [],
      incoming: [],
      retained,
      wills,
      reserved: { position, id },
    }
  }
}

const ROW = { noLocal: false, retainAsPublished: false, identifier: 0, until: null } as const
