import { startBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { type ClientOptions, createWebSocketStream, WebSocket } from "ws"
import { logged, startDoors } from "../support/doors.js"
import { range } from "../support/messages.js"
import { fullConnect } from "../support/will.js"
import { Peer } from "../support/peer.js"
import { connect, PINGREQ, PINGRESP, puback, publish } from "../support/wire.js"

const doors = await startDoors(["--max-packet", "64KB"])
const url = doors.url("ws")

/** A WebSocket that is open, and the binary messages that came. */
async function opened(to = url, protocols: string | string[] = "mqtt", options: ClientOptions = {}): Promise<[WebSocket, Buffer[]]> {
  const socket = new WebSocket(to, protocols, options)
  const came: Buffer[] = []
  socket.on("message", (data) => came.push(Buffer.isBuffer(data) ? data : Buffer.alloc(0)))
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject))
  return [socket, came]
}

/** The code with which the server closes. */
function closed(socket: WebSocket): Promise<number> {
  return new Promise((resolve) => socket.once("close", resolve))
}

async function until(came: Buffer[], expected: Buffer): Promise<void> {
  await waitFor(() => Buffer.concat(came).includes(expected), { what: expected.toString("hex") })
}

const HEADERS = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
const UPGRADE = `GET /mqtt HTTP/1.1\r\nHost: x\r\n${HEADERS}Sec-WebSocket-Key: ${"A".repeat(22)}==\r\n\r\n`
const MB = 1 << 20
const CONNACK = Buffer.from("20020000", "hex")

describe("frames", () => {
  test("a packet in many fragments, with a ping between them, and several packets in one frame", async () => {
    const [socket, came] = await opened()
    let pongs = 0
    socket.on("pong", () => pongs++)
    const bytes = connect(4, { clientId: "fragments" })
    for (const [n, byte] of bytes.entries()) {
      if (n === 5) socket.ping()
      socket.send(Buffer.from([byte]), { fin: n === bytes.length - 1 })
    }
    await until(came, CONNACK)
    socket.send(Buffer.concat([PINGREQ, PINGREQ, PINGREQ.subarray(0, 1)]))
    await until(came, Buffer.concat([PINGRESP, PINGRESP]))
    socket.send(PINGREQ.subarray(1))
    await until(came, Buffer.concat([PINGRESP, PINGRESP, PINGRESP]))
    expect(pongs).toBe(1)
    socket.terminate()
  })

  test("an empty frame is none", async () => {
    const [socket, came] = await opened()
    socket.send(connect(4))
    socket.send(Buffer.alloc(0))
    socket.send(PINGREQ)
    await until(came, Buffer.concat([CONNACK, PINGRESP]))
    socket.terminate()
  })

  test("a text frame ends the connection, nothing behind it is looked at, and the Will is published [MQTT-6.0.0-1]", async () => {
    const watcher = await Peer.connected(doors.port("mqtt"), 4)
    await watcher.subscribe(["#", 0])
    const [socket, came] = await opened()
    socket.send(fullConnect(4, { clientId: "text", will: { topic: "will", payload: "x" } }))
    await until(came, CONNACK)
    socket.send("text")
    socket.send(publish(4, { topic: "never", payload: "x" }))
    expect(await closed(socket)).toBe(1003)
    expect((await watcher.nextPublish()).topic).toBe("will")
    expect(await watcher.settled()).toEqual([])
    await logged(doors.broker, "a text frame came")
    watcher.cut()
  })

  test("a frame of many packets, larger than the largest packet: all are taken, in order", async () => {
    const [socket, came] = await opened()
    socket.send(connect(4))
    await until(came, CONNACK)
    const count = 20_000
    socket.send(Buffer.concat(range(1, count).map((n) => publish(4, { topic: "t", qos: 1, packetId: n, payload: Buffer.alloc(1000) }))))
    await until(came, puback(count))
    const identifiers = Buffer.concat(came.slice(1))
    expect(range(0, count - 1).map((n) => identifiers.readUInt16BE(n * 4 + 2))).toEqual(range(1, count))
    socket.terminate()
  })

  test("a frame of millions of packets: the others do not wait until all are looked at", async () => {
    const bystander = await Peer.connected(doors.port("mqtt"), 4)
    const [socket, came] = await opened()
    socket.send(connect(4))
    await until(came, CONNACK)
    const one = publish(4, { topic: "t", payload: "x" })
    socket.send(Buffer.concat([Buffer.alloc(one.length * 8_000_000, one), PINGREQ]))
    const begin = performance.now()
    let longest = 0
    while (!Buffer.concat(came).includes(PINGRESP)) {
      const start = performance.now()
      await bystander.settled()
      longest = Math.max(longest, performance.now() - start)
    }
    expect(longest).toBeLessThan((performance.now() - begin) / 2)
    socket.terminate()
  })

  test("a packet larger than --max-packet ends the connection", async () => {
    const [socket, came] = await opened()
    socket.send(connect(4))
    await until(came, CONNACK)
    socket.send(publish(4, { topic: "t", payload: Buffer.alloc(65_536) }))
    await closed(socket)
    await logged(doors.broker, "the limit is 65536")
  })

  test("before a CONNECT is accepted, a large frame ends the connection before it is there", async () => {
    const [socket] = await opened()
    socket.send(Buffer.alloc(200_000), { fin: false })
    socket.send(Buffer.alloc(200_000), { fin: false })
    expect(await closed(socket)).toBe(1009)
    await logged(doors.broker, "more than 262144 bytes came")
  })

  test("before a CONNECT is accepted, what a refused client goes on sending is not read", async () => {
    const peer = new Peer(doors.port("ws"), 4)
    const header = Buffer.from("82ff000000000393870000000000", "hex") // 60,000,000 bytes
    peer.send(Buffer.from(UPGRADE), header)
    const block = Buffer.alloc(65_536, 1)
    let taken = 0
    const goOn = (): void => void peer.socket.write(block, (error) => error ?? ((taken += block.length) < 64 * MB && goOn()))
    goOn()
    await waitFor(() => peer.socket.destroyed, { what: "the end of the connection" })
    // what the kernel's buffers take has left, the rest has not
    expect(taken).toBeGreaterThan(262_144)
    expect(taken).toBeLessThan(16 * MB)
  })

  test("what came in the last frame is taken, though the connection is closed at once", async () => {
    const watcher = await Peer.connected(doors.port("mqtt"), 4)
    await watcher.subscribe(["last/#", 0])
    const [socket, came] = await opened()
    socket.send(connect(4))
    await until(came, CONNACK)
    socket.send(Buffer.concat(range(1, 5000).map((n) => publish(4, { topic: `last/${n}`, payload: Buffer.alloc(1000) }))))
    socket.close(1000)
    for (const n of range(1, 5000)) expect((await watcher.nextPublish()).topic).toBe(`last/${n}`)
    watcher.cut()
  })

  test("a client that never answers the close frame is gone all the same", async () => {
    const peer = new Peer(doors.port("ws"), 4)
    peer.send(Buffer.from(UPGRADE))
    peer.send(Buffer.from("818100000000", "hex"), Buffer.from("x"))
    await waitFor(() => doors.broker.stderr.match(/"detail":"a text frame came/g)?.length === 2, { what: "the line" })
    await peer.ended(5000)
  })
})

/** The answer to an upgrade: 101 or the status of the refusal. */
function upgrade(to: string, protocols: string[], options: ClientOptions = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(to, protocols, options)
    socket.once("open", () => {
      socket.terminate()
      resolve(101)
    })
    socket.once("unexpected-response", (request, { statusCode = 0 }) => {
      request.destroy()
      resolve(statusCode)
    })
    socket.on("error", reject)
  })
}

describe("the upgrade", () => {
  test.each([
    [["mqtt"], "mqtt"],
    [["mqttv3.1"], "mqttv3.1"],
    [["other", "mqttv3.1", "mqtt"], "mqtt"],
  ])("subprotocols %j: %s", async (offered, chosen) => {
    const [socket] = await opened(url, offered)
    expect([socket.protocol, socket.extensions]).toEqual([chosen, ""])
    socket.terminate()
  })

  test("another subprotocol, none, another path: refused, with a line", async () => {
    expect(await upgrade(url, ["amqp"])).toBe(400)
    expect(await upgrade(url, [])).toBe(400)
    expect(await upgrade(url.replace("/mqtt", "/other"), ["mqtt"])).toBe(404)
    expect(await upgrade(url.replace("/mqtt", ""), ["mqtt"])).toBe(404)
    expect(await upgrade(`${url}?token=x`, ["mqtt"])).toBe(101)
    await logged(doors.broker, "it does not offer the WebSocket subprotocol")
    await logged(doors.broker, "MQTT is at /mqtt, not at ")
  })

  test("--ws-origin: its pages, and programs that name none; not other pages", async () => {
    const listen = ["--listen", "ws://127.0.0.1:0", "--ws-origin", "https://good.example", "--ws-origin", "http://localhost:3000"]
    const broker = await startBroker({ store: "memory:", args: listen })
    const to = broker.urls[1] ?? ""
    for (const [origin, status] of [
      ["https://good.example", 101],
      ["http://localhost:3000", 101],
      ["https://GOOD.example", 101],
      ["https://bad.example", 403],
      ["http://good.example", 403],
      ["https://good.example.bad", 403],
      ["http://localhost", 403],
      ["null", 403],
    ] as const)
      expect([origin, await upgrade(to, ["mqtt"], { origin })]).toEqual([origin, status])
    expect(await upgrade(to, ["mqtt"])).toBe(101)
    await logged(broker, /pages of \S+bad.example\S+ may not connect/)
  })

  test("without --ws-origin every page may", async () => {
    expect(await upgrade(url, ["mqtt"], { origin: "https://any.example" })).toBe(101)
  })

  test("a page that is asked for by a browser says what to do", async () => {
    const answer = await fetch(url.replace("ws:", "http:"))
    expect([answer.status, answer.headers.get("upgrade")]).toEqual([426, "websocket"])
  })
})

test("the broker stops: clients of MQTT 5 get DISCONNECT 0x8B, then a close frame", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--listen", "ws://127.0.0.1:0"] })
  const [socket] = await opened(broker.urls[1] ?? "")
  const ending = closed(socket)
  const peer = await Peer.connected(createWebSocketStream(socket, { allowHalfOpen: false }), 5)
  const code = broker.stop()
  expect((await peer.next()).subarray(0, 3)).toEqual(Buffer.from("e0028b", "hex"))
  expect([await ending, await code]).toEqual([1000, 0])
})
