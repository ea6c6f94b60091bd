import { randomId } from "@mqtt-trio/testing"
import { complete } from "./messages.js"
import { Peer } from "./peer.js"
import { readConnack, readPublish } from "./read.js"
import { connect, publish, type ConnectFields, type Will } from "./wire.js"

/** CONNECT of a client that has a name. */
export type FullConnect = ConnectFields & { clientId: string }

export function fullConnect(version: 4 | 5, fields: FullConnect): Buffer {
  return connect(version, fields)
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
