import { type IConnectPacket, type Packet, parser } from "mqtt-packet"
import type { ByteStream } from "../connection/byte-stream.js"
import { quoted } from "./connection-log.js"
import type { EventLog } from "./event-log.js"

type Direction = "from" | "to"

/** Logs each packet of a connection at debug: what it is and about, no payload and no password. Costs nothing where it is not called. */
export function tracePackets(socket: ByteStream, remote: string, log: EventLog): void {
  let protocolVersion = 4
  const reader = (direction: Direction): ((bytes: Uint8Array) => void) => {
    let parse: ((bytes: Buffer) => unknown) | undefined = undefined
    let over = false
    const begin = (): ((bytes: Buffer) => unknown) => {
      const stream = parser({ protocolVersion })
      stream.on("packet", (packet: Packet) => {
        if (packet.cmd === "connect") protocolVersion = packet.protocolVersion ?? 4
        log.debug(`${direction} ${remote}: ${describe(packet)}`, { event: "packet", direction, address: remote, packet: packet.cmd })
      })
      stream.on("error", () => (over = true)) // the connection says what is wrong
      return (bytes) => stream.parse(bytes)
    }
    return (bytes) => {
      if (over) return
      parse ??= begin()
      parse(Buffer.from(bytes)) // a copy: the parser keeps parts
    }
  }
  const [received, sent] = [reader("from"), reader("to")]
  let again = 0
  socket.on("data", (bytes) => {
    const seen = Math.min(again, bytes.length)
    again -= seen
    received(bytes.subarray(seen))
  })
  const [write, unshift] = [socket.write.bind(socket), socket.unshift.bind(socket)]
  Object.assign(socket, {
    unshift: (bytes: Buffer) => {
      again += bytes.length
      return unshift(bytes)
    },
    write: (bytes: Uint8Array) => {
      sent(bytes)
      return write(bytes)
    },
  })
}

function describe(packet: Packet): string {
  const id = "messageId" in packet && packet.messageId !== undefined ? ` id ${packet.messageId}` : ""
  return `${packet.cmd.toUpperCase()}${id}${detail(packet)}`
}

function detail(packet: Packet): string {
  switch (packet.cmd) {
    case "connect":
      return ` ${connectDetail(packet)}`
    case "connack":
      return ` code ${packet.reasonCode ?? packet.returnCode ?? 0}, session present ${packet.sessionPresent}`
    case "publish":
      return ` ${quoted(packet.topic)}, QoS ${packet.qos}${packet.retain ? ", retain" : ""}${packet.dup ? ", dup" : ""}, ${packet.payload.length} bytes`
    case "subscribe":
      return ` ${packet.subscriptions.map(({ topic, qos }) => `${quoted(topic)} QoS ${qos}`).join(", ")}`
    case "suback":
      return ` codes ${packet.granted.map(Number).join(", ")}`
    case "unsubscribe":
      return ` ${packet.unsubscriptions.map(quoted).join(", ")}`
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
    case "disconnect":
      return packet.reasonCode === undefined ? "" : ` code ${packet.reasonCode}`
    case "unsuback":
    case "pingreq":
    case "pingresp":
    case "auth":
      return ""
  }
}

function connectDetail({ clientId, clean, keepalive, properties, username, will }: IConnectPacket): string {
  const parts = [quoted(clientId), `clean ${clean ?? false}`, `keep alive ${keepalive ?? 0} s`]
  const expiry = properties?.sessionExpiryInterval
  if (expiry !== undefined) parts.push(`session expiry ${expiry} s`)
  if (username !== undefined) parts.push(`user ${quoted(username)}`)
  if (will) parts.push(`will on ${quoted(will.topic)}`)
  return parts.join(", ")
}
