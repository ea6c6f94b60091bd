import { readFileSync } from "node:fs"
import { connect as connectTcp } from "node:net"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { connect as connectTls, type ConnectionOptions } from "node:tls"
import { type Certificates, doorOf, makeCertificates, startBroker, temporaryFolder, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { createWebSocketStream, WebSocket } from "ws"

export const KINDS = ["mqtt", "mqtts", "ws", "wss", "mqtt+unix"] as const
export type Kind = (typeof KINDS)[number]

/** A broker that listens in every way. */
export interface Doors {
  readonly broker: TestBroker
  readonly certificates: Certificates
  /** Where a kind listens, by a name that the certificate has. */
  readonly url: (kind: Kind) => string
  readonly port: (kind: Kind) => number
  /** A connection through a door, ready for MQTT. */
  readonly open: (kind: Kind, tls?: ConnectionOptions) => Duplex
}

export async function startDoors(args: readonly string[] = [], store = "memory:"): Promise<Doors> {
  const dir = temporaryFolder()
  const certificates = makeCertificates(dir)
  const targets = ["mqtts://127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0/deep/path", `mqtt+unix://${join(dir, "mqtt.sock")}`]
  const tls = ["--tls-cert", certificates.serverCert, "--tls-key", certificates.serverKey]
  const broker = await startBroker({ dir, store, args: [...targets.flatMap((url) => ["--listen", url]), ...tls, ...args] })
  const url = (kind: Kind): string => broker.urls[KINDS.indexOf(kind)] ?? ""
  const port = (kind: Kind): number => Number(new URL(url(kind)).port)
  const ca = readFileSync(certificates.ca)
  return { broker, certificates, url, port, open: (kind, options) => openUrl(url(kind), { ca, ...options }) }
}

/** A connection to a listener, ready for MQTT: what is written before it is open waits. */
export function openUrl(url: string, options: ConnectionOptions & { allowHalfOpen?: true } = {}): Duplex {
  const { protocol, hostname: host, port, pathname } = new URL(url)
  if (protocol === "mqtt:") return connectTcp({ port: Number(port), host, noDelay: true, allowHalfOpen: options.allowHalfOpen ?? false })
  if (protocol === "mqtts:") return connectTls({ port: Number(port), host, ...options }).setNoDelay()
  if (protocol === "mqtt+unix:") return connectTcp({ path: pathname })
  return createWebSocketStream(new WebSocket(url, "mqtt", { ...options, perMessageDeflate: false }), { allowHalfOpen: false })
}

/** A connection to a port of 127.0.0.1; to a broker of this process through the door that MQTT_TEST_DOOR names. */
export function openPort(port: number, options: { allowHalfOpen?: true } = {}): Duplex {
  const door = doorOf(port)
  return openUrl(door?.url ?? `mqtt://127.0.0.1:${port}`, { ...options, ...(door?.ca && { ca: door.ca }) })
}

/** Resolves when the broker's log has the text. */
export async function logged(broker: TestBroker, text: string | RegExp): Promise<void> {
  await waitFor(() => (typeof text === "string" ? broker.stderr.includes(text) : text.test(broker.stderr)), { what: `in the log: ${text}` })
}
