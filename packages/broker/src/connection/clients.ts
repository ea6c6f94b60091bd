import type { Place } from "../accounting/tally.js"
import type { Login } from "../access/access.js"
import { PacketError, Reason, type ReasonCode } from "../wire/reason-codes.js"
import { Takeovers } from "./takeovers.js"

/** A network connection, as those see it who end it. */
export interface Client {
  /** empty until its CONNECT was accepted */
  readonly clientId: string
  /** undefined until then */
  readonly login: Login | undefined
  /** What arrives from now on is not read. */
  stopReading(): void
  /** Ends the connection; MQTT 5.0 clients are told the reason. */
  refuse(reason: ReasonCode, message: string): void
  /** Ends it at once. */
  destroy(): void
  /** where it comes from */
  readonly place: Place
  /** bytes of memory that become free when it ends */
  readonly releasable: number
  /** Ends it because of the memory that it takes. */
  evict(message: string): void
}

/** Every network connection: finds the one of a client, takes over, counts, and stops them. */
export class Clients {
  /** those with a Session, by Client Identifier: one each */
  private readonly accepted = new Map<string, Client>()
  private readonly open = new Set<Client>()
  private readonly takeovers: Takeovers

  /**
   * @param most connections with a Session
   * @param fight told once when several keep taking one Client Identifier from each other
   */
  constructor(
    private readonly most: number,
    fight: (clientId: string) => void,
  ) {
    this.takeovers = new Takeovers(fight)
  }

  /** Connections, accepted or not. */
  get count(): number {
    return this.open.size
  }

  add(client: Client): void {
    this.open.add(client)
  }

  /** Its connection is closed. */
  remove(client: Client): void {
    this.open.delete(client)
  }

  /** A CONNECT asks for a Client Identifier; returns for how many ms it waits. Throws a PacketError when no more may connect. */
  admit(clientId: string): number {
    if (this.accepted.has(clientId)) return this.takeovers.note(clientId, performance.now())
    if (this.accepted.size < this.most) return 0
    throw new PacketError(Reason.QUOTA_EXCEEDED, `${this.most} clients are connected, which is the limit`)
  }

  /** The connection that has the Client Identifier ends (section 3.1.4). */
  takeOver(clientId: string): void {
    this.accepted.get(clientId)?.refuse(Reason.SESSION_TAKEN_OVER, "another connection took the client identifier over")
  }

  /** Its CONNECT was accepted: the Client Identifier is its own, until another one takes it over. */
  accept(client: Client): void {
    this.accepted.set(client.clientId, client)
  }

  /** The client gives up its Client Identifier; false: it has none, or another connection has it by now. */
  leave(client: Client): boolean {
    if (this.accepted.get(client.clientId) !== client) return false
    return this.accepted.delete(client.clientId)
  }

  /** Ends the connections of those who may not stay. */
  recheck(mayStay: (login: Login) => boolean): void {
    for (const client of this.open)
      if (client.login && !mayStay(client.login)) client.refuse(Reason.NOT_AUTHORIZED, "its account was removed or its password changed")
  }

  /** Those from the place whose clients hold most of what becomes free when they end; the largest first. */
  get largest(): Client[] {
    const sums = new Map<Place, number>()
    for (const client of this.open) sums.set(client.place, (sums.get(client.place) ?? 0) + client.releasable)
    let most: Place | undefined = undefined
    for (const [place, bytes] of sums) if (!most || bytes > (sums.get(most) ?? 0)) most = place
    return [...this.open].filter(({ place }) => place === most).toSorted((one, other) => other.releasable - one.releasable)
  }

  stopReading(): void {
    for (const client of this.open) client.stopReading()
  }

  refuseAll(reason: ReasonCode, message: string): void {
    for (const client of this.open) client.refuse(reason, message)
  }

  destroyAll(): void {
    for (const client of this.open) client.destroy()
  }
}
