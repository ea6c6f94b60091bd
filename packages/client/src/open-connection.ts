import { CliError, type ConnectionSettings, describeTarget, type Diagnostics, passwordAlone } from "@mqtt-trio/common"
import { ClientConnection, type ConnectionHandlers } from "./connection.js"
import { MessageInlet } from "./message-inlet.js"
import { MqttClient, type IClientOptions, type IConnackPacket, type Packet } from "./mqtt-library.js"
import { createOutgoingStore } from "./outgoing-store.js"
import { refusalIn, refusedConnection } from "./refusals.js"
import { streamBuilder, type StreamBuilder } from "./streams.js"
import { cannotConnect } from "./teach.js"
import { WaitingNotice } from "./waiting-notice.js"
import { connectWithoutUserName, ordered, wireProperties } from "./wire.js"

export interface OpenOptions {
  readonly settings: ConnectionSettings
  readonly handlers: ConnectionHandlers
  readonly diagnostics: Diagnostics
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Connects once, with version 5 and then, where the broker knows no 5 and the command line did not insist, with 3.1.1.
 * Throws `cannot-connect` or `connection-refused` with a hint that says what to try; `interrupted` when the signal is aborted.
 */
export async function openConnection(options: OpenOptions): Promise<ClientConnection> {
  const { settings, diagnostics } = options
  const build = await streamBuilder(settings)
  try {
    return await attempt(build, options)
  } catch (error) {
    if (settings.versionFixed || settings.version !== 5 || passwordAlone(settings) || !mayBeOldBroker(error))
      throw await explained(error, settings)
    const older = {
      ...settings,
      version: 4,
      transientSession: false,
      connectProperties: undefined,
      disconnectProperties: undefined,
    } as const
    const connection = await attempt(build, { ...options, settings: older }).catch(async () => {
      throw await explained(error, settings)
    })
    diagnostics.note("the broker does not speak MQTT 5: connected with 3.1.1")
    return connection
  }
}

async function explained(error: unknown, settings: ConnectionSettings): Promise<unknown> {
  return error instanceof Refusal ? refusedConnection(error.reason, settings) : cannotConnect(error, settings)
}

/** A CONNACK that says no. */
class Refusal extends Error {
  readonly reason: number

  constructor(reason: number) {
    super(`refused: ${reason}`)
    this.reason = reason
  }
}

class ClosedEarly extends Error {}

function mayBeOldBroker(error: unknown): boolean {
  return error instanceof Refusal ? error.reason === 0x84 : error instanceof ClosedEarly
}

function attempt(build: StreamBuilder, { settings, handlers, diagnostics, signal }: OpenOptions): Promise<ClientConnection> {
  // MQTT.js keeps most errors of a stream to itself.
  let streamError: Error | undefined
  const watched: StreamBuilder = (owner) =>
    build(owner).on("error", (error) => {
      streamError = error
    })
  const client = new MqttClient(watched, clientOptions(settings))
  if (passwordAlone(settings)) writeConnectWithoutUserName(client)
  const inlet = new MessageInlet(client, handlers.message)
  new WaitingNotice(describeTarget(settings.target), diagnostics, () => !inlet.paused).watch(client)
  if (diagnostics.debugging) tracePackets(client, diagnostics)
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void): void => {
      client.off("connect", connected)
      client.off("close", closed)
      client.off("error", failed)
      signal?.removeEventListener("abort", aborted)
      finish()
    }
    const refuse = (error: unknown): void => {
      // Errors may follow; they have nobody to go to any more.
      settle(() => client.on("error", () => undefined))
      client.end(true)
      reject(error instanceof Error ? error : new Error(String(error)))
    }
    const connected = (connack: IConnackPacket): void =>
      settle(() => resolve(new ClientConnection(client, inlet, { connack: ordered(connack), settings, handlers })))
    const closed = (): void => refuse(new ClosedEarly("closed before the broker answered", { cause: streamError }))
    const failed = (error: Error): void => {
      const reason = refusalIn(error)
      refuse(reason === undefined ? error : new Refusal(reason))
    }
    const aborted = (): void => refuse(new CliError("interrupted", "stopped before the connection was made"))
    client.on("connect", connected)
    client.on("close", closed)
    client.on("error", failed)
    signal?.addEventListener("abort", aborted)
    if (signal?.aborted === true) aborted()
    else client.connect()
  })
}

function clientOptions(settings: ConnectionSettings): IClientOptions {
  const { will, username, password, connectProperties } = settings
  const options: IClientOptions = {
    manualConnect: true,
    resubscribe: false,
    reconnectPeriod: 0,
    connectTimeout: settings.connectTimeoutMs,
    protocolId: settings.version === 3 ? "MQIsdp" : "MQTT",
    protocolVersion: settings.version,
    clientId: settings.clientId,
    clean: settings.clean,
    keepalive: settings.keepaliveSeconds,
    outgoingStore: createOutgoingStore(),
    timerVariant: "native",
    // The cache is 65,536 buffers made at the first packet: most of what a short run would do.
    writeCache: false,
    log: () => undefined,
  }
  if (username !== undefined) options.username = username
  if (password !== undefined) options.password = password
  if (connectProperties !== undefined) options.properties = wireProperties(connectProperties)
  if (will !== undefined) {
    options.will = { topic: will.topic, payload: will.payload, qos: will.qos, retain: will.retain }
    if (will.properties !== undefined) Object.assign(options.will, { properties: wireProperties(will.properties) })
  }
  return options
}

/** Takes over the writing of CONNECT: the method is not public in MQTT.js, whose version is therefore pinned. */
function writeConnectWithoutUserName(client: MqttClient): void {
  const original: unknown = Reflect.get(client, "_writePacket")
  if (typeof original !== "function") throw new Error("MQTT.js has no _writePacket any more")
  Reflect.set(client, "_writePacket", (packet: Packet, ...more: unknown[]): unknown => {
    if (packet.cmd !== "connect") return Reflect.apply(original, client, [packet, ...more])
    client.emit("packetsend", packet)
    return client.stream.write(connectWithoutUserName(packet))
  })
}

function tracePackets(client: MqttClient, diagnostics: Diagnostics): void {
  const trace = (direction: string, packet: { cmd: string; messageId?: number | undefined }): void => {
    diagnostics.debug(`${direction} ${packet.cmd.toUpperCase()}${packet.messageId === undefined ? "" : ` id ${packet.messageId}`}`)
  }
  client.on("packetsend", (packet) => trace("sent", packet))
  client.on("packetreceive", (packet) => trace("received", packet))
}
