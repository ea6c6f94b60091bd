import { generate, type IConnectPacket, type Packet, parser, writeToStream } from "mqtt-packet"
import type { ProtocolVersion } from "../wire/packet-types.js"
import { malformed, Reason, type ReasonCode } from "../wire/reason-codes.js"

/*
 * Control packets are rare: mqtt-packet reads and writes them. What is read here passed the strict checks before.
 */

// else the library keeps 65,536 buffers, one for each number: 6 MB
writeToStream.cacheNumbers = false

/** The packet in `bytes`: exactly one. Throws a PacketError when the library refuses what the checks let through. */
function read(bytes: Buffer, protocolVersion: ProtocolVersion): Packet {
  const packets: Packet[] = []
  const failures: Error[] = []
  const reader = parser({ protocolVersion })
  reader.on("packet", (packet: Packet) => packets.push(packet))
  reader.on("error", (error: Error) => failures.push(error))
  reader.parse(bytes)
  const [packet] = packets
  if (!packet || failures.length) throw malformed(failures[0]?.message ?? "an incomplete packet")
  return packet
}

export function readConnect(bytes: Buffer): IConnectPacket {
  const packet = read(bytes, 4)
  if (packet.cmd !== "connect") throw malformed("not a CONNECT")
  return packet
}
/** The return code of a CONNACK: 0 is accepted. */
export function connackCode(bytes: Buffer, version: ProtocolVersion): number {
  const packet = read(bytes, version)
  if (packet.cmd !== "connack") throw malformed("not a CONNACK")
  return (version === 5 ? packet.reasonCode : packet.returnCode) ?? 0
}
export function write(packet: Packet, protocolVersion: ProtocolVersion): Buffer {
  return generate(packet, { protocolVersion })
}

/** The CONNACK that refuses a CONNECT; before MQTT 5.0 there are few reasons that it can say, for others it is empty. */
export function refusal(reasonCode: ReasonCode, v5: boolean): Buffer {
  if (v5) return write({ cmd: "connack", reasonCode, sessionPresent: false }, 5)
  const code = RETURN_CODES.get(reasonCode)
  return code === undefined ? Buffer.alloc(0) : Buffer.from([0x20, 2, 0, code])
}

/** CONNACK return codes of MQTT 3.1.1 (section 3.2.2.3). */
const RETURN_CODES = new Map<ReasonCode, number>([
  [Reason.UNSUPPORTED_PROTOCOL_VERSION, 1],
  [Reason.CLIENT_IDENTIFIER_NOT_VALID, 2],
  [Reason.SERVER_UNAVAILABLE, 3],
  [Reason.QUOTA_EXCEEDED, 3],
  [Reason.NOT_AUTHORIZED, 5],
])

/** The CONNECT that aedes sees: an identifier of its own, nothing that outlives the connection, no timer. */
export function connectForEngine(engineId: string, version: ProtocolVersion): Buffer {
  const protocolId = version === 3 ? "MQIsdp" : "MQTT"
  return write({ cmd: "connect", protocolId, protocolVersion: version, clientId: engineId, clean: true, keepalive: 0 }, version)
}
