import { setImmediate as turn } from "node:timers/promises"
import type { Assailant } from "../support/assailant.js"
import type { Attack, Siege } from "../support/siege.js"
import { connect, packet, publish } from "../support/wire.js"

const MB = 1 << 20

/** All of a PUBLISH of 1 MB but its last byte. */
const ALMOST = publish(4, { topic: "t", payload: Buffer.alloc(MB - 16) }).subarray(0, -1)

async function almostWhole(siege: Siege): Promise<void> {
  const all = siege.assailants
  await siege.each(all.length, async (n) => all[n]?.write(ALMOST))
}

/** A packet of 1 MB on each of many connections, a byte at a time. */
async function dribble(siege: Siege): Promise<void> {
  for (let at = 0; at < ALMOST.length && !siege.over; at++) {
    for (const client of siege.assailants) void client.write(ALMOST.subarray(at, at + 1))
    await turn()
  }
}

async function almostConnect(siege: Siege): Promise<void> {
  const bytes = connect(4, { clientId: "c".repeat(60_000), userName: "u".repeat(5000) }).subarray(0, -1)
  await siege.each(10_900, async () => {
    await siege.open().write(bytes)
  })
}

/** A WebSocket on which a client of MQTT was let in; what it sends needs a frame. */
async function openWebSocket(siege: Siege, clientId: string): Promise<Assailant> {
  const one = siege.openOther(siege.doors.webSocket)
  const lines = ["GET /mqtt HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
  const more = ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol: mqtt", "", ""]
  await one.write(Buffer.from([...lines, ...more].join("\r\n")))
  await one.heard(Buffer.from("\r\n\r\n"))
  const bytes = connect(4, { clientId })
  await one.write(frame(0x82, bytes.length, bytes))
  await one.heard(Buffer.from([0x20, 2, 0, 0]))
  return one
}

/** The beginning of a frame of so many bytes, masked with zeros, and some of its bytes (RFC 6455 section 5.2). */
function frame(first: number, length: number, bytes: Buffer): Buffer {
  const size = length < 126 ? Buffer.from([0x80 | length]) : Buffer.alloc(9, 0)
  if (length >= 126) size.writeBigUInt64BE(BigInt(length), 1)
  if (length >= 126) size[0] = 0xff
  return Buffer.concat([Buffer.from([first]), size, Buffer.alloc(4), bytes])
}

/** A message of 65 MB on each WebSocket, but for its last byte. */
async function almostMessages(siege: Siege): Promise<void> {
  const piece = Buffer.alloc(MB)
  await siege.each(40, async (n) => {
    const one = await openWebSocket(siege, `message-${n}`)
    if (!(await one.write(frame(0x82, 65 * MB, Buffer.alloc(MB - 1))))) return
    for (let k = 1; k < 65; k++) if (!(await one.write(piece))) return
  })
}

/** Messages whose fragments have one byte each, and never end. */
async function fragments(siege: Siege): Promise<void> {
  const goesOn = Buffer.concat(Array.from({ length: 10_000 }, () => frame(0, 1, Buffer.from([0]))))
  await siege.each(20, async (n) => {
    const one = await openWebSocket(siege, `fragment-${n}`)
    if (!(await one.write(frame(2, 1, Buffer.from([0x30]))))) return
    await one.flood(() => goesOn)
  })
}

/** Requests to upgrade whose headers do not end. */
async function almostRequests(siege: Siege): Promise<void> {
  const header = `GET /mqtt HTTP/1.1\r\nHost: x\r\n${Array.from({ length: 15 }, (_, n) => `X-${n}: ${"x".repeat(980)}\r\n`).join("")}`
  await siege.each(8000, async () => {
    await siege.openOther(siege.doors.webSocket).write(Buffer.from(header))
  })
}

/** The beginning of a ClientHello, and nothing more. */
async function almostHandshakes(siege: Siege): Promise<void> {
  const hello = Buffer.concat([Buffer.from([0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3]), Buffer.alloc(16_000)])
  await siege.each(10_000, async () => {
    await siege.openOther(siege.doors.tls).write(hello)
  })
}

/** CONNECTs that are answered late: whose Client Identifier is taken over again and again. */
async function fight(siege: Siege): Promise<void> {
  const bytes = connect(4, { clientId: "fought for", clean: false, will: { topic: "w", payload: "w".repeat(60_000) } })
  await siege.each(10_500, async () => {
    await siege.open().write(Buffer.concat([bytes, packet(0xc0)]))
  })
}

/** What begins and does not end. */
export const UNFINISHED: Record<string, Attack> = {
  "1,500 connections with all but the last byte of a packet of 1 MB": {
    grows: "the pieces of a packet that is not complete",
    gather: async (siege) => {
      await siege.crowd(1500, (n) => ({ clientId: `almost-${n}` }))
    },
    run: almostWhole,
  },
  "packets of 1 MB that come byte by byte on 500 connections": {
    grows: "a Buffer for each byte of a packet that is not complete",
    gather: async (siege) => {
      await siege.crowd(500, (n) => ({ clientId: `dribble-${n}` }))
    },
    run: dribble,
  },
  "10,900 connections with all but the last byte of a CONNECT of 64 kB": {
    grows: "the pieces of a CONNECT that is not complete, until its time is over",
    run: almostConnect,
  },
  "40 WebSockets with all but the last byte of a message of 65 MB": {
    grows: "what the library gathers of a message",
    run: almostMessages,
  },
  "20 WebSockets with messages of fragments of one byte": {
    grows: "a Buffer for each fragment of a message",
    run: fragments,
  },
  "8,000 HTTP requests whose headers do not end": {
    grows: "headers of 15 kB, until their time is over",
    run: almostRequests,
  },
  "10,000 TLS handshakes that do not end": {
    grows: "what OpenSSL has for each handshake, until its time is over",
    run: almostHandshakes,
  },
  "10,500 connections that fight for one client identifier": {
    grows: "CONNECTs with Wills of 60 kB that wait for their turn",
    run: fight,
  },
}
