import { randomId } from "@mqtt-trio/testing"
import { complete } from "./messages.js"
import { Peer } from "./peer.js"
import { readConnack, readPublish } from "./read.js"
import { packet, properties, publish, word, type Part } from "./wire.js"

/** CONNECT with a Will, a user name and a password (section 3.1.3). */
export interface FullConnect {
  clientId: string
  clean?: boolean
  keepAlive?: number
  /** MQTT 5.0 only */
  properties?: Buffer
  will?: Will
  userName?: string
  password?: string | Buffer
}

export interface Will {
  topic: string
  payload: string
  qos?: 0 | 1 | 2
  retain?: boolean
  /** MQTT 5.0 only */
  properties?: Buffer
}

export function fullConnect(version: 4 | 5, fields: FullConnect): Buffer {
  const { will, userName, password } = fields
  const block = (bytes: Buffer | undefined): Part => (version === 5 ? (bytes ?? properties()) : [])
  const flags =
    ((fields.clean ?? true) ? 2 : 0) |
    (will ? 4 | ((will.qos ?? 0) << 3) | (will.retain ? 32 : 0) : 0) |
    (password === undefined ? 0 : 64) |
    (userName === undefined ? 0 : 128)
  const payload: Part[] = [fields.clientId]
  if (will) payload.push(block(will.properties), will.topic, will.payload)
  if (userName !== undefined) payload.push(userName)
  if (password !== undefined) payload.push(word(Buffer.byteLength(password)), Buffer.from(password))
  return packet(0x10, "MQTT", [version, flags, ...word(fields.keepAlive ?? 0)], block(fields.properties), ...payload)
}

/** A connection with a Will. */
export async function mortal(version: 4 | 5, will: Will, more: Partial<FullConnect>, port: number): Promise<Peer> {
  const peer = new Peer(port, version)
  peer.send(fullConnect(version, { clientId: randomId("mortal"), ...more, will }))
  const connack = await peer.next()
  if (connack[0] !== 0x20 || (version === 5 ? readConnack(connack).reason : connack[3]) !== 0)
    throw new Error(`refused: ${connack.toString("hex")}`)
  return peer
}

/** A subscriber to the Will Topic at QoS 2. */
export async function heir(topic: string, port: number): Promise<Peer> {
  const peer = await Peer.connected(port, 5)
  await peer.subscribe([topic, 2])
  return peer
}

/** Publishes `marker` and throws when another message comes first: a Will, for example. It does not wait for what may come later. */
export async function nothingBut(marker: string, peer: Peer, topic: string, port: number): Promise<void> {
  const publisher = await Peer.connected(port, 4)
  publisher.send(publish(4, { topic, payload: marker, qos: 1, packetId: 1 }))
  await publisher.next()
  publisher.cut()
  let bytes = await peer.next()
  while (bytes[0] === 0x62) bytes = await peer.next() // of an exchange that was about to end
  const message = readPublish(bytes, peer.version)
  if (message.payload.toString() !== marker) throw new Error(`"${message.payload.toString()}" instead of "${marker}"`)
  await complete(peer, message)
}
