import type { Duplex } from "node:stream"
import { onCleanUp, waitFor } from "@mqtt-trio/testing"
import { openPort } from "./doors.js"
import { bodyAt, readCodes, readConnack, readPublish, readVarint, type Publication } from "./read.js"
import { connect, PINGREQ, PINGRESP, subscribe, type ConnectFields } from "./wire.js"

/** A bare connection to a broker: sends the bytes that it is told to send, keeps the packets that come, answers nothing. */
export class Peer {
  /** Packets that nobody has taken yet, the oldest first. */
  readonly waiting: Buffer[] = []
  closed = false
  readonly socket: Duplex
  private rest = Buffer.alloc(0)
  private error: Error | undefined
  private wake = (): void => {}

  /** @param to the port of 127.0.0.1 (see {@link openPort}), or a connection that was opened otherwise */
  constructor(
    to: number | Duplex,
    readonly version: 4 | 5,
  ) {
    this.socket = typeof to === "number" ? openPort(to) : to
    this.socket.on("data", (chunk: Buffer) => {
      this.split(chunk)
      this.wake()
    })
    this.socket.on("error", (error) => {
      this.error = error
      this.end()
    })
    this.socket.on("close", () => this.end())
    onCleanUp(() => this.cut())
  }

  /** A peer that was connected as `fields` say, and its CONNACK. Throws when it was refused. */
  static async connected(to: number | Duplex, version: 4 | 5, fields: ConnectFields = {}): Promise<Peer> {
    const [peer] = await Peer.greeted(to, version, fields)
    return peer
  }

  /** The same with the CONNACK. */
  static async greeted(to: number | Duplex, version: 4 | 5, fields: ConnectFields = {}): Promise<[Peer, Buffer]> {
    const peer = new Peer(to, version)
    peer.send(connect(version, fields))
    const connack = await peer.next()
    const code = version === 5 ? readConnack(connack).reason : connack[3]
    if (connack[0] !== 0x20 || code !== 0) throw new Error(`refused: ${connack.toString("hex")}`)
    return [peer, connack]
  }

  send(...packets: Buffer[]): void {
    this.socket.write(Buffer.concat(packets))
  }

  /** The next packet, all of its bytes. Throws when the connection ends instead, or when it takes too long. */
  async next(timeoutMs = 10_000): Promise<Buffer> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const first = this.waiting.shift()
      if (first) return first
      if (this.closed) throw new Error("the connection was closed instead of a packet", { cause: this.error })
      if (performance.now() > deadline) throw new Error(`no packet within ${timeoutMs} ms`)
      await this.news(deadline - performance.now())
    }
  }

  async nextPublish(): Promise<Publication> {
    return readPublish(await this.next(), this.version)
  }

  /** Subscribes and returns the codes of the SUBACK. */
  async subscribe(...filters: [filter: string, options: number][]): Promise<number[]> {
    this.send(subscribe(this.version, 1, ...filters))
    const suback = await this.next()
    if (suback[0] !== 0x90) throw new Error(`no SUBACK: ${suback.toString("hex")}`)
    return readCodes(suback, this.version).codes
  }

  /**
   * Everything that came up to the answer to a PINGREQ: what the broker had to say by now. What waits for the store is
   * not among it, so wait for the PUBACK of what was published first.
   */
  async settled(): Promise<Buffer[]> {
    this.send(PINGREQ)
    const came: Buffer[] = []
    for (;;) {
      const one = await this.next()
      if (one.equals(PINGRESP)) return came
      came.push(one)
    }
  }

  /** Resolves when the broker has closed the connection, with the packets that came before. */
  async ended(timeoutMs = 10_000): Promise<Buffer[]> {
    await waitFor(() => this.closed, { what: "the end of the connection", timeoutMs })
    return this.waiting.splice(0)
  }

  /** Ends the connection without a DISCONNECT. */
  cut(): void {
    this.socket.destroy()
  }

  /** Resolves when something came, the connection ended, or the time is over. */
  private news(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  private end(): void {
    this.closed = true
    this.wake()
  }

  private split(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk])
    while (this.rest.length > 1) {
      const complete = this.rest.subarray(1, 5).some((byte) => byte < 128)
      if (!complete) return
      const end = bodyAt(this.rest) + readVarint(this.rest, 1)[0]
      if (end > this.rest.length) return
      this.waiting.push(this.rest.subarray(0, end))
      this.rest = this.rest.subarray(end)
    }
  }
}
