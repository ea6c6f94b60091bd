import { connect as connectTcp } from "node:net"
import type { Duplex } from "node:stream"
import { connect as connectTls } from "node:tls"
import { createWebSocketStream, WebSocket } from "ws"

/** The kinds of listeners that are compared, as the table names them. */
export type DoorKind = "TCP" | "TLS" | "WebSocket"

/** A listener of a broker under test. */
export interface Door {
  readonly kind: DoorKind
  readonly port: number
  /** The authority of its certificate, in PEM. */
  readonly ca: Buffer | undefined
}

/** Opens a connection. What comes is copied into `into`, then `read` is told how many bytes; it must be done with them when it returns. */
export function openDoor({ kind, port, ca }: Door, into: Buffer, read: (bytes: number) => boolean): Duplex {
  const address = { port, host: "127.0.0.1", noDelay: true }
  if (kind === "TCP") return connectTcp({ ...address, onread: { buffer: into, callback: read } })
  const duplex = kind === "TLS" ? connectTls({ ...address, ca }).setNoDelay() : openWebSocket(port)
  return duplex.on("data", (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; at += into.length) read(chunk.copy(into, 0, at))
  })
}

function openWebSocket(port: number): Duplex {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, "mqtt", { perMessageDeflate: false })
  return createWebSocketStream(socket, { allowHalfOpen: false })
}
