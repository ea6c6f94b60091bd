import { EventEmitter } from "node:events"
import type { Socket } from "node:net"
import type { WebSocket } from "ws"
import type { Tally } from "../../accounting/tally.js"
import type { ByteStream } from "../../connection/byte-stream.js"

interface Events {
  data: [chunk: Buffer]
  gathered: [bytes: number]
  drain: []
  close: []
  error: [error: Error]
}

/** Most bytes of a message that are given on in one turn of the event loop: as many as come from a socket. */
const CHUNK_BYTES = 65_536
/** What a part of a message takes in memory beside its bytes, and from how many on it is counted. */
const CHUNK_COST_BYTES = 200
const COUNTED_STEP_BYTES = 65_536
/** Most bytes that may come before a CONNECT is accepted, frames included: the packet, and what a client sends behind it. */
const FIRST_BYTES = 262_144

/**
 * MQTT in the binary messages of a WebSocket: packets need not begin or end with them [MQTT-6.0.0-2]. What waits to be
 * sent waits in the socket below, so that is what says how much it is, and when it is gone.
 */
export class WebSocketStream extends EventEmitter<Events> implements ByteStream {
  /** what came and was not given on yet */
  private chunks: Buffer[] = []
  private paused = false
  /** paused by who gave bytes back, and resumes in any case */
  private held = false
  private scheduled = false
  /** the connection is closed, and its last message is still being given on */
  private closing = false
  private wrong = false
  /** bytes that came before a CONNECT was accepted */
  private early = 0
  /** what came of a message that is not whole, as far as it was counted */
  private gathered = 0
  private counted = 0
  private readonly gather = (chunk: Buffer): void => {
    this.gathered += chunk.length + CHUNK_COST_BYTES
    if (this.gathered - this.counted < COUNTED_STEP_BYTES) return
    const bytes = this.gathered - this.counted
    this.tally.add("packets", bytes)
    this.counted = this.gathered
    this.emit("gathered", bytes)
  }
  private readonly count = (chunk: Buffer): void => {
    this.early += chunk.length
    if (this.early <= FIRST_BYTES) return
    this.admitted()
    this.refuse(1009, `more than ${FIRST_BYTES} bytes came, and no CONNECT that is accepted`)
    // the library would go on and gather a message of any length while it waits for the client's close frame
    this.webSocket.pause()
  }

  /** @param refused told why the connection ends when it breaks the rules of MQTT over WebSocket */
  constructor(
    private readonly webSocket: WebSocket,
    private readonly socket: Socket,
    private readonly tally: Tally,
    private readonly refused: (why: string) => void,
  ) {
    super()
    webSocket.on("message", (data, binary) => {
      this.whole()
      if (this.wrong) return
      if (binary && Buffer.isBuffer(data)) this.take(data)
      else this.refuse(1003, "a text frame came, MQTT has binary ones [MQTT-6.0.0-1]")
    })
    webSocket.on("error", (error) => refused(`its WebSocket frames are wrong: ${error.message}`))
    webSocket.on("close", () => this.closed())
    socket.on("drain", () => this.emit("drain"))
    socket.on("data", this.count)
    socket.on("data", this.gather)
  }

  /** A message is whole, or none comes any more. */
  private whole(): void {
    if (this.counted) this.tally.add("packets", -this.counted)
    this.gathered = this.counted = 0
  }

  get writable(): boolean {
    return this.webSocket.readyState === this.webSocket.OPEN && this.socket.writable
  }
  get writableLength(): number {
    return this.webSocket.bufferedAmount
  }
  write(bytes: Uint8Array): boolean {
    this.webSocket.send(bytes, { binary: true })
    return this.socket.writableLength < this.socket.writableHighWaterMark
  }
  cork(): void {
    this.socket.cork()
  }
  uncork(): void {
    this.socket.uncork()
  }
  admitted(): void {
    this.socket.off("data", this.count)
  }
  pause(): void {
    this.paused = true
    this.webSocket.pause()
    if (this.closing) setImmediate(() => this.giveUp())
  }
  resume(): void {
    this.paused = false
    this.held = false
    this.goOn()
  }
  unshift(bytes: Buffer): void {
    this.chunks.unshift(bytes)
    this.held = true
  }
  end(): void {
    this.webSocket.close(1000)
    // its close frame would come behind the rest of the message, which nobody wants any more
    if (this.counted) this.socket.destroySoon()
  }
  destroy(): void {
    this.chunks = []
    this.webSocket.terminate()
  }

  private take(message: Buffer): void {
    if (message.length <= CHUNK_BYTES && this.chunks.length === 0 && !this.paused) {
      this.emit("data", message)
      return
    }
    for (let at = 0; at < message.length; at += CHUNK_BYTES) this.chunks.push(message.subarray(at, at + CHUNK_BYTES))
    this.webSocket.pause()
    this.goOn()
  }

  /** Gives on what waits, some of it in each turn of the event loop; only then more is read. */
  private goOn(): void {
    if (this.scheduled || this.paused) return
    if (this.chunks.length > 0) {
      this.scheduled = true
      setImmediate(() => this.next())
    } else if (this.closing) this.finish()
    else this.webSocket.resume()
  }

  private next(): void {
    this.scheduled = false
    for (let bytes = 0; bytes < CHUNK_BYTES && !this.paused;) {
      const chunk = this.chunks.shift()
      if (!chunk) break
      bytes += chunk.length
      this.emit("data", chunk)
    }
    this.goOn()
  }

  private refuse(code: number, why: string): void {
    this.wrong = true
    this.refused(why)
    this.webSocket.close(code)
  }

  private closed(): void {
    this.closing = true
    this.socket.off("data", this.gather)
    this.whole()
    this.emit("drain") // nothing is left to wait for
    if (this.chunks.length === 0) this.finish()
    else this.giveUp()
  }

  /** Who is paused otherwise waits for what a closed connection does not bring. */
  private giveUp(): void {
    if (this.closing && this.paused && !this.held) this.finish()
  }

  private finish(): void {
    this.closing = false
    this.chunks = []
    this.emit("close")
  }
}
