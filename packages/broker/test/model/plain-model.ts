import { topicMatches } from "@mqtt-trio/common"
import type { ClientName, QoS, WillOptions } from "./steps.js"

/** What one subscription at QoS 1 or 2 holds for a session; a later grant at QoS 0 closes it for new messages. */
interface Hold {
  qos: QoS
  open: boolean
}

/** A message at QoS 1 or 2 on its way to a session. */
export interface Entry {
  n: number
  topic: string
  retain: boolean
  /** as published; of a retained message already capped by the grant */
  qos: QoS
  holds: Set<Hold>
  phase: "waiting" | "sent" | "released" | "done"
  /** at which it was sent */
  sentQos: QoS
  packetId: number
  /** the broker was killed since it was published */
  survivor: boolean
  /** retained messages of one SUBSCRIBE come in any order */
  group: number
  /** its place in the queue since the session began */
  place: number
}

export interface Expected {
  kind: "publish" | "pubrel"
  entry: Entry
  again: boolean
}

export interface Plain {
  n: number | null
  topic: string
  retain: boolean
  /** may be missing: published while a takeover was going on */
  optional: boolean
}

/** A session as the standard has it: subscriptions, a queue, what is in flight. */
export class ModelSession {
  readonly subscriptions = new Map<string, { qos: QoS; hold: Hold | null; closed: Hold[] }>()
  queue: Entry[] = []
  connected = true
  /** what must come next, in this order */
  readonly expected: Expected[] = []
  /** QoS 0, in this order, apart from the rest */
  readonly plain: Plain[] = []
  /** completed, and perhaps not so in the store: after a crash QoS 1 may come once more */
  private completed: Entry[] = []
  /** Packet Identifiers of PUBREL that came again: the PUBCOMP may be lost again */
  private answered = new Set<number>()
  private nextPlace = 0
  /** what may come once more since a crash */
  repeatable: Entry[] = []
  /** Packet Identifiers whose PUBCOMP may have come too late for a crash */
  releasable = new Set<number>()
  /** of what the client publishes at QoS 2: accepted, and not released */
  readonly incoming = new Set<number>()

  constructor(
    /** made by a CONNECT whose session ends with its connection: all in memory */
    readonly transient: boolean,
    public lasting: boolean,
    private readonly window: number,
  ) {}

  /** Puts a message in the queue, or delivers it at once at QoS 0. */
  offer(message: { n: number; topic: string; qos: QoS }, optional: boolean): void {
    const matching = [...this.subscriptions]
      .filter(([filter]) => topicMatches(filter, message.topic))
      .map(([, subscription]) => subscription)
    if (matching.length === 0) return
    const granted = Math.max(...matching.map(({ qos }) => qos))
    if (message.qos === 0 || granted === 0) {
      if (this.connected) this.plain.push({ n: message.n, topic: message.topic, retain: false, optional })
      return
    }
    const holds = matching.flatMap(({ hold }) => (hold?.open ? [hold] : []))
    this.enqueue({ ...message, retain: false, holds: new Set(this.transient ? holds.map((hold) => ({ ...hold })) : holds), group: 0 })
    this.pump()
  }

  enqueue(fields: Pick<Entry, "n" | "topic" | "qos" | "retain" | "holds" | "group">): void {
    this.queue.push({ ...fields, phase: "waiting", sentQos: 0, packetId: 0, survivor: false, place: this.nextPlace++ })
  }

  subscribe(filter: string, qos: QoS): void {
    const before = this.subscriptions.get(filter)
    const closed = before?.closed ?? []
    let hold = before?.hold ?? null
    if (qos > 0 && hold) hold.qos = qos
    else if (qos > 0) hold = { qos, open: true }
    else if (hold) {
      hold.open = false
      closed.push(hold)
      hold = null
    }
    this.subscriptions.set(filter, { qos, hold, closed })
  }

  /** What waits only under this filter is dropped; what is in flight completes. */
  unsubscribe(filter: string): void {
    const { hold, closed = [] } = this.subscriptions.get(filter) ?? {}
    this.subscriptions.delete(filter)
    if (hold) hold.open = false
    const ended = hold ? [...closed, hold] : closed
    this.queue = this.queue.filter((entry) => {
      if (entry.phase !== "waiting") return true
      const left = ended.filter((one) => entry.holds.delete(one)).length
      return !left || entry.holds.size > 0
    })
  }

  /** Sends what the window has room for: unacknowledged messages, and a span of four windows. */
  pump(): void {
    if (!this.connected) return
    for (const entry of this.queue) {
      const span = this.queue.filter(({ phase }) => phase !== "waiting")
      const open = span.filter(({ phase }) => phase !== "done").length
      if (entry.phase !== "waiting") continue
      if (open >= this.window || span.length >= this.window * 4) return
      entry.phase = "sent"
      entry.sentQos = this.effective(entry)
      this.expected.push({ kind: "publish", entry, again: false })
    }
  }

  effective(entry: Entry): QoS {
    if (entry.holds.size === 0) return entry.qos
    const granted = Math.max(...[...entry.holds].map(({ qos }) => qos))
    return granted >= entry.qos ? entry.qos : granted === 2 ? 2 : 1
  }

  /** PUBREC */
  received(packetId: number): void {
    this.inFlight(packetId, "sent").phase = "released"
  }

  /** PUBACK or PUBCOMP */
  finish(packetId: number): void {
    const entry = this.inFlight(packetId)
    entry.phase = "done"
    this.completed.push(entry)
    while (this.queue[0]?.phase === "done") this.queue.shift()
    this.pump()
  }

  /** A message came: those before it do not come again any more. */
  passed(entry: Entry): void {
    this.repeatable = this.repeatable.filter(({ place }) => place > entry.place)
  }

  /** A message came again and was acknowledged again; false: it must not. The order of those that come again is kept. */
  again(entry: Entry | undefined): boolean {
    if (!entry) return false
    this.passed(entry)
    this.completed.push(entry)
    return true
  }

  /** PUBREL came again and was answered again; false: it must not. */
  releasedAgain(packetId: number): boolean {
    this.answered.add(packetId)
    return this.releasable.delete(packetId)
  }

  private inFlight(packetId: number, phase?: Entry["phase"]): Entry {
    const open = (entry: Entry): boolean => (phase ? entry.phase === phase : entry.phase === "sent" || entry.phase === "released")
    const entry = this.queue.find((one) => one.packetId === packetId && open(one))
    if (!entry) throw new Error(`nothing is in flight with identifier ${packetId}`)
    return entry
  }

  /** The connection is there: what is in flight again, then what waits. */
  attach(): void {
    this.connected = true
    for (const entry of this.queue) {
      if (entry.phase === "sent") this.expected.push({ kind: "publish", entry, again: true })
      if (entry.phase === "released") this.expected.push({ kind: "pubrel", entry, again: true })
    }
    this.pump()
  }

  /**
   * All has come that had to, and the store has the cursor: only what is completed above it may come again. What the broker
   * has to read from its tables first comes when it is read, whatever the client asked and was answered meanwhile.
   */
  settle(): void {
    this.plain.length = 0
    if (!this.connected) return
    this.releasable.clear()
    this.answered.clear()
    this.completed = this.queue.filter(({ phase }) => phase === "done")
  }

  detach(): void {
    this.connected = false
    this.expected.length = 0
    this.plain.length = 0
  }

  crashed(): void {
    // sent, but the client never saw it
    for (const { kind, entry, again } of this.expected) if (kind === "publish" && !again) entry.phase = "waiting"
    this.detach()
    for (const entry of this.queue) entry.survivor = true
    const again = new Set([...this.repeatable, ...this.completed.filter(({ sentQos }) => sentQos === 1)])
    this.repeatable = [...again].toSorted((a, b) => a.place - b.place)
    for (const { sentQos, packetId } of this.completed) if (sentQos === 2) this.releasable.add(packetId)
    for (const packetId of this.answered) this.releasable.add(packetId)
    this.completed = this.queue.filter(({ phase }) => phase === "done")
  }
}

/** The Will of a connection. Those that a crash sends come in the order in which they were armed. */
export interface ModelWill extends WillOptions {
  n: number
}

export interface ModelClient {
  session: ModelSession | null
  will: ModelWill | null
}

export interface ModelConnect {
  clean: boolean
  lasting: boolean
  window: number
  will: ModelWill | null
}

export interface ModelMessage {
  n: number
  topic: string
  qos: QoS
  retain: boolean
}

/** The broker as it ought to be: sessions, retained messages, wills. No network, no store. */
export class Model {
  readonly clients = new Map<ClientName, ModelClient>()
  readonly retained = new Map<string, { n: number; qos: QoS }>()
  /** to be sent when the broker dies */
  private readonly armed = new Set<ModelWill>()
  private groups = 0

  client(name: ClientName): ModelClient {
    const known = this.clients.get(name)
    if (known) return known
    const made: ModelClient = { session: null, will: null }
    this.clients.set(name, made)
    return made
  }

  session(name: ClientName): ModelSession {
    const { session } = this.client(name)
    if (!session) throw new Error(`${name} has no session`)
    return session
  }

  /**
   * CONNECT. Returns Session Present. `fires`: a Will that the takeover sends has been sent; else it is still stored.
   */
  connect(name: ClientName, { clean, lasting, window, will }: ModelConnect, fires = true): boolean {
    const client = this.client(name)
    const lost = client.session?.connected ? client.will : null
    if (client.session?.connected) {
      client.session.detach()
      if (!client.session.lasting) client.session = null
    }
    if (clean) client.session = null
    const present = client.session !== null
    client.session ??= new ModelSession(!lasting, lasting, window)
    client.session.lasting = lasting
    client.session.attach()
    client.will = will
    if (will) this.armed.add(will)
    if (lost && fires) this.send(lost, client.session)
    return present
  }

  /** The connection ended; with its Will, or without. */
  leave(name: ClientName, withWill: boolean): void {
    const client = this.client(name)
    const { will } = client
    client.will = null
    client.session?.detach()
    if (client.session && !client.session.lasting) client.session = null
    if (will && withWill) this.send(will)
    else if (will) this.armed.delete(will)
  }

  crash(): void {
    for (const client of this.clients.values()) {
      client.will = null
      client.session?.crashed()
      if (client.session && !client.session.lasting) client.session = null
    }
    for (const will of this.armed) this.send(will)
  }

  private send(will: ModelWill, takenOver: ModelSession | null = null): void {
    this.armed.delete(will)
    this.publish(will, takenOver)
  }

  /** PUBLISH at QoS 2, which is accepted once until `release`. */
  begin(name: ClientName, packetId: number, message: ModelMessage): void {
    const { incoming } = this.session(name)
    if (incoming.has(packetId)) return
    incoming.add(packetId)
    this.publish(message)
  }

  /** PUBREL */
  release(name: ClientName, packetId: number): void {
    this.session(name).incoming.delete(packetId)
  }

  /** @param takenOver a session that is just being resumed: QoS 0 may miss it */
  publish(message: ModelMessage, takenOver: ModelSession | null = null): void {
    if (message.retain) this.retained.set(message.topic, { n: message.n, qos: message.qos })
    for (const { session } of this.clients.values()) session?.offer(message, session === takenOver)
  }

  clear(topic: string): void {
    this.retained.delete(topic)
    for (const { session } of this.clients.values()) {
      const matches = session?.connected && [...session.subscriptions.keys()].some((filter) => topicMatches(filter, topic))
      if (matches) session.plain.push({ n: null, topic, retain: false, optional: false })
    }
  }

  subscribe(name: ClientName, filter: string, granted: QoS): void {
    const session = this.session(name)
    session.subscribe(filter, granted)
    this.groups++
    for (const [topic, { n, qos }] of this.retained) {
      if (!topicMatches(filter, topic)) continue
      const capped = qos < granted ? qos : granted
      if (capped === 0) session.plain.push({ n, topic, retain: true, optional: false })
      else session.enqueue({ n, topic, qos: capped, retain: true, holds: new Set(), group: this.groups })
    }
    session.pump()
  }
}
