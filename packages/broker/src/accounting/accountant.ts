import { type Counted, type Kind, Place, type Whole } from "./tally.js"

/** What the broker takes without clients: code, heap, caches and commits, each of which has its own bound. */
const BASE_BYTES = 128 << 20
/** Of the rest clients have so much; the other part is for what was freed and not collected yet. */
const CLIENTS_SHARE = 0.5
/** From here on memory is tight: publishers wait for what they make grow, QoS 0 is dropped sooner, caches shrink. */
const TIGHT_SHARE = 0.7
/** From here on those who hold the most are closed. */
const CRITICAL_SHARE = 0.85
/** Of what clients have, so much may be kept for those that are gone; of that a place has at most so much, and one Session. */
const KEPT_SHARE = 0.6
const PLACE_SHARE = 0.75
const SESSION_SHARE = 0.4

/** From so much on packets that are not complete take a lot together. */
const CROWDED_BYTES = 8 << 20

/** The smallest bound that makes sense. */
export const LEAST_MEMORY_BYTES = 192 << 20

/**
 * Counts what clients make the broker keep in memory, by what it costs, and knows what they may have together. What a
 * message passes through on its way is not counted: it has bounds of its own.
 */
export class Accountant implements Whole {
  total = 0
  /** how much of it stays when clients go: persistent Sessions, retained messages, Wills */
  kept = 0
  readonly counted: Counted = {
    connections: 0,
    packets: 0,
    unsent: 0,
    queues: 0,
    sessions: 0,
    subscriptions: 0,
    retained: 0,
    wills: 0,
  }
  /** what clients may have together */
  readonly limit: number
  private readonly places = new Map<string, Place>()
  private readonly tightFrom: number
  private readonly criticalFrom: number
  private readonly mostKept: number
  private relieve: (() => void) | undefined = undefined
  private relieving = false

  /** @param maxMemory bytes that the process may take */
  constructor(maxMemory: number) {
    this.limit = Math.floor((maxMemory - BASE_BYTES) * CLIENTS_SHARE)
    this.tightFrom = this.limit * TIGHT_SHARE
    this.criticalFrom = this.limit * CRITICAL_SHARE
    this.mostKept = this.limit * KEPT_SHARE
  }

  /** The place with this name. */
  place(name: string): Place {
    let place = this.places.get(name)
    if (!place) this.places.set(name, (place = new Place(this, name)))
    return place
  }

  forget(place: Place): void {
    if (this.places.get(place.name) === place) this.places.delete(place.name)
  }

  note(kind: Kind, bytes: number, isKept: boolean): void {
    this.counted[kind] += bytes
    this.total += bytes
    if (isKept) this.kept += bytes
    if (this.total > this.criticalFrom && !this.relieving && this.relieve) this.relieveSoon(this.relieve)
  }

  /** Called, in a turn of its own, when somebody has to be closed. */
  onCritical(relieve: () => void): void {
    this.relieve = relieve
  }

  private relieveSoon(relieve: () => void): void {
    this.relieving = true
    setImmediate(() => {
      this.relieving = false
      relieve()
    })
  }

  get isCrowded(): boolean {
    return this.counted.packets > CROWDED_BYTES
  }
  get isTight(): boolean {
    return this.total > this.tightFrom
  }
  get isCritical(): boolean {
    return this.total > this.criticalFrom
  }
  /** How much has to go until memory is not tight any more. */
  get excess(): number {
    return Math.max(0, this.total - this.tightFrom)
  }

  /** Whether so much more may be kept for clients from there when they are gone. */
  mayKeep({ kept }: Place, bytes: number): boolean {
    return this.kept + bytes <= this.mostKept && kept + bytes <= this.mostKept * PLACE_SHARE
  }

  get mostOfSession(): number {
    return this.mostKept * SESSION_SHARE
  }

  /** Whether another connection from there may come, which takes so much. */
  mayEnter({ bytes: held }: Place, bytes: number): boolean {
    return this.total + bytes <= this.tightFrom || held + bytes <= (this.limit - this.tightFrom) / 2
  }

  /** What is counted, for who looks inside. */
  snapshot(): { limit: number; total: number; kept: number; counted: Readonly<Counted> } {
    return { limit: this.limit, total: this.total, kept: this.kept, counted: { ...this.counted } }
  }
}
