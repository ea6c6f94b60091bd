import { EventEmitter } from "node:events"
import type { Socket } from "node:net"
import type { WebSocket } from "ws"
import type { ByteStream } from "../../connection/byte-stream.js"

interface Events {
  data: [chunk: Buffer]
  drain: []
  close: []
  error: [error: Error]
}

/**
 * MQTT in the binary messages of a WebSocket: packets need not begin or end with them [MQTT-6.0.0-2]. What waits to be
 * sent waits in the socket below, so that is what says how much it is, and when it is gone.
 */
export class WebSocketStream extends EventEmitter<Events> implements ByteStream {
  /** `refused` is told why the connection ends when it breaks the rules of MQTT over WebSocket. */
  constructor(
    private readonly webSocket: WebSocket,
    private readonly socket: Socket,
    refused: (why: string) => void,
  ) {
    super()
    let wrong = false
    webSocket.on("message", (data, binary) => {
      if (wrong) return
      if (binary && Buffer.isBuffer(data)) {
        this.emit("data", data)
        return
      }
      wrong = true
      refused("a text frame came, MQTT has binary ones [MQTT-6.0.0-1]")
      webSocket.close(1003, "MQTT is binary")
    })
    webSocket.on("error", (error) => refused(`its WebSocket frames are wrong: ${error.message}`))
    webSocket.on("close", () => this.emit("close"))
    socket.on("drain", () => this.emit("drain"))
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
  pause(): void {
    this.webSocket.pause()
  }
  resume(): void {
    this.webSocket.resume()
  }
  end(): void {
    this.webSocket.close(1000)
  }
  destroy(): void {
    this.webSocket.terminate()
  }
}
