import { isIP, type Socket } from "node:net"
import {
  BaseError,
  CliError,
  type ConnectionSettings,
  DEFAULT_PORT,
  describeTarget,
  messageOf,
  passwordAlone,
  REGISTERED_PORT,
  systemCode,
  type Target,
} from "@mqtt-trio/common"

import { NEEDS_USER_NAME } from "./refusals.js"
import { alertReason, withoutOpenSsl } from "./tls-words.js"

const PROBE_TIMEOUT_MS = 1500
const CLOSED_WORDS = /closed before|hang up|ECONNRESET|EPIPE/

/**
 * The error for a connection that could not be made: what failed, the likely cause, what to try. Looks around first: for another
 * broker on the registered port, and for TLS where plain MQTT was tried.
 */
export async function cannotConnect(cause: unknown, settings: ConnectionSettings): Promise<CliError> {
  if (cause instanceof CliError) return cause
  const { target } = settings
  const what = `cannot connect to ${describeTarget(target)}`
  const make = (why: string, hint?: string): CliError => new CliError("cannot-connect", `${what}: ${why}`, { hint, cause })
  const code = systemCode(cause) ?? ""
  const text = messageOf(cause)
  if (/ECONNREFUSED|ENOENT/.test(code)) return make("nobody listens there", await startHint(target))
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return make("there is no host of that name", "check the spelling of the host and the network")
  if (/TIMEDOUT|HOSTUNREACH|NETUNREACH/.test(code) || /connack timeout/.test(text)) {
    return make("no answer", "check the address and the port; a firewall may be in between")
  }
  if (cause instanceof Error && "code" in cause && typeof cause.code === "number") return make(`the answer breaks the protocol: ${text}`)
  const answer = target.kind === "tcp" ? await plainAnswer(target) : "other"
  if (target.kind === "tcp" && target.tls && answer === "MQTT") return make(...NO_TLS)
  if (target.kind === "tcp" && target.websocketPath !== undefined) return make(...websocketReason(target, answer, cause))
  if (answer === "HTTP")
    return make("a web server answers on this port", "check the port; for MQTT over WebSocket add --ws or use a ws:// URL")
  if (target.kind === "tcp" && target.tls) return make(...tlsReason(code, text))
  if (answer === "other" && (await speaksTls(target)))
    return make("the other side speaks TLS on this port", "add --tls (or --cafile FILE for a private certificate), or use an mqtts:// URL")
  if (CLOSED_WORDS.test(text + code))
    return make(
      "the other side closed the connection without an answer",
      passwordAlone(settings) ? NEEDS_USER_NAME : "is it an MQTT broker? Try -V 3.1.1",
    )
  if (cause instanceof BaseError) return make(text, cause.hint)
  return make(
    code === "" ? `the answer is not MQTT (${text})` : text,
    code === "" ? "another kind of server listens on this port" : undefined,
  )
}

const NO_TLS: [string, string] = ["the broker speaks no TLS on this port", "leave out the TLS options (or use mqtt:// instead of mqtts://)"]

/** What answers to plain MQTT. */
type Answer = "MQTT" | "HTTP" | "other"

const WEBSOCKET_HINT = "check --path, and that the broker offers WebSocket on this port"
const WEBSOCKET_HINTS: Readonly<Record<string, string>> = {
  401: "the server wants to know who asks: give it what it needs with --ws-header",
  403: "the server forbids it: give it what it needs with --ws-header",
}

function websocketReason(target: { readonly tls: boolean }, answer: Answer, cause: unknown): [why: string, hint: string] {
  const code = systemCode(cause) ?? ""
  const text = messageOf(cause)
  const answered = cause instanceof Error ? messageOf(cause.cause) : ""
  if (answer === "MQTT") return ["the broker speaks no WebSocket on this port", "leave out --ws (or use mqtt:// instead of ws://)"]
  if (target.tls && answer === "HTTP") return ["the web server speaks no TLS on this port", "use ws:// instead of wss://"]
  if (target.tls && !CLOSED_WORDS.test(text + code)) return tlsReason(code, text)
  const status = /^Unexpected server response: (\d+)$/.exec(answered)?.[1]
  if (status !== undefined)
    return [`the server answered with the HTTP status ${status} instead of opening a WebSocket`, WEBSOCKET_HINTS[status] ?? WEBSOCKET_HINT]
  const why = CLOSED_WORDS.test(text + code) ? "the other side closed the connection instead of opening a WebSocket" : text
  return [why, target.tls ? `${WEBSOCKET_HINT}; does it want a client certificate (--cert, --key)?` : WEBSOCKET_HINT]
}

function tlsReason(code: string, text: string): [why: string, hint: string] {
  if (/SELF_SIGNED|UNABLE_TO|DEPTH_ZERO/.test(code)) {
    return [`the broker's certificate is not trusted (${text})`, "give the certificate of its authority with --cafile FILE"]
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return [text, "connect by the name in the certificate, or give it with --servername NAME"]
  const alert = alertReason(text)
  if (alert !== undefined) return alert
  if (code === "EPROTO") return ["what answers is not TLS that this client knows", "check the port and --tls-version"]
  if (code === "CERT_HAS_EXPIRED") return ["the broker's certificate has expired", "renew it"]
  if (CLOSED_WORDS.test(text + code))
    return ["the other side closed the connection", "does it speak TLS on this port, or want a client certificate (--cert, --key)?"]
  return [withoutOpenSsl(text), "check the certificate, --cafile and --tls-version"]
}

async function startHint(target: Target): Promise<string> {
  if (target.kind === "unix") return "is the broker running, and is this the path of its socket?"
  const local = ["127.0.0.1", "localhost", "::1"].includes(target.host)
  const port = target.port === DEFAULT_PORT ? "" : ` --port ${target.port}`
  const start = local ? `start the broker: mqtt-broker start${port}` : "is the broker running there, on this port?"
  const elsewhere = target.port !== REGISTERED_PORT && (await accepts(target.host, REGISTERED_PORT))
  return elsewhere ? `${start} — or use the one that answers on port ${REGISTERED_PORT}: -p ${REGISTERED_PORT}` : start
}

async function accepts(host: string, port: number): Promise<boolean> {
  const { connect } = await import("node:net")
  return probe((done) => connect({ host, port, timeout: PROBE_TIMEOUT_MS }, () => done(true)))
}

async function speaksTls(target: Target): Promise<boolean> {
  if (target.kind !== "tcp") return false
  const { connect } = await import("node:tls")
  const name = isIP(target.host) === 0 ? { servername: target.host } : {}
  const options = { host: target.host, port: target.port, timeout: PROBE_TIMEOUT_MS, rejectUnauthorized: false, ...name }
  return probe((done) => connect(options, () => done(true)))
}

/** Asks as plain MQTT 3.1.1 would, with an empty client id: a CONNACK of whatever code says that the port is for MQTT. */
async function plainAnswer(target: { readonly host: string; readonly port: number }): Promise<Answer> {
  const { connect } = await import("node:net")
  let first = Buffer.alloc(0)
  await probe((done) => {
    const socket = connect({ ...target, timeout: PROBE_TIMEOUT_MS }, () => socket.write(Buffer.from("100c00044d515454040200050000", "hex")))
    socket.once("data", (answer) => {
      first = answer
      done(true)
    })
    return socket
  })
  if (first[0] === 0x20) return "MQTT"
  return first.toString("latin1", 0, 5) === "HTTP/" ? "HTTP" : "other"
}

function probe(open: (done: (result: boolean) => void) => Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = open((result) => {
      socket.destroy()
      resolve(result)
    })
    for (const event of ["error", "timeout", "close"] as const) {
      socket.on(event, () => {
        socket.destroy()
        resolve(false)
      })
    }
  })
}
