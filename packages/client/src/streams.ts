import { connect as connectTcp } from "node:net"
import type { Duplex } from "node:stream"
import { type ConnectionSettings, describeTarget } from "@mqtt-trio/common"
import type { IClientOptions, IStream, MqttClient } from "./mqtt-library.js"

/** Opens the byte stream to the broker; called again for each attempt to connect. */
export type StreamBuilder = (client: MqttClient) => IStream

/** The builder for a connection. What it needs is loaded here: TLS, WebSocket and SOCKS only where they are used. */
export async function streamBuilder(settings: ConnectionSettings): Promise<StreamBuilder> {
  const { target } = settings
  if (target.kind === "unix") return () => connectTcp({ path: target.path })
  if (target.websocketPath !== undefined) return websocketBuilder(settings)
  const open = await socketBuilder(settings)
  if (!target.tls) return open
  const { tlsOptions } = await import("./tls-options.js")
  const tls = await import("node:tls")
  const options = tlsOptions(settings)
  return () => tls.connect({ ...options, socket: open(), ...(options.servername === undefined ? { host: target.host } : {}) })
}

async function socketBuilder(settings: ConnectionSettings): Promise<() => Duplex> {
  const { target, bind, proxy } = settings
  if (target.kind !== "tcp") return () => connectTcp({ path: target.path })
  if (proxy !== undefined) {
    const { openThroughProxy } = await import("./proxy.js")
    return () => openThroughProxy(proxy, target)
  }
  const local = bind === undefined ? {} : { localAddress: bind }
  return () => connectTcp({ host: target.host, port: target.port, noDelay: true, ...local })
}

async function websocketBuilder(settings: ConnectionSettings): Promise<StreamBuilder> {
  const { target } = settings
  const { websocketStream } = await import("./websocket.js")
  const secure = target.kind === "tcp" && target.tls
  const tls = secure ? (await import("./tls-options.js")).tlsOptions(settings) : {}
  const local = settings.bind === undefined ? {} : { localAddress: settings.bind }
  const wsOptions = { ...tls, ...local, headers: Object.fromEntries(settings.websocketHeaders), perMessageDeflate: false }
  const url = describeTarget(target)
  return (client) => {
    const options: IClientOptions = { ...client.options, protocol: secure ? "wss" : "ws", path: "/", wsOptions, transformWsUrl: () => url }
    return websocketStream(client, options)
  }
}
