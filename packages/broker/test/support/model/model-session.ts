import { topicMatches } from "@mqtt-trio/common"

/** A published message. */
export interface Message {
  n: number
  publisher: string
  topic: string
  qos: 1 | 2
  /** Sent again by its publisher after a crash: at QoS 1, and to receivers at QoS 0, it may come twice. */
  repeated: boolean
  /** Its publisher gave it up without an acknowledgement: it may come or not. */
  optional: boolean
}

/** A PUBLISH as a client got it. */
export interface Arrival {
  n: number
  topic: string
  qos: number
  dup: boolean
  packetId: number
}

interface Pending {
  message: Message
  qos: number
}

/** What a session must get: a plain list, no logs, no windows, no store. */
export class ModelSession {
  readonly clean: boolean
  readonly subscriptions = new Map<string, number>()
  private pending: Pending[] = []
  /** Delivered and not acknowledged by this client: comes again, with DUP, after a reconnect. */
  private readonly unacknowledged = new Map<number, { packetId: number; qos: number }>()
  /** Identifiers that a receiver of QoS 2 keeps from PUBLISH to PUBREL. */
  private readonly exactlyOnce = new Map<number, number>()
  private readonly delivered = new Map<number, { message: Message; qos: number }>()
  /** QoS 1 messages whose acknowledgement the broker may have forgotten in a crash. */
  private readonly mayRepeat = new Set<number>()
  private awaited = new Set<number>()
  private crashed = false

  constructor(clean: boolean) {
    this.clean = clean
  }

  /** Everything that must come while the client is connected has come. */
  get isSettled(): boolean {
    return this.awaited.size === 0 && this.pending.every(({ message }) => message.optional)
  }

  /** What is still missing, for a person. */
  get missing(): string {
    return `waits for ${this.pending.map(({ message, qos }) => `${message.n} (QoS ${qos})`).join(", ") || "nothing new"}, again: ${[...this.awaited].join(", ") || "nothing"}`
  }

  /** A message was published: at QoS 0 it counts only for a client that is connected. */
  offer(message: Message, connected: boolean): void {
    const granted = [...this.subscriptions].filter(([filter]) => topicMatches(filter, message.topic)).map(([, qos]) => qos)
    if (granted.length === 0) return
    const qos = Math.min(message.qos, Math.max(...granted))
    if (qos > 0 || connected) this.pending.push({ message, qos })
  }

  /** The client is back: what it had not acknowledged comes again. */
  resumed(): void {
    this.awaited = new Set(this.unacknowledged.keys())
  }

  /** The client is gone: QoS 0 messages under way may be lost. */
  left(): void {
    this.awaited.clear()
    this.pending = this.pending.filter(({ qos }) => qos > 0)
  }

  /** The broker died. */
  brokerDied(): void {
    this.left()
    this.crashed = true
    for (const [n, { qos }] of this.delivered) if (qos === 1) this.mayRepeat.add(n)
  }

  /** The client's PUBACK or PUBREC for message `n` left. */
  acknowledged(n: number): void {
    this.unacknowledged.delete(n)
    this.awaited.delete(n)
  }

  /** PUBREL came. */
  released(packetId: number): void {
    this.exactlyOnce.delete(packetId)
  }

  /** A PUBLISH came. Returns what is wrong with it, if anything. */
  arrived(arrival: Arrival): string | undefined {
    const { n, qos, dup, packetId } = arrival
    if (qos === 2 && this.exactlyOnce.has(packetId)) return this.again(arrival)
    const place = this.pending.findIndex(({ message }) => message.n === n)
    if (place >= 0) return this.first(arrival, place)
    const known = this.delivered.get(n)
    const open = this.unacknowledged.get(n)
    // What its publisher sent twice at QoS 1 is two messages to the broker: either may be the one that comes.
    const twice = known !== undefined && known.message.repeated && (qos === 0 || known.message.qos === 1)
    if (open && !twice) {
      if (!dup) return "was redelivered without DUP"
      if (open.packetId !== packetId && !(this.crashed && qos === 1)) return `was redelivered with another identifier than ${open.packetId}`
      this.note(arrival)
      return undefined
    }
    if (!known) return "was not expected"
    if (twice) this.awaited.delete(n)
    if (twice || (qos === 1 && this.mayRepeat.has(n))) return undefined
    return "was delivered and acknowledged before"
  }

  private again({ n, dup, packetId }: Arrival): string | undefined {
    if (this.exactlyOnce.get(packetId) !== n) return `has the identifier of message ${this.exactlyOnce.get(packetId)}, which is in flight`
    this.awaited.delete(n)
    return dup ? undefined : "was redelivered without DUP"
  }

  private first(arrival: Arrival, place: number): string | undefined {
    const entry = this.pending[place]
    if (!entry) return "was not expected"
    const { message, qos } = entry
    if (arrival.topic !== message.topic || arrival.qos !== qos) return `should have come on ${message.topic} at QoS ${qos}`
    const earlier = this.pending.slice(0, place).find((other) => sameStream(other.message, message) && !other.message.optional)
    if (earlier) return `came before message ${earlier.message.n}`
    this.pending.splice(place, 1)
    this.delivered.set(message.n, { message, qos })
    this.note(arrival)
    return undefined
  }

  private note({ n, qos, packetId }: Arrival): void {
    this.awaited.delete(n)
    if (qos > 0) this.unacknowledged.set(n, { packetId, qos })
    if (qos === 2) this.exactlyOnce.set(packetId, n)
  }
}

function sameStream(a: Message, b: Message): boolean {
  return a.publisher === b.publisher && a.topic === b.topic && a.qos === b.qos
}
