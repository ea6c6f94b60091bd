import type { Duplex } from "node:stream"
import { setTimeout as delay } from "node:timers/promises"
import { openDoor, type Door } from "./door.js"
import { connectPacket, disconnectPacket, PUBACKS, subscribePacket, type LoadQos } from "./packets.js"

/** Longest part of a packet that may be left over when a read ends; packets of the load are about 80 bytes. */
const CARRY = 4096
/** Every link reads into the same memory: it is parsed before the next read, and it stays in the processor's cache. */
const shared = Buffer.allocUnsafe(CARRY + 262_144)
const readInto = shared.subarray(CARRY)

const CONNACK_LIMIT_MS = 30_000

/** What a link asks for. `cleanSession` is true by default. */
export interface LinkOptions {
  /** A port of 127.0.0.1, or a listener of another kind. */
  port: number | Door
  clientId: string
  cleanSession?: boolean
}

/**
 * One MQTT 3.1.1 connection that counts. It splits what it reads in place, without allocating for a packet,
 * and answers every PUBLISH at QoS 1 with slices of ready PUBACKs.
 */
export class Link {
  /** PUBLISH packets received since the start. */
  received = 0
  /** PUBACK packets received since the start. */
  acknowledged = 0
  /** `performance.now()` of the last read with a PUBLISH in it. */
  lastReceivedAt = 0
  /** Called once per read that brought at least one PUBLISH. */
  onReceived: () => void = ignore
  /** Called once per read that brought at least one PUBACK. */
  onAcknowledged: () => void = ignore
  /** Called when the socket can take more. */
  onDrain: () => void = ignore
  /** Session Present of the CONNACK. */
  sessionPresent = false

  private readonly socket: Duplex
  private carry = 0
  private readonly rest = Buffer.allocUnsafe(CARRY)
  private connack: ((code: number) => void) | undefined
  private suback: (() => void) | undefined
  private failed: Error | undefined
  private reject: ((error: Error) => void) | undefined

  private constructor(port: number | Door) {
    const door = typeof port === "number" ? ({ kind: "TCP", port, ca: undefined } as const) : port
    this.socket = openDoor(door, readInto, (bytes) => this.read(bytes))
    this.socket.on("drain", () => this.onDrain())
    this.socket.on("error", (error) => this.fail(error))
    this.socket.on("close", () => this.fail(new Error("the broker closed the connection")))
  }

  /** Connects and waits for the CONNACK; rejects when the broker refuses, closes, or takes 30 s. */
  static async open(options: LinkOptions): Promise<Link> {
    const link = new Link(options.port)
    const code = await link.answered<number>((resolve) => {
      link.connack = resolve
      link.socket.write(connectPacket(options.clientId, options.cleanSession ?? true))
    })
    if (code !== 0) throw new Error(`CONNACK with return code ${code} for client "${options.clientId}"`)
    return link
  }

  /** Subscribes and waits for the SUBACK. */
  async subscribe(filter: string, qos: LoadQos): Promise<void> {
    await this.answered<void>((resolve) => {
      this.suback = resolve
      this.socket.write(subscribePacket(filter, qos))
    })
  }

  /** Bytes that wait in this process. */
  get unsent(): number {
    return this.socket.writableLength
  }

  /** Writes prepared bytes; they must not change afterwards. */
  write(bytes: Buffer): void {
    this.socket.write(bytes)
  }

  /** DISCONNECT, then waits until the socket is closed. */
  async close(): Promise<void> {
    if (this.socket.closed) return
    const closed = new Promise<void>((resolve) => this.socket.once("close", resolve))
    this.socket.end(disconnectPacket())
    await Promise.race([closed, delay(2000, undefined, { ref: false })])
    this.socket.destroy()
  }

  /** Why the connection ended, if it did. */
  get error(): Error | undefined {
    return this.failed
  }

  private async answered<T>(ask: (resolve: (value: T) => void) => void): Promise<T> {
    if (this.failed) throw this.failed
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<T>((resolve, reject) => {
        this.reject = reject
        timer = setTimeout(() => reject(new Error(`no answer from the broker within ${CONNACK_LIMIT_MS} ms`)), CONNACK_LIMIT_MS)
        ask(resolve)
      })
    } finally {
      clearTimeout(timer)
      this.reject = undefined
    }
  }

  private fail(error: Error): void {
    this.failed ??= error
    this.reject?.(error)
  }

  private read(bytes: number): boolean {
    const from = CARRY - this.carry
    const end = CARRY + bytes
    if (this.carry > 0) this.rest.copy(shared, from, 0, this.carry)
    const { received, acknowledged } = this
    const stopped = this.split(from, end)
    this.carry = end - stopped
    if (this.carry > CARRY) throw new Error(`a packet of more than ${CARRY} bytes is not part of the load`)
    if (this.carry > 0) shared.copy(this.rest, 0, stopped, end)
    if (this.received !== received) {
      this.lastReceivedAt = performance.now()
      this.onReceived()
    }
    if (this.acknowledged !== acknowledged) this.onAcknowledged()
    return true
  }

  /** Counts whole packets in `shared` and returns the offset of the first byte that belongs to an unfinished one. */
  private split(from: number, end: number): number {
    let offset = from
    let received = 0
    let acknowledged = 0
    let firstAck = 0
    let lastAck = -1
    while (end - offset >= 2) {
      const head = shared[offset] ?? 0
      let length = shared[offset + 1] ?? 0
      let body = offset + 2
      if (length > 127) {
        if (end - offset < 3) break
        length = (length & 127) | ((shared[body++] ?? 0) << 7)
      }
      const next = body + length
      if (next > end) break
      if (head >> 4 === 3) {
        received++
        if ((head & 6) !== 0) {
          const at = body + 2 + (((shared[body] ?? 0) << 8) | (shared[body + 1] ?? 0))
          const identifier = ((shared[at] ?? 0) << 8) | (shared[at + 1] ?? 0)
          if (identifier !== lastAck + 1) {
            this.acknowledge(firstAck, lastAck)
            firstAck = identifier
          }
          lastAck = identifier
        }
      } else if (head === 0x40) acknowledged++
      else this.control(head >> 4, body)
      offset = next
    }
    this.received += received
    this.acknowledged += acknowledged
    this.acknowledge(firstAck, lastAck)
    return offset
  }

  private acknowledge(first: number, last: number): void {
    if (first > 0) this.socket.write(PUBACKS.subarray((first - 1) * 4, last * 4))
  }

  private control(type: number, body: number): void {
    if (type === 2) {
      this.sessionPresent = ((shared[body] ?? 0) & 1) === 1
      this.connack?.(shared[body + 1] ?? 255)
    } else if (type === 9) this.suback?.()
  }
}

function ignore(): void {}
