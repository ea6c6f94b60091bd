import { createServer, type IncomingMessage, type Server } from "node:http"
import { Socket } from "node:net"
import { WebSocketServer } from "ws"
import type { Arrival, Entrance } from "../arrivals.js"
import { WebSocketStream } from "./websocket-stream.js"

/** Names of MQTT as a subprotocol, the better one first [MQTT-6.0.0-3]. */
const SUBPROTOCOLS = ["mqtt", "mqttv3.1"]
/** How long a client may take to answer a close frame, in ms. */
const CLOSE_MS = 2000
/** Most bytes of a message beyond the largest packet: MQTT.js in a browser joins all that waits to one message. */
const JOINED_BYTES = 67_108_864

/** Most parts of a message, as the client divides it and as it comes: each takes some memory beside its bytes. */
const FRAGMENTS = 1000
const BUFFERED_CHUNKS = 100_000

export interface WebSocketRules {
  /** where MQTT is: `/mqtt` */
  readonly path: string
  /** pages that may open a WebSocket; empty: all */
  readonly origins: readonly string[]
  /** most bytes of a packet */
  readonly packetBytes: number
}

interface Refusal {
  status: number
  message: string
}

/** MQTT over WebSocket (MQTT 5.0 section 6): HTTP until the upgrade, then binary messages. */
export function webSocketEntrance(rules: WebSocketRules): Entrance {
  const arrivals = new WeakMap<object, Arrival>()
  // these are missing in the library's types, but maxPayload
  const frames = {
    maxPayload: rules.packetBytes + JOINED_BYTES,
    closeTimeout: CLOSE_MS,
    maxFragments: FRAGMENTS,
    maxBufferedChunks: BUFFERED_CHUNKS,
  }
  const upgrades = new WebSocketServer({
    ...frames,
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    handleProtocols: (offered) => SUBPROTOCOLS.find((one) => offered.has(one)) ?? false,
    verifyClient: ({ req }, answer) => {
      const refusal = refusalOf(req, rules)
      if (refusal) arrivals.get(req.socket)?.tell(refusal.message)
      answer(refusal === undefined, refusal?.status, refusal?.message)
    },
  })
  const server = httpServer((socket) => arrivals.get(socket))
  server.on("upgrade", (request, socket, head) => {
    const arrival = arrivals.get(socket)
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      if (arrival && socket instanceof Socket)
        arrival.serve(new WebSocketStream(webSocket, socket, arrival.tally, (why) => arrival.tell(why)))
      else webSocket.terminate()
    })
  })
  return (socket, arrival) => {
    arrival.begin("WebSocket upgrade")
    arrivals.set(socket, arrival)
    server.emit("connection", socket)
  }
}

/** Listens nowhere: sockets are given to it. */
function httpServer(arrivalOf: (socket: object) => Arrival | undefined): Server {
  const server = createServer((request, response) => {
    response.writeHead(426, { Connection: "close", Upgrade: "websocket", "Content-Type": "text/plain" })
    response.end("MQTT over WebSocket\n")
  })
  server.on("clientError", (error, socket) => {
    arrivalOf(socket)?.tell(httpProblem(error))
    socket.destroy()
  })
  return server
}

function refusalOf({ url = "", headers }: IncomingMessage, { path, origins }: WebSocketRules): Refusal | undefined {
  if (url.replace(/\?.*$/s, "") !== path) return { status: 404, message: `MQTT is at ${path}, not at ${JSON.stringify(url.slice(0, 100))}` }
  // programs that are no browser send none, or any: it protects people whose browser shows a strange page
  if (headers.origin !== undefined && origins.length > 0 && !origins.includes(headers.origin.toLowerCase()))
    return {
      status: 403,
      message: `pages of ${JSON.stringify(headers.origin.slice(0, 100))} may not connect, --ws-origin does not name it`,
    }
  const offered = headers["sec-websocket-protocol"]?.split(",").map((one) => one.trim()) ?? []
  if (SUBPROTOCOLS.some((one) => offered.includes(one))) return undefined
  return { status: 400, message: `it does not offer the WebSocket subprotocol "mqtt"` }
}

/** The first byte of what a TLS client sends. */
const TLS_HANDSHAKE = 0x16

function httpProblem(error: Error): string {
  const bytes: unknown = "rawPacket" in error ? error.rawPacket : undefined
  const [first, second] = Buffer.isBuffer(bytes) ? bytes : []
  if (first === TLS_HANDSHAKE) return "TLS came to a port that speaks WebSocket without TLS"
  if (first === 0x10) return "MQTT without WebSocket came to a port that speaks WebSocket"
  // its first letters, and the line ends that version 2 begins with
  if ((first === 0x50 && second === 0x52) || (first === 0x0d && second === 0x0a))
    return "a PROXY header came from an address that --proxy-protocol does not name"
  return `its HTTP request is not understood: ${error.message}`
}
