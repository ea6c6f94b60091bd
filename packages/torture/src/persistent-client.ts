import { setTimeout as delay } from "node:timers/promises"
import type { Address } from "./address.js"
import type { RawPacket } from "./packet-splitter.js"
import { RawConnection, type ConnectionHandlers } from "./raw-connection.js"

const RETRY_MS = 20

/** A client identifier that comes, goes, and comes back by itself when the broker drops it. */
export abstract class PersistentClient {
  readonly clientId: string
  /** Accepted connections so far. */
  connections = 0
  protected connection: RawConnection | undefined
  private readonly address: Address
  private wanted = false
  private connecting: Promise<void> | undefined

  constructor(address: Address, clientId: string) {
    this.address = address
    this.clientId = clientId
  }

  get isOnline(): boolean {
    return this.connection !== undefined
  }

  /** It wants to be connected, and is not yet. */
  get isComing(): boolean {
    return this.wanted && !this.connection
  }

  /** Wants to be connected from here on; resolves with the first CONNACK, or when it is told to go meanwhile. */
  async come(): Promise<void> {
    this.wanted = true
    if (!this.connection) await this.connect()
  }

  /** DISCONNECT, and stays away. */
  async leave(): Promise<void> {
    this.wanted = false
    await this.connecting
    await this.connection?.leave()
  }

  /** Cuts the connection without a DISCONNECT and stays away until `come`. */
  cut(): void {
    this.wanted = false
    this.connection?.cut()
  }

  /** Reads nothing more until `takeOver`: what the broker sends from here on is lost, as in a network that fails with it. */
  deafen(): void {
    this.connection?.abandon()
  }

  /** Connects again while the old connection is still open. */
  async takeOver(): Promise<void> {
    const old = this.connection
    if (!old) return this.come()
    this.wanted = true
    old.abandon()
    this.connection = undefined
    this.lost()
    await this.connect()
    old.discard()
  }

  /** Removes the session from the broker: a connection with Clean Session 1, ended at once. */
  async forget(): Promise<void> {
    this.cut()
    await RawConnection.open(this.address, this.clientId, LEAVE_AT_ONCE, true)
  }

  /** A connection was accepted. */
  protected abstract accepted(connection: RawConnection, sessionPresent: boolean): void
  /** A packet after the CONNACK. */
  protected abstract take(packet: RawPacket): void
  /** The packets of one read are through. */
  protected readDone(): void {}
  /** The connection is gone. */
  protected lost(): void {}
  /** The socket has room again. */
  protected drained(): void {}

  private connect(): Promise<void> {
    this.connecting ??= this.tryUntilAccepted().finally(() => (this.connecting = undefined))
    return this.connecting
  }

  private async tryUntilAccepted(): Promise<void> {
    while (this.wanted && !this.connection) {
      try {
        await RawConnection.open(this.address, this.clientId, this.handlers())
      } catch {
        await delay(RETRY_MS) // nobody listens, or it is going down: the caller's limits decide how long that may last
      }
    }
  }

  private handlers(): ConnectionHandlers {
    let own: RawConnection | undefined
    return {
      connected: (connection, sessionPresent) => {
        own = connection
        this.connection = connection
        this.connections++
        this.accepted(connection, sessionPresent)
      },
      packet: (packet) => this.take(packet),
      readDone: () => this.readDone(),
      drained: () => this.drained(),
      ended: () => {
        if (this.connection !== own) return
        this.connection = undefined
        this.lost()
        // Nobody waits for this attempt: it ends with a connection or when the client is told to go.
        if (this.wanted) void this.connect()
      },
    }
  }
}

const LEAVE_AT_ONCE: ConnectionHandlers = {
  connected: (connection) => void connection.leave(),
  packet: ignore,
  readDone: ignore,
  ended: ignore,
  drained: ignore,
}

function ignore(): void {}
