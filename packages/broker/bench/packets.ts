import { packet, text } from "@mqtt-trio/torture"

/** MQTT 3.1.1 packets, built before the clock starts. Byte layout: MQTT 3.1.1 sections 2 and 3. */

const PAYLOAD_BYTES = 64

/** Consecutive PUBACK packets for every Packet Identifier: the one for identifier `n` stands at `(n - 1) * 4`. */
export const PUBACKS = pubacks()

/** QoS of the load; the generator speaks no QoS 2. */
export type LoadQos = 0 | 1

/** Frames of equal length, back to back, written again and again from the first. */
export interface FrameRing {
  readonly bytes: Buffer
  readonly frameLength: number
  readonly count: number
}

/** CONNECT, Keep Alive 0 (none). */
export function connectPacket(clientId: string, cleanSession: boolean): Buffer {
  const head = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, cleanSession ? 2 : 0, 0, 0])
  return packet(0x10, Buffer.concat([head, text(clientId)]))
}

/** SUBSCRIBE with Packet Identifier 1 and one Topic Filter. */
export function subscribePacket(filter: string, qos: LoadQos): Buffer {
  return packet(0x82, Buffer.concat([Buffer.from([0, 1]), text(filter), Buffer.from([qos])]))
}

/** DISCONNECT. */
export function disconnectPacket(): Buffer {
  return Buffer.from([0xe0, 0])
}

/**
 * PUBLISH packets over `topics` in turn, payload of 64 bytes. At QoS 1 the Packet Identifiers run from 1 to the number of frames,
 * so `atLeast` must exceed the window. All topics must have the same length.
 */
export function publishRing(topics: readonly string[], qos: LoadQos, atLeast: number): FrameRing {
  const count = Math.ceil(atLeast / topics.length) * topics.length
  if (count > 65_535) throw new RangeError(`a ring of ${count} frames has no room in 65535 Packet Identifiers`)
  const frames = Array.from({ length: count }, (_, index) => publishPacket(topics[index % topics.length] ?? "", qos, index + 1))
  const frameLength = frames[0]?.length ?? 0
  if (frames.some((frame) => frame.length !== frameLength)) throw new RangeError("the topics of one ring must have the same length")
  return { bytes: Buffer.concat(frames), frameLength, count }
}

function publishPacket(topic: string, qos: LoadQos, identifier: number): Buffer {
  const mid = qos === 0 ? Buffer.alloc(0) : Buffer.from([identifier >> 8, identifier & 255])
  return packet(0x30 | (qos << 1), Buffer.concat([text(topic), mid, Buffer.alloc(PAYLOAD_BYTES, "x")]))
}

function pubacks(): Buffer {
  const all = Buffer.allocUnsafe(65_535 * 4)
  for (let identifier = 1; identifier <= 65_535; identifier++) all.writeUInt32BE(0x40_02_00_00 + identifier, (identifier - 1) * 4)
  return all
}
