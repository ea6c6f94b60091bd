import { Peer } from "./peer.js"
import type { Publication } from "./read.js"
import { packet, properties, publish, sessionExpiry, word, type ConnectFields } from "./wire.js"

/** PUBREC, with a reason code for MQTT 5.0 where one is given (section 3.5). */
export function pubrec(packetId: number, reason?: number): Buffer {
  return packet(0x50, word(packetId), reason === undefined ? [] : [reason])
}

/** PUBREL (section 3.6). */
export function pubrel(packetId: number, reason?: number): Buffer {
  return packet(0x62, word(packetId), reason === undefined ? [] : [reason])
}

/** PUBCOMP (section 3.7). */
export function pubcomp(packetId: number, reason?: number): Buffer {
  return packet(0x70, word(packetId), reason === undefined ? [] : [reason])
}

/** The fields of a CONNECT to a Session that lasts, in either version. */
export function lasting(clientId: string, receiveMaximum?: number): ConnectFields {
  const window = receiveMaximum === undefined ? [] : [0x21, ...word(receiveMaximum)]
  return { clientId, clean: false, properties: properties(sessionExpiry(100_000), window) }
}

export interface Numbered {
  topic: string
  qos: 0 | 1 | 2
  from: number
  to: number
  retain?: boolean
}

/** Publishes the numbers `from` to `to` on a connection of its own; resolves when all are acknowledged to the end. */
export async function publishNumbers(port: number, { topic, qos, from, to, retain = false }: Numbered): Promise<void> {
  const publisher = await Peer.connected(port, 4)
  for (let n = from; n <= to; n++) publisher.send(publish(4, { topic, qos, packetId: identifier(n), payload: `${n}`, retain }))
  if (qos > 0)
    for (let n = from; n <= to; n++) await expectBytes(publisher, qos === 1 ? packet(0x40, word(identifier(n))) : pubrec(identifier(n)))
  if (qos === 2) {
    for (let n = from; n <= to; n++) publisher.send(pubrel(identifier(n)))
    for (let n = from; n <= to; n++) await expectBytes(publisher, pubcomp(identifier(n)))
  }
  await publisher.settled()
  publisher.cut()
}

async function expectBytes(peer: Peer, expected: Buffer): Promise<void> {
  const came = await peer.next()
  if (!came.equals(expected)) throw new Error(`expected ${expected.toString("hex")}, got ${came.toString("hex")}`)
}

function identifier(n: number): number {
  return ((n - 1) % 65_535) + 1
}

/** The number that publishNumbers wrote. */
export function numberOf(message: Publication): number {
  return Number(message.payload.toString())
}

/** The next `count` PUBLISH packets; throws when another packet comes. */
export async function take(peer: Peer, count: number): Promise<Publication[]> {
  const taken: Publication[] = []
  while (taken.length < count) taken.push(await peer.nextPublish())
  return taken
}

/** The next `count` packets, and that no other has come by the answer to a PINGREQ (which waits for no store). */
export async function answers(peer: Peer, count: number): Promise<Buffer[]> {
  const came: Buffer[] = []
  while (came.length < count) came.push(await peer.next())
  return [...came, ...(await peer.settled())]
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n)
}

/** Acknowledges a message to the end of its exchange (section 4.3). */
export async function complete(peer: Peer, { qos, packetId }: Publication): Promise<void> {
  if (qos === 1) peer.send(packet(0x40, word(packetId)))
  if (qos !== 2) return
  peer.send(pubrec(packetId))
  await expectBytes(peer, pubrel(packetId))
  peer.send(pubcomp(packetId))
}
