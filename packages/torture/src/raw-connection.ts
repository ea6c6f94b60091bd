import type { Socket } from "node:net"
import { openSocket, type Address } from "./address.js"
import { connectPacket, disconnectPacket, PACKET } from "./packets.js"
import { PacketSplitter, type RawPacket } from "./packet-splitter.js"

const CONNACK_LIMIT_MS = 20_000

/** What the owner of a connection hears of. All are called synchronously, in the order of the bytes. */
export interface ConnectionHandlers {
  /** The CONNACK accepted the connection. */
  connected(connection: RawConnection, sessionPresent: boolean): void
  /** A packet after the CONNACK. */
  packet(packet: RawPacket): void
  /** The packets of one read are through. */
  readDone(): void
  /** An accepted connection has ended, for whatever reason; called once. */
  ended(): void
  /** The socket has room again. */
  drained(): void
}

/** One network connection of a persistent session, from CONNECT to its end. */
export class RawConnection {
  private readonly socket: Socket
  private readonly splitter = new PacketSplitter()
  private readonly handlers: ConnectionHandlers
  private answer: ((error?: Error) => void) | undefined
  private out: Buffer[] = []
  private over = false

  private constructor(address: Address, handlers: ConnectionHandlers) {
    this.handlers = handlers
    this.socket = openSocket(address)
    this.socket.on("data", (chunk: Buffer) => this.read(chunk))
    this.socket.on("drain", () => this.handlers.drained())
    this.socket.on("error", () => this.socket.destroy())
    this.socket.on("close", () => this.end(new Error("the connection was closed")))
  }

  /** Connects as `clientId`, Clean Session 0 unless stated; resolves after the CONNACK. Rejects when refused, closed, or silent for 20 s. */
  static async open(address: Address, clientId: string, handlers: ConnectionHandlers, cleanSession = false): Promise<void> {
    const connection = new RawConnection(address, handlers)
    const timer = setTimeout(() => connection.end(new Error("no CONNACK within 20 s")), CONNACK_LIMIT_MS)
    try {
      await new Promise<void>((resolve, reject) => {
        connection.answer = (error) => (error ? reject(error) : resolve())
        connection.socket.write(connectPacket(clientId, cleanSession))
      })
    } finally {
      clearTimeout(timer)
    }
  }

  get isOpen(): boolean {
    return !this.over
  }

  /** Bytes that wait to be sent. */
  get unsent(): number {
    return this.socket.writableLength
  }

  /** Queues bytes; they leave together at the end of the turn. */
  send(bytes: Buffer): void {
    if (this.over) return
    if (this.out.push(bytes) === 1) setImmediate(() => this.flush())
  }

  /** Stops and restarts reading from the socket: a slow client. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  /** Ends without a DISCONNECT: a cut cable. What waits to be sent is lost. */
  cut(): void {
    this.end(undefined)
  }

  /** DISCONNECT, after everything that waits to be sent; reads nothing more. Resolves when it is closed, at the latest after 5 s. */
  async leave(): Promise<void> {
    if (this.over) return
    this.flush()
    this.over = true
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.socket.destroy(), 5000)
      this.socket.once("close", () => {
        clearTimeout(timer)
        resolve()
      })
      this.socket.resume()
      this.socket.end(disconnectPacket())
    })
    this.handlers.ended()
  }

  /** Reads nothing more and hears of no end, but leaves the connection open: what a takeover finds. */
  abandon(): void {
    this.over = true
    this.socket.pause()
  }

  /** Destroys an abandoned connection. */
  discard(): void {
    this.socket.destroy()
  }

  private flush(): void {
    const { out } = this
    this.out = []
    if (out.length > 0 && this.socket.writable) this.socket.write(Buffer.concat(out))
  }

  private read(chunk: Buffer): void {
    if (this.over) return
    try {
      this.splitter.push(chunk, (packet) => this.take(packet))
    } catch (error) {
      return this.end(error instanceof Error ? error : new Error("malformed packet"))
    }
    if (!this.over) this.handlers.readDone()
  }

  private take(packet: RawPacket): void {
    if (this.over) return
    if (!this.answer) return this.handlers.packet(packet)
    const [present, code = 255] = packet.body
    if (packet.head !== PACKET.connack) return this.end(new Error("the first packet was no CONNACK"))
    if (code !== 0) return this.end(new Error(`CONNACK with return code ${code}`))
    const { answer } = this
    this.answer = undefined
    this.handlers.connected(this, present === 1)
    answer()
  }

  private end(error: Error | undefined): void {
    if (this.over) return
    this.over = true
    this.socket.destroy()
    const { answer } = this
    this.answer = undefined
    if (answer) answer(error ?? new Error("the connection was cut"))
    else this.handlers.ended()
  }
}
