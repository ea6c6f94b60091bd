import type { Socket } from "node:net"
import type { Accountant } from "../accounting/accountant.js"
import type { Place, Tally } from "../accounting/tally.js"
import type { ByteStream } from "../connection/byte-stream.js"
import { Connection } from "../connection/connection.js"
import type { Context } from "../connection/context.js"
import { TICK_MS, type Timed } from "../connection/keep-alive.js"
import { AddressLimit, networkOf } from "./address-limit.js"
import type { EventLog } from "./event-log.js"
import { tracePackets } from "./packet-trace.js"

/** What stands between an accepted socket and MQTT, if anything: it ends in the arrival's serve() or refuse(). */
export type Entrance = (socket: Socket, arrival: Arrival) => void

/** Where a connection comes from. */
export interface Source {
  readonly address: string
  readonly port: number
}

/** What a connection takes in memory, and what its handshakes take beside. */
const CONNECTION_COST_BYTES = 20_000
const TLS_COST_BYTES = 60_000
const OTHER_COST_BYTES = 10_000

/** Connections beyond the limit that may still be there to be refused. */
const HALF_OPEN_CONNECTIONS = 1000

/** Every network connection from its first byte on, until it speaks MQTT: the limits hold here too. */
export class Arrivals {
  /** those whose TLS handshake or WebSocket upgrade is under way */
  private readonly waiting = new Set<Socket>()
  readonly addresses: AddressLimit

  constructor(
    readonly context: Context,
    readonly accountant: Accountant,
    readonly log: EventLog,
  ) {
    this.addresses = new AddressLimit(context.limits.connectionsPerAddress)
  }

  /** A socket was accepted: lets it through the entrance, unless there are too many. */
  accept(socket: Socket, entrance: Entrance): void {
    const { clients, limits } = this.context
    // some more than may have a Session, so that those can be told
    if (clients.count + this.waiting.size < limits.connections + HALF_OPEN_CONNECTIONS) entrance(socket, new Arrival(socket, this))
    else socket.destroy()
  }

  add(socket: Socket): void {
    this.waiting.add(socket)
  }
  remove(socket: Socket): void {
    this.waiting.delete(socket)
  }

  destroyAll(): void {
    for (const socket of this.waiting) socket.destroy()
  }
}

/** A network connection that does not speak MQTT yet. */
export class Arrival implements Timed {
  /** when it was accepted, by the clock: the time to CONNECT counts from here */
  readonly since: number
  /** the user that the client's certificate names; undefined: it showed none, or --tls-user is not given */
  certificateUser: string | undefined = undefined
  /** where the client is; undefined: a local process */
  private source: Source | undefined
  private stage: string | undefined = undefined
  /** what the connection takes of memory */
  tally: Tally
  private cost = 0

  constructor(
    private readonly socket: Socket,
    private readonly home: Arrivals,
  ) {
    this.since = home.context.clock.now
    const { remoteAddress: address, remotePort: port } = socket
    this.source = address === undefined || port === undefined ? undefined : { address, port }
    this.tally = this.placeOf().tally(false)
    this.charge(CONNECTION_COST_BYTES)
    socket.on("close", () => this.charge(-this.cost))
  }

  private placeOf(): Place {
    return this.home.accountant.place(this.source === undefined ? "this machine" : networkOf(this.source.address))
  }

  private charge(bytes: number): void {
    this.cost += bytes
    this.tally.add("connections", bytes)
  }

  /** the address of the other side; undefined: a local process */
  get address(): string | undefined {
    return this.source?.address
  }
  /** address and port of the other side */
  get remote(): string {
    return this.source === undefined ? "a local process" : `${this.source.address}:${this.source.port}`
  }

  /** A trusted proxy says where the client is; what it sends for itself has no source, and comes from the proxy. */
  forwarded(source: Source | undefined): void {
    this.source = source ?? this.source
  }

  /** The connection counts as one of its address from now on. False: there are as many as may be, and it was closed. */
  admit(): boolean {
    const { addresses } = this.home
    const place = this.placeOf()
    if (!place.mayEnter(CONNECTION_COST_BYTES))
      return this.turnAway("memory", `what comes from ${place.name} takes all the memory that it may`)
    this.tally.moveTo(place)
    if (this.source === undefined || addresses.most === Infinity) return true
    const leave = addresses.enter(this.source.address)
    if (!leave)
      return this.turnAway(
        "connections per address",
        `there are ${addresses.most} connections from its address, and --max-connections-per-address allows no more`,
      )
    this.socket.on("close", leave)
    return true
  }

  private turnAway(detail: string, why: string): false {
    const message = `${this.remote} was closed: ${why}`
    this.home.log.limited("warn", "address", { message, fields: { event: "refused", address: this.remote, detail } })
    this.socket.destroy()
    return false
  }

  /** What the client does now takes time, and the time is limited. */
  begin(stage: "PROXY header" | "TLS handshake" | "WebSocket upgrade"): void {
    const first = this.stage === undefined
    this.stage = stage
    this.charge(stage === "TLS handshake" ? TLS_COST_BYTES : OTHER_COST_BYTES)
    if (!first) return
    this.home.add(this.socket)
    this.home.context.clock.add(this)
    this.socket.on("error", () => {}) // 'close' follows
    this.socket.on("close", () => this.leave())
  }

  tick(now: number): void {
    if (now - this.since > this.home.context.limits.connectTimeoutMs + TICK_MS) this.refuse(`its ${this.stage} was not done in time`)
  }

  /** It speaks MQTT from now on, through `stream`. */
  serve(stream: ByteStream): void {
    const { context, log } = this.home
    this.leave()
    if (log.debugging) tracePackets(stream, this.remote, log)
    new Connection(stream, context, this).start()
  }

  /** Ends it at once, with a line in the log. */
  refuse(why: string): void {
    this.tell(why)
    this.socket.destroy()
  }

  /** The line alone: the connection ends, or was ended, elsewhere. */
  tell(why: string): void {
    const fields = { event: "refused", address: this.remote, detail: why }
    this.home.log.limited("warn", "refused", { message: `${this.remote} was closed: ${why}`, fields })
  }

  private leave(): void {
    this.home.remove(this.socket)
    this.home.context.clock.remove(this)
  }
}
