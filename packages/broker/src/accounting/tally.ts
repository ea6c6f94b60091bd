/** What memory is counted for, each in bytes. */
export interface Counted {
  /** network connections themselves, with what their kind needs */
  connections: number
  /** packets that are not complete */
  packets: number
  /** what clients did not read yet */
  unsent: number
  /** queues of Clean Sessions */
  queues: number
  /** Sessions, with what is in flight to and from them */
  sessions: number
  subscriptions: number
  retained: number
  wills: number
}

export type Kind = keyof Counted

/** What a Place needs of who counts for all. */
export interface Whole {
  /** what is counted for all clients, in bytes */
  readonly total: number
  /** publishers should wait */
  readonly isTight: boolean
  /** packets that are not complete take a lot together */
  readonly isCrowded: boolean
  /** what one Session may keep, in bytes */
  readonly mostOfSession: number
  mayKeep(place: Place, bytes: number): boolean
  mayEnter(place: Place, bytes: number): boolean
  note(kind: Kind, bytes: number, isKept: boolean): void
  /** Nothing is counted for it any more. */
  forget(place: Place): void
}

/** Where clients come from: an address or a /64 of IPv6, this machine's processes, or the store of an earlier run. */
export class Place {
  /** what is counted for its clients */
  bytes = 0
  /** how much of it stays when they go */
  kept = 0
  /** what no Session has: retained messages and Wills */
  readonly keeping: Tally

  /** @param name as networkOf() says it */
  constructor(
    readonly accountant: Whole,
    readonly name: string,
  ) {
    this.keeping = new Tally(this, true)
  }

  /** Whether its clients may have so much more that stays when they go. */
  mayKeep(bytes: number): boolean {
    return this.accountant.mayKeep(this, bytes)
  }

  /** Whether another connection from there may come, which takes so much. */
  mayEnter(bytes: number): boolean {
    return this.accountant.mayEnter(this, bytes)
  }

  /** The tally of a client from there. `isKept`: what it counts stays when the client goes. */
  tally(isKept: boolean): Tally {
    return new Tally(this, isKept)
  }
}

/** What one client takes of the broker's memory, in bytes; it counts for its place and for the whole too. */
export class Tally {
  bytes = 0

  constructor(
    private home: Place,
    private readonly isKept: boolean,
  ) {}

  get place(): Place {
    return this.home
  }

  get isTight(): boolean {
    return this.home.accountant.isTight
  }
  /** Packets that are not complete take a lot together. */
  get isCrowded(): boolean {
    return this.home.accountant.isCrowded
  }

  /** So many bytes more, or less when negative: whole numbers, as what is freed must come to nothing again. */
  add(kind: Kind, bytes: number): void {
    const { home } = this
    this.bytes += bytes
    home.bytes += bytes
    if (this.isKept) home.kept += bytes
    home.accountant.note(kind, bytes, this.isKept)
    if (home.bytes === 0) home.accountant.forget(home)
  }

  /** Its client comes from another place now. */
  moveTo(place: Place): void {
    const { home, bytes } = this
    if (home === place) return
    home.bytes -= bytes
    place.bytes += bytes
    if (this.isKept) {
      home.kept -= bytes
      place.kept += bytes
    }
    this.home = place
    if (home.bytes === 0) home.accountant.forget(home)
  }

  /** Whether its Session may have so much more that stays when its client goes. */
  mayKeep(bytes: number): boolean {
    return this.bytes + bytes <= this.home.accountant.mostOfSession && this.home.mayKeep(bytes)
  }
}
