import { once } from "node:events"
import { connect as connectTcp } from "node:net"
import { onCleanUp, runCli, startBroker, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { WebSocket } from "ws"
import { logged, startDoors } from "../support/doors.js"
import { range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readConnack } from "../support/read.js"
import { connect, properties, publish, sessionExpiry } from "../support/wire.js"

/** Clients have 32 MB with it, of which 19 may be kept, and one place 14 of these. */
const ARGS = ["--max-memory", "192MB"]
const MB = 1 << 20
const QUOTA_EXCEEDED = 0x97
const LASTING = { cleanStart: true, properties: properties(sessionExpiry(1000)) }

/** An MQTT 5.0 client that comes from another address than 127.0.0.1. */
function elsewhere(port: number, clientId: string): Promise<Peer> {
  return Peer.connected(connectTcp({ port, host: "127.0.0.1", localAddress: "127.0.0.2" }), 5, { clientId })
}

/** A WebSocket on which a client of MQTT was let in. */
async function webSocketOf(url: string, clientId: string): Promise<WebSocket> {
  const webSocket = new WebSocket(url, "mqtt", { perMessageDeflate: false })
  onCleanUp(() => webSocket.terminate())
  webSocket.on("error", () => {}) // 'close' follows
  await once(webSocket, "open")
  webSocket.send(connect(5, { clientId }))
  await once(webSocket, "message")
  return webSocket
}

/** Publishes with RETAIN 1 at QoS 1; returns the Reason Code. */
async function retain(peer: Peer, topic: string, bytes: number): Promise<number> {
  peer.send(publish(5, { topic, qos: 1, packetId: 1, retain: true, payload: Buffer.alloc(bytes, 65) }))
  const puback = await peer.next()
  return puback.length > 4 ? (puback[4] ?? -1) : 0
}

test("packets that never end take so much together, then those who send them wait or are closed; others are served", async () => {
  const broker = await startBroker({ store: "memory:", args: ARGS })
  const bystander = await elsewhere(broker.port, "bystander")
  const almost = publish(5, { topic: "t", payload: Buffer.alloc(MB - 32, 65) }).subarray(0, -1)
  const attackers = await Promise.all(range(1, 60).map(async (n) => Peer.connected(broker.port, 5, { clientId: `a${n}` })))
  for (const attacker of attackers) attacker.send(almost)
  await waitFor(() => attackers.some(({ closed }) => closed), { what: "one that is closed" })
  expect(await retain(bystander, "still", 10)).not.toBe(QUOTA_EXCEEDED)
  expect(bystander.closed).toBe(false)
  await logged(broker, /clients take \d+ MB of the 32 MB of memory that --max-memory leaves them: packets \d+ MB/)
  expect(broker.stderr).toMatch(
    /was closed, quota exceeded: it takes 1 MB of memory, and of all clients those from 127\.0\.0\.1 take the most/,
  )
  // those that went made room
  await waitFor(() => attackers.filter(({ closed }) => closed).length >= 10, { what: "enough that are closed" })
  expect(attackers.filter(({ closed }) => !closed).length).toBeGreaterThan(10)
})

test("what clients do not read takes so much together, then those that hold the most are closed with 0x97", async () => {
  const broker = await startBroker({ store: "memory:", args: ARGS })
  const publisher = await elsewhere(broker.port, "publisher")
  const frozen = await Promise.all(range(1, 12).map(async (n) => Peer.connected(broker.port, 5, { clientId: `f${n}` })))
  for (const [n, peer] of frozen.entries()) {
    await peer.subscribe([`t/${n}`, 1])
    peer.socket.pause()
  }
  const isClosed = (): boolean => /f\d+.*was closed, quota exceeded: it takes \d+ MB of memory/.test(broker.stderr)
  for (let n = 1; !isClosed() && n < 200; n++) {
    const topic = `t/${n % frozen.length}`
    publisher.send(publish(5, { topic, qos: 1, packetId: n, payload: Buffer.alloc(900_000, n) }))
    await publisher.next(20_000)
  }
  expect(isClosed()).toBe(true)
  await logged(broker, /--max-memory leaves them: (unsent|queues) \d+ MB/)
  expect(await retain(publisher, "still", 10)).not.toBe(QUOTA_EXCEEDED)
})

test("what waits in sockets is counted; when memory is tight QoS 0 adds nothing to it, and nobody is closed for that", async () => {
  const broker = await startBroker({ store: "memory:", args: ARGS })
  const publisher = await elsewhere(broker.port, "publisher")
  const frozen = await Promise.all(range(1, 10).map(async (n) => Peer.connected(broker.port, 5, { clientId: `f${n}` })))
  for (const [n, peer] of frozen.entries()) {
    await peer.subscribe([`t/${n}`, 0])
    peer.socket.pause()
  }
  const message = (n: number): Buffer => publish(5, { topic: `t/${n % frozen.length}`, qos: 0, payload: Buffer.alloc(30_000, n) })
  // the operating system takes some of it: how much is its own affair
  const isSaid = (): boolean => /--max-memory leaves them: unsent 2\d MB/.test(broker.stderr)
  for (let n = 0; !isSaid() && n < 10_000; n++) {
    publisher.send(message(n))
    if (n % 10 === 0) await publisher.settled()
  }
  expect(isSaid()).toBe(true)
  // soon those who hold the most are closed; a part of the 12 MB that come before would do that at once
  for (let n = 0; n < 400; n++) publisher.send(message(n))
  await publisher.settled()
  expect(broker.stderr).not.toContain("quota exceeded")
})

test("messages of WebSockets that never end are counted as they come", async () => {
  const { broker, url } = await startDoors(ARGS)
  const crowd = await Promise.all(range(1, 30).map(async (n) => webSocketOf(url("ws"), `w${n}`)))
  let closed = 0
  for (const webSocket of crowd) {
    webSocket.on("close", () => closed++)
    webSocket.send(Buffer.alloc(2 * MB, 0x30), { binary: true, fin: false })
  }
  await waitFor(() => closed > 0, { what: "one that is closed" })
  await logged(broker, /--max-memory leaves them: packets \d+ MB/)
})

test("Packet Identifiers of QoS 2 that are never released have their share: who opens more is closed, others from there go on", async () => {
  const broker = await startBroker({ store: "memory:", args: ARGS })
  const IDENTIFIERS = 65_535
  const all = Buffer.concat(range(1, IDENTIFIERS).map((packetId) => publish(4, { topic: "t", qos: 2, packetId })))
  const join = (clientId: string): Promise<Peer> => Peer.connected(broker.port, 4, { clientId, clean: false })
  const hoarders = await Promise.all(range(1, 8).map(async (n) => join(`h${n}`)))
  const few = await join("few")
  for (const hoarder of hoarders) {
    hoarder.send(all)
    await waitFor(() => hoarder.closed || hoarder.waiting.length === IDENTIFIERS, { what: "the answers", timeoutMs: 30_000 })
  }
  expect(hoarders.filter(({ closed }) => closed).length).toBeGreaterThan(1)
  expect(hoarders.filter(({ closed }) => !closed).length).toBeGreaterThan(3)
  for (const packetId of range(1, 50)) {
    few.send(publish(4, { topic: "t", qos: 2, packetId }))
    expect((await few.next())[0]).toBe(0x50)
  }
})

test("retained messages from one address have their share, one from elsewhere still finds room, and room comes back", async () => {
  const broker = await startBroker({ store: "memory:", args: ARGS })
  const [greedy, other] = [await Peer.connected(broker.port, 5, { clientId: "greedy" }), await elsewhere(broker.port, "other")]
  let kept = 0
  while ((await retain(greedy, `t/${kept}`, 100_000)) !== QUOTA_EXCEEDED) kept++
  expect(kept * 100_000).toBeGreaterThan(12 * MB)
  expect(kept * 100_000).toBeLessThan(15 * MB)
  expect(await retain(other, "other", 100_000)).not.toBe(QUOTA_EXCEEDED)
  expect(await retain(greedy, "t/0", 0)).not.toBe(QUOTA_EXCEEDED)
  expect(await retain(greedy, "t/new", 90_000)).not.toBe(QUOTA_EXCEEDED)
})

test("Subscriptions of one Session have their share: further ones are refused with 0x97", async () => {
  const broker = await startBroker({ store: "memory:", args: ARGS })
  const peer = await Peer.connected(broker.port, 5, { clientId: "s", ...LASTING })
  const codes: number[] = []
  for (let n = 0; n < 200; n++) codes.push(...(await peer.subscribe([`${n}${"x".repeat(60_000)}`, 1])))
  const refused = codes.filter((code) => code === QUOTA_EXCEEDED).length
  expect(refused).toBeGreaterThan(100)
  expect(codes.length - refused).toBeGreaterThan(20)
  expect(await peer.subscribe(["short", 1])).toEqual([1])
})

test("Sessions that last: beyond their share a CONNECT is refused with 0x97, a clean one is not", async () => {
  const broker = await startBroker({ store: "memory:", args: ARGS })
  const reasons: number[] = []
  for (let n = 0; n < 400 && !reasons.includes(QUOTA_EXCEEDED); n++) {
    const peer = new Peer(broker.port, 5)
    peer.send(connect(5, { clientId: `${n}-${"x".repeat(50_000)}`, ...LASTING }))
    reasons.push(readConnack(await peer.next()).reason)
    peer.cut()
  }
  expect(reasons.at(-1)).toBe(QUOTA_EXCEEDED)
  expect(reasons.length).toBeGreaterThan(200)
  await Peer.connected(broker.port, 5, { clientId: "clean" })
  await logged(broker, "what is kept for clients from 127.0.0.1 takes all the memory that it may")
})

test("a bound that leaves clients nothing is a usage error", async () => {
  const { code, stderr } = await runCli("mqtt-broker", ["start", "--max-memory", "100MB"])
  expect(code).toBe(2)
  expect(stderr).toContain(`memory size "100MB" is less than 192MB`)
})
