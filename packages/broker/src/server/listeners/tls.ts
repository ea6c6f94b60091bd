import { Socket } from "node:net"
import { createServer, type Server, type TLSSocket } from "node:tls"
import { messageOf, systemCode } from "@mqtt-trio/common"
import type { Arrival, Entrance } from "../arrivals.js"
import type { EventLog } from "../event-log.js"
import { watchFiles } from "../watched-files.js"
import { readTlsFiles, timeProblems, type TlsFiles } from "./tls-files.js"

/** What holds for TLS. */
export interface TlsRules extends TlsFiles {
  /** the user is the Common Name of the client's certificate; a certificate without one is refused */
  readonly certificateUser: boolean
}

/** TLS 1.2 and 1.3 of all listeners: one certificate, read again when its files change. */
export class TlsEntrance {
  private readonly server: Server
  private readonly unwatch: () => void
  /** handshakes under way, by the addresses of both sides */
  private readonly waiting = new Map<string, { arrival: Arrival; inner: Entrance }>()

  private readonly arrivals = new WeakMap<Socket, Arrival>()

  /** Throws a BrokerError that names the file which cannot be used. */
  constructor(
    private readonly files: TlsRules,
    private readonly log: EventLog,
  ) {
    const requestCert = files.clientCa !== undefined
    this.server = createServer({ ...readTlsFiles(files), requestCert, rejectUnauthorized: requestCert })
    this.warn()
    this.server.on("secureConnection", (socket) => this.secured(socket))
    this.server.on("tlsClientError", (error, socket) => this.failed(error, socket))
    this.unwatch = watchFiles([files.cert, files.key, ...(files.clientCa === undefined ? [] : [files.clientCa])], () => this.reload())
  }

  /** An entrance through TLS; what is behind it gets the plain bytes. */
  before(inner: Entrance): Entrance {
    return (socket, arrival) => {
      const key = addresses(socket)
      arrival.begin("TLS handshake")
      this.waiting.set(key, { arrival, inner })
      this.arrivals.set(socket, arrival)
      socket.on("close", () => this.waiting.delete(key))
      this.server.emit("connection", socket)
    }
  }

  close(): void {
    this.unwatch()
  }

  private secured(socket: TLSSocket): void {
    const waiting = this.take(socket)
    if (!waiting) return void socket.destroy()
    const { arrival, inner } = waiting
    if (this.files.certificateUser) {
      arrival.certificateUser = commonName(socket)
      if (arrival.certificateUser === undefined)
        return arrival.refuse("its certificate has not exactly one Common Name, and --tls-user makes that the user")
    }
    inner(socket, arrival)
  }

  private failed(error: Error, socket: TLSSocket): void {
    const waiting = this.take(socket)
    // set when the client's certificate is not one of our authority; its type says that it always is
    const refused: unknown = socket.authorizationError
    if (typeof refused === "string") this.arrivalOf(socket)?.tell(`its certificate is not accepted: ${certificateProblem(refused)}`)
    else if (systemCode(error) !== "ECONNRESET") waiting?.arrival.tell(handshakeProblem(error))
  }

  /** Of a socket that is gone, and does not say any more where it came from: the one below it, which its type does not know, is known. */
  private arrivalOf(socket: TLSSocket): Arrival | undefined {
    return "_parent" in socket && socket._parent instanceof Socket ? this.arrivals.get(socket._parent) : undefined
  }

  private take(socket: TLSSocket): { arrival: Arrival; inner: Entrance } | undefined {
    const key = addresses(socket)
    const waiting = this.waiting.get(key)
    this.waiting.delete(key)
    return waiting
  }

  /** Says what no client, or no client's certificate, is accepted with. */
  private warn(): void {
    for (const problem of timeProblems(this.files)) this.log.warn(problem, { event: "tls-time" })
  }

  /** Reads the files again. Connections that are open keep what they have. */
  reload(): void {
    try {
      this.server.setSecureContext(readTlsFiles(this.files))
      this.log.info(`the TLS certificate ${JSON.stringify(this.files.cert)} was read again`, { event: "tls-reloaded" })
      this.warn()
    } catch (error) {
      this.log.error(`the TLS files changed and cannot be used, those read before stay: ${messageOf(error)}`, { event: "tls-kept" })
    }
  }
}

/** The Common Name of the client's certificate; undefined without one, or with several. */
function commonName(socket: TLSSocket): string | undefined {
  const { subject } = socket.getPeerCertificate()
  const name: unknown = subject.CN // its type says that it always is one text
  return typeof name === "string" && name !== "" ? name : undefined
}

function addresses({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}

/** What is wrong with a client's certificate, in words, by OpenSSL's name of it. */
const CERTIFICATE_PROBLEMS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "it has expired",
  CERT_NOT_YET_VALID: "it is not valid yet",
  CERT_REVOKED: "it was revoked",
  DEPTH_ZERO_SELF_SIGNED_CERT: "it is signed by itself, and not by an authority of --tls-ca",
  INVALID_PURPOSE: "it is not made for clients (its extended key usage lacks clientAuth)",
  SELF_SIGNED_CERT_IN_CHAIN: "its authority is none of --tls-ca",
  UNABLE_TO_GET_ISSUER_CERT: "its authority is none of --tls-ca",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its authority is none of --tls-ca",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its authority is none of --tls-ca",
}

function certificateProblem(code: string): string {
  return CERTIFICATE_PROBLEMS[code] ?? code.toLowerCase().replaceAll("_", " ")
}

const PLAIN = ["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_HTTP_REQUEST", "ERR_SSL_HTTPS_PROXY_REQUEST"]

function handshakeProblem(error: Error): string {
  const code = systemCode(error) ?? ""
  if (PLAIN.includes(code))
    return "bytes without TLS came to a port that speaks TLS; a proxy that sends a PROXY header needs --proxy-protocol"
  if (code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE") return "it shows no certificate, and --tls-require-cert asks for one"
  const alert = /^ERR_SSL_[\w/]+?_ALERT_(\w+)$/.exec(code)?.[1]
  if (alert !== undefined) return `it gave up the TLS handshake: ${alert.toLowerCase().replaceAll("_", " ")}`
  return `the TLS handshake failed: ${code
    .replace(/^ERR_SSL_/, "")
    .toLowerCase()
    .replaceAll("_", " ")}`
}
