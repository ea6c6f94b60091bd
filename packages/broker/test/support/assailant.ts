import type { Socket } from "node:net"
import { acknowledgementPacket, PACKET, PacketSplitter } from "@mqtt-trio/torture"

/** Asked while somebody waits. */
interface Clock {
  readonly over: boolean
}

/** How often who waits looks whether the time is over, in ms. */
const LOOK_MS = 50

/** One connection of an attacker. It reads, answers nothing unless it is told to, and never sends PINGREQ. */
export class Assailant {
  closed = false
  /** it went by itself */
  left = false
  /** the Reason Code of DISCONNECT or CONNACK; 0: none came */
  reason = 0
  /** acknowledges what comes at QoS 1 */
  willing = false
  /** what came last, of a connection that does not speak MQTT itself */
  private last = NO_BYTES
  private readonly came = new Map<number, number>()
  private readonly splitter = new PacketSplitter()
  private welcome: number | undefined

  /** @param speaks what it is told is packets of MQTT, and not something around them */
  constructor(
    private readonly socket: Socket,
    private readonly clock: Clock,
    speaks = true,
  ) {
    socket.on("data", (chunk: Buffer) => {
      this.last = chunk
      if (speaks) this.splitter.push(chunk, ({ head, body }) => this.take(head, body))
    })
    socket.on("error", () => {}) // 'close' follows
    socket.on("close", () => (this.closed = true))
  }

  /** Bytes that it has sent and the broker's side has not taken. */
  get waiting(): number {
    return this.socket.writableLength
  }

  /** Bytes that the broker's side took. */
  get taken(): number {
    return this.socket.bytesWritten - this.waiting
  }

  /** Sends bytes; resolves when more may be sent. False: the connection is closed, or the time is over. */
  async write(bytes: Buffer): Promise<boolean> {
    if (!this.goesOn) return false
    if (!this.socket.write(bytes)) await this.news("drain", () => !this.socket.writableNeedDrain)
    return this.goesOn
  }

  private get goesOn(): boolean {
    return this.socket.writable && !this.clock.over
  }

  /** Stops reading. */
  freeze(): void {
    this.socket.pause()
  }

  /** Sends what `next` makes, one after the other, as fast as it is read, to the end of the time or of the connection. */
  async flood(next: (n: number) => Buffer): Promise<void> {
    for (let n = 0; await this.write(next(n)); n++);
  }

  /** Resolves when the broker has answered its CONNECT, or the time is over. */
  welcomed(): Promise<void> {
    return this.news("data", () => this.welcome !== undefined)
  }

  /** Resolves when so many packets of a type came since it connected. False: they will not. */
  async got(head: number, count: number): Promise<boolean> {
    await this.news("data", () => (this.came.get(head) ?? 0) >= count)
    return (this.came.get(head) ?? 0) >= count
  }

  /** Resolves when what came last ends with these bytes. False: it will not. */
  async heard(bytes: Buffer): Promise<boolean> {
    const isThere = (): boolean => this.last.subarray(-bytes.length).equals(bytes)
    await this.news("data", isThere)
    return isThere()
  }

  /** Ends the connection, without DISCONNECT. */
  leave(): void {
    this.left = true
    this.socket.destroy()
  }

  private async news(event: "drain" | "data", isThere: () => boolean): Promise<void> {
    while (!isThere() && this.goesOn)
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer)
          this.socket.off(event, done).off("close", done)
          resolve()
        }
        const timer = setTimeout(done, LOOK_MS)
        this.socket.on(event, done).on("close", done)
      })
  }

  private take(head: number, body: Buffer): void {
    this.came.set(head, (this.came.get(head) ?? 0) + 1)
    if (head === PACKET.connack) this.welcome = body[1]
    if (head === DISCONNECT || (head === PACKET.connack && this.welcome !== 0)) this.reason = body[head === DISCONNECT ? 0 : 1] ?? 0
    if (!this.willing || head >> 4 !== PUBLISH || ((head >> 1) & 3) !== 1) return
    this.socket.write(acknowledgementPacket(PACKET.puback, body.readUInt16BE(2 + body.readUInt16BE(0))))
  }
}

const NO_BYTES: Buffer = Buffer.alloc(0)
const PUBLISH = 3
const DISCONNECT = 0xe0
