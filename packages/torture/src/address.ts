import { connect as connectTcp, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"

/** Where a broker listens. */
export interface Address {
  host: string
  port: number
  /** TLS; absent: plain TCP. */
  tls?: TlsTrust
}

/** Who must have signed the broker's certificate. */
export interface TlsTrust {
  /** In PEM; absent: those that Node.js knows. */
  ca?: Buffer
}

/** A connection for MQTT; what is written before it is open waits. */
export function openSocket({ host, port, tls }: Address): Socket {
  return tls ? connectTls({ host, port, ...tls }).setNoDelay() : connectTcp({ host, port, noDelay: true })
}
