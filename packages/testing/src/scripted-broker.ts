import { createServer, type Socket } from "node:net"
import { onCleanUp } from "./clean-up.js"

/** One MQTT packet: its first byte, and all of its bytes. */
export interface RawPacket {
  readonly type: number
  readonly bytes: Buffer
}

/** A server for what no real broker does: it answers each packet as the test says. */
export interface ScriptedBroker {
  readonly port: number
  /** The types of all packets that came (1 CONNECT, 3 PUBLISH, 8 SUBSCRIBE, 14 DISCONNECT, …), over all connections. */
  readonly types: readonly number[]
}

/** Starts it on a free port of 127.0.0.1. `answer` gets each packet and the number of its connection, from 1. */
export async function startScriptedBroker(
  answer: (packet: RawPacket, socket: Socket, connection: number) => void,
): Promise<ScriptedBroker> {
  const types: number[] = []
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    const connection = connections
    let open = Buffer.alloc(0)
    socket.on("error", () => undefined)
    socket.on("data", (chunk: Buffer) => {
      open = Buffer.concat([open, chunk])
      for (let length = packetLength(open); length <= open.length; length = packetLength(open)) {
        const bytes = open.subarray(0, length)
        open = open.subarray(length)
        const type = bytes.readUInt8(0) >> 4
        types.push(type)
        answer({ type, bytes }, socket, connection)
      }
    })
  })
  onCleanUp(() => void server.close())
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const address = server.address()
  return { port: typeof address === "object" && address !== null ? address.port : 0, types }
}

/** The length of the first packet, Infinity while it is not known. */
function packetLength(bytes: Buffer): number {
  let length = 0
  for (let at = 1; at < Math.min(bytes.length, 5); at += 1) {
    const byte = bytes.readUInt8(at)
    length += (byte & 0x7f) * 128 ** (at - 1)
    if (byte < 0x80) return at + 1 + length
  }
  return Number.POSITIVE_INFINITY
}
