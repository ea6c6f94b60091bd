import { bodyAt, readCodes, readConnack, readPublish, type Publication } from "../support/read.js"
import { Peer } from "../support/peer.js"
import { pubrec, pubrel } from "../support/messages.js"
import { fullConnect, type FullConnect } from "../support/will.js"
import { DISCONNECT, packet, PINGREQ, PINGRESP, puback, publish, subscribe, word } from "../support/wire.js"

/** What came: a message, or the PUBREL of one. */
export type Incoming = { kind: "publish"; message: Publication } | { kind: "pubrel"; packetId: number }

/** A message that came and is not acknowledged to the end. */
export interface Open {
  packetId: number
  qos: number
  /** QoS 1: `number RETAIN` */
  key: string
  /** QoS 2: PUBREC left */
  received: boolean
}

/** A connection to the real broker that does one thing after the other; what it gets meanwhile waits in its inbox. */
export class Actor {
  readonly inbox: Incoming[] = []
  /** what it has to acknowledge, as it came */
  readonly open: Open[] = []
  private nextId = 1

  private constructor(
    private readonly peer: Peer,
    readonly present: boolean,
  ) {}

  static async connect(port: number, version: 4 | 5, fields: FullConnect): Promise<Actor> {
    const peer = new Peer(port, version)
    peer.send(fullConnect(version, fields))
    const connack = await peer.next()
    const code = version === 5 ? readConnack(connack).reason : connack[3]
    if (connack[0] !== 0x20 || code !== 0) throw new Error(`refused: ${connack.toString("hex")}`)
    return new Actor(peer, connack[bodyAt(connack)] === 1)
  }

  send(...packets: Buffer[]): void {
    this.peer.send(...packets)
  }

  async subscribe(filter: string, qos: number): Promise<void> {
    this.send(subscribe(this.peer.version, this.identifier(), [filter, qos]))
    const suback = await this.answer((bytes) => bytes[0] === 0x90)
    const { codes } = readCodes(suback, this.peer.version)
    if (codes[0] !== qos) throw new Error(`SUBACK says ${codes.join()} for QoS ${qos}`)
  }

  async unsubscribe(filter: string): Promise<void> {
    this.send(packet(0xa2, word(this.identifier()), this.peer.version === 5 ? [0] : [], filter))
    await this.answer((bytes) => bytes[0] === 0xb0)
  }

  /** Publishes at QoS 0 or 1 in one segment; `acknowledged` is told of each PUBACK, in order. */
  async publish(
    { topic, qos, retain }: { topic: string; qos: 0 | 1; retain: boolean },
    payloads: string[],
    acknowledged: () => void = () => {},
  ): Promise<void> {
    const ids = payloads.map(() => this.identifier())
    this.send(...payloads.map((payload, n) => publish(this.peer.version, { topic, qos, payload, retain, packetId: ids[n] ?? 1 })))
    if (qos === 0) return this.ping()
    for (const id of ids) {
      await this.acknowledged(0x40, id)
      acknowledged()
    }
  }

  /** Publishes at QoS 2 in one segment, under given identifiers; `received` is told of each PUBREC, in order. */
  async begin(
    messages: readonly { topic: string; payload: string; retain: boolean; packetId: number }[],
    dup: boolean,
    received: () => void = () => {},
  ): Promise<void> {
    this.send(...messages.map((message) => publish(this.peer.version, { qos: 2, dup, ...message })))
    for (const { packetId } of messages) {
      await this.acknowledged(0x50, packetId)
      received()
    }
  }

  /** PUBREL up to PUBCOMP. */
  async release(packetId: number): Promise<void> {
    this.send(pubrel(packetId))
    await this.acknowledged(0x70, packetId)
  }

  puback(packetId: number): void {
    this.send(puback(packetId))
  }

  /** PUBREC; the PUBREL that answers is not for the inbox. */
  async receive(packetId: number): Promise<void> {
    this.send(pubrec(packetId))
    await this.answer((bytes) => bytes.equals(pubrel(packetId)))
  }

  /** Everything that the broker has said by now is in the inbox. */
  async ping(): Promise<void> {
    this.send(PINGREQ)
    await this.answer((bytes) => bytes.equals(PINGRESP))
  }

  /** Ends the connection without a DISCONNECT; resolves when the broker has noticed. */
  async cut(): Promise<void> {
    this.peer.socket.end()
    await this.peer.ended()
  }

  /** The broker is dead: what came before, and nobody has looked at. */
  async last(): Promise<Incoming[]> {
    for (const bytes of await this.peer.ended()) this.keep(bytes)
    return this.inbox.splice(0)
  }

  async disconnect(): Promise<void> {
    this.send(DISCONNECT)
    await this.peer.ended()
  }

  async takenOver(): Promise<void> {
    await this.peer.ended()
  }

  /** Identifiers of its own messages: 1 to 30,000; those of `begin` are higher. */
  private identifier(): number {
    this.nextId = (this.nextId % 30_000) + 1
    return this.nextId
  }

  private async acknowledged(head: number, packetId: number): Promise<void> {
    await this.answer((bytes) => bytes[0] === head && bytes.readUInt16BE(2) === packetId)
  }

  /** The next packet that fits; messages and PUBRELs before it go to the inbox, anything else is wrong. */
  private async answer(fits: (bytes: Buffer) => boolean): Promise<Buffer> {
    for (;;) {
      const bytes = await this.peer.next()
      if (fits(bytes)) return bytes
      if (!this.keep(bytes)) throw new Error(`unexpected ${bytes.toString("hex")}`)
    }
  }

  /** Messages and PUBRELs go to the inbox. False: it is something else. */
  private keep(bytes: Buffer): boolean {
    if (bytes[0] === 0x62) this.inbox.push({ kind: "pubrel", packetId: bytes.readUInt16BE(2) })
    else if ((bytes[0] ?? 0) >> 4 === 3) this.inbox.push({ kind: "publish", message: readPublish(bytes, this.peer.version) })
    else return false
    return true
  }
}
