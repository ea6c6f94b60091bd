import { Duplex, Readable } from "node:stream"
import { Aedes, type AuthenticateError, type Client, type Connection as AedesConnection, type Subscription } from "aedes"
import { packetSize } from "../wire/fixed-header.js"
import type { ProtocolVersion } from "../wire/packet-types.js"

/** Decides what one network connection may do; aedes knows neither its Client Identifier nor its user. */
export interface Gate {
  /** Resolves with a CONNACK return code of MQTT 3.1.1 (4: bad user name or password, 5: not authorized), 0: come in. */
  admit(): Promise<number>
  maySubscribe(filter: string): boolean
}

/** What is asked of a connection whose CONNECT was accepted. */
export type InnerGate = Pick<Gate, "maySubscribe">

/** Writes the CONNECT that aedes sees: a clean one, with no Keep Alive. */
export type ConnectWriter = (engineId: string, version: ProtocolVersion) => Buffer

type Answer = (reply: Buffer | undefined) => void

/** Channels that wait for the next question, of each version: more are asked at the same time at most when many connect. */
const MOST_FREE = 16

/**
 * The only door to aedes. It parses, validates and answers control packets; messages, Sessions and wills never reach
 * it. Each CONNECT makes a client of its own to aedes, under an identifier that nobody else has, with a clean session.
 * Once it is accepted, the client is as good as any other for what else is asked, and most go: an idle connection needs
 * none. What a client remembers of Subscriptions goes before the next question. Its message bus is not connected.
 */
export class Engine {
  private opened = 0
  private readonly free = new Map<ProtocolVersion, ControlChannel[]>()

  private constructor(
    private readonly aedes: Aedes,
    private readonly connectOf: ConnectWriter,
  ) {}

  /** @param failed told what aedes refused */
  static async start(connectOf: ConnectWriter, failed: (error: Error) => void): Promise<Engine> {
    const aedes = await Aedes.createBroker({
      mq: {
        on: done,
        removeListener: done,
        emit: (_packet: unknown, callback?: () => void) => callback?.(),
        close: (callback?: () => void) => callback?.(),
      },
      persistence,
      heartbeatInterval: 2 ** 28, // four of them must fit a timer
      connectTimeout: 2 ** 30,
      drainTimeout: 0,
      maxClientsIdLength: 65_535,
      authenticate(client, _username, _password, callback) {
        void channelOf(client)
          .admit()
          .then((code) => {
            if (code === 0) return callback(null, true)
            const refusal: AuthenticateError = Object.assign(new Error("refused"), { returnCode: code })
            return callback(refusal, false)
          })
      },
      authorizeSubscribe(client, subscription, callback) {
        callback(null, channelOf(client).gate?.maySubscribe(subscription.topic) === true ? subscription : null)
      },
    })
    // a client identifier or topic filter such as __proto__ is an ordinary key
    Object.assign(aedes, { clients: Object.create(null), brokers: Object.create(null) })
    aedes.on("clientError", (_client, error) => failed(error))
    aedes.on("connectionError", (_client, error) => failed(error))
    return new Engine(aedes, connectOf)
  }

  /** A channel for a CONNECT. */
  open(gate: Gate): ControlChannel {
    return new ControlChannel(gate, (channel) => this.aedes.handle(channel))
  }

  /** Asks aedes, and through it the gate, whether a client may connect; undefined: it closed the connection, or the channel was. */
  async connect(channel: ControlChannel, version: ProtocolVersion): Promise<Buffer | undefined> {
    return channel.ask(this.connectOf(`c${++this.opened}`, version))
  }

  /** The channel's CONNECT was accepted: whoever speaks that version may use it. */
  release(channel: ControlChannel, version: ProtocolVersion): void {
    channel.gate = undefined // nothing of the CONNECT, and of whoever asked, is kept
    let free = this.free.get(version)
    if (!free) this.free.set(version, (free = []))
    if (free.length < MOST_FREE) free.push(channel)
    else channel.destroy()
  }

  /** The answer to a packet of a connection whose CONNECT was accepted; undefined: aedes closed the connection instead. */
  async ask(packet: Buffer, version: ProtocolVersion, gate: InnerGate): Promise<Buffer | undefined> {
    let channel = this.free.get(version)?.pop()
    if (!channel) await this.connect((channel = this.open(OPEN)), version)
    channel.gate = gate
    const reply = await channel.ask(packet)
    if (reply) this.release(channel, version)
    return reply
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.aedes.close(() => resolve())
    })
  }
}

/** Carries control packets to aedes, one at a time, and its answers back. */
export class ControlChannel extends Duplex {
  private answer: Answer | undefined = undefined
  private rest: Buffer | undefined = undefined
  private readonly engineClient: Client

  /** asked about the connection whose packet it is; undefined: it waits for one */
  gate: InnerGate | undefined

  /** @param outer asked about its CONNECT */
  constructor(
    private outer: Gate | undefined,
    attach: (channel: ControlChannel) => Client,
  ) {
    super({ allowHalfOpen: false })
    this.gate = outer
    this.engineClient = attach(this)
  }

  /** See Gate; asked once. */
  admit(): Promise<number> {
    const { outer } = this
    this.outer = undefined
    return outer ? outer.admit() : Promise.resolve(NOT_AUTHORIZED)
  }

  /** Passes one packet on; resolves with the reply, or undefined when aedes closed the connection instead. */
  ask(packet: Buffer): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      if (this.destroyed) return resolve(undefined)
      Object.assign(this.engineClient, { subscriptions: Object.create(null) })
      this.answer = resolve
      this.push(packet)
    })
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.collect(chunk)
    callback()
  }

  override _writev(chunks: { chunk: Buffer }[], callback: () => void): void {
    this.collect(Buffer.concat(chunks.map(({ chunk }) => chunk)))
    callback()
  }

  override _destroy(_error: Error | null, callback: () => void): void {
    callback()
    this.reply(undefined)
  }

  /** aedes writes one packet in several chunks: wait for the whole. */
  private collect(chunk: Buffer): void {
    const bytes = this.rest ? Buffer.concat([this.rest, chunk]) : chunk
    const size = packetSize(bytes)
    this.rest = bytes.length > size ? bytes.subarray(size) : undefined
    if (bytes.length < size) this.rest = bytes
    else this.reply(bytes.subarray(0, size))
  }

  private reply(packet: Buffer | undefined): void {
    const { answer } = this
    this.answer = undefined
    answer?.(packet)
  }
}

function channelOf(client: Client): ControlChannel {
  const connection: AedesConnection | undefined = client.conn
  if (connection instanceof ControlChannel) return connection
  throw new Error("aedes has a client that did not come through the channel")
}

const NOT_AUTHORIZED = 5

/** For channels that nobody asked for with a CONNECT of their own. */
const OPEN: Gate = { admit: async () => 0, maySubscribe: () => false }

const done = (_topic: string, _listener: unknown, callback?: () => void): void => callback?.()
const nothing = async (): Promise<void> => {}
const none = (): Readable => new Readable({ objectMode: true, read: endNow })

function endNow(this: Readable): void {
  this.push(null)
}
const noSubscriptions = async (): Promise<Subscription[]> => []

/** What aedes calls a persistence. There is nothing for it to keep: Sessions, retained messages and wills are ours. */
const persistence = {
  setup: nothing,
  destroy: nothing,
  storeRetained: nothing,
  createRetainedStream: none,
  createRetainedStreamCombi: none,
  addSubscriptions: nothing,
  removeSubscriptions: nothing,
  cleanSubscriptions: nothing,
  subscriptionsByClient: noSubscriptions,
  subscriptionsByTopic: noSubscriptions,
  countOffline: async (): Promise<object> => ({ subsCount: 0, clientsCount: 0 }),
  outgoingEnqueue: nothing,
  outgoingEnqueueCombi: nothing,
  outgoingUpdate: nothing,
  outgoingClearMessageId: nothing,
  outgoingStream: none,
  incomingStorePacket: nothing,
  incomingGetPacket: nothing,
  incomingDelPacket: nothing,
  putWill: nothing,
  getWill: nothing,
  delWill: nothing,
  streamWill: none,
  getClientList: none,
}
