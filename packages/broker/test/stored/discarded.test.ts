import { runCli, startBroker, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { lasting, publishNumbers, take } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { packet, properties, puback, sessionExpiry, word } from "../support/wire.js"

/** A broker whose absent session `s` has 20 messages in its queue, and nothing in flight. */
async function twentyWait(expirySeconds = 1000): Promise<TestBroker> {
  const broker = await startBroker()
  const peer = await Peer.connected(broker.port, 5, { clientId: "s", clean: false, properties: properties(sessionExpiry(expirySeconds)) })
  await peer.subscribe(["t", 1], ["+", 1])
  peer.send(packet(0xe0))
  await peer.ended()
  await publishNumbers(broker.port, { topic: "t", qos: 1, from: 1, to: 20 })
  return broker
}

/** Resolves when the log has a line of this level that ends a JSON message so. */
async function logged(broker: TestBroker, level: string, text: string, fields: object = {}): Promise<void> {
  const lines = (): string[] => broker.stderr.split("\n").filter((line) => line.includes(JSON.stringify(text).slice(1, -1)))
  const [line] = await waitFor(() => lines().length > 0 && lines(), { what: `the log line "${text}"` })
  expect(JSON.parse(line ?? "")).toMatchObject({ level, ...fields })
  expect(lines()).toHaveLength(1)
}

const [WARN, INFO] = ["warn", "info"]

async function dropped(broker: TestBroker): Promise<Record<string, number>> {
  const { stdout } = await runCli("mqtt-broker", ["queue", "s", "--store", `file:${broker.dir}/store`, "--json", "--peek", "0"])
  return JSON.parse(stdout.split("\n")[0] ?? "").dropped
}

describe("what waited for a session is not lost without a word", () => {
  test.each([
    ["a session that ends with its connection, 3.1.1", 4, { clientId: "s", clean: true }],
    ["one that lasts, 5.0", 5, { ...lasting("s"), clean: true }],
  ] as const)("Clean Start to %s: a warning with the count, and a counter", async (_name, version, fields) => {
    const broker = await twentyWait()
    const second = await Peer.connected(broker.port, version, fields)
    await logged(broker, WARN, '"s": 20 messages are gone with its session: a client with this identifier connected with Clean Start')
    expect(await dropped(broker)).toMatchObject({ discarded: 20, queueFull: 0 })
    second.cut()
  })

  test("the count goes on over several sessions; a session without messages is no news", async () => {
    const broker = await twentyWait()
    for (let n = 0; n < 2; n++) (await Peer.connected(broker.port, 5, { ...lasting("s"), clean: true })).cut()
    const third = await Peer.connected(broker.port, 5, { ...lasting("s"), clean: false })
    expect(await dropped(broker)).toMatchObject({ discarded: 20 })
    await logged(broker, WARN, "gone with its session", { messages: 20, total: 20 })
    third.cut()
  })

  test("takeover with Clean Start: what is in flight counts too", async () => {
    const broker = await startBroker()
    const first = await Peer.connected(broker.port, 5, lasting("s", 2))
    await first.subscribe(["t", 1])
    await publishNumbers(broker.port, { topic: "t", qos: 1, from: 1, to: 5 })
    const [one] = await take(first, 2)
    first.send(puback(one?.packetId ?? 0))
    await take(first, 1)
    await Peer.connected(broker.port, 5, { clientId: "s" })
    await logged(broker, WARN, '"s": 4 messages are gone with its session', { messages: 4, total: 4 })
  })

  test("Session Expiry Interval is over", async () => {
    const broker = await twentyWait(1)
    await logged(broker, WARN, '"s": 20 messages are gone with its session: its Session Expiry Interval is over')
  })

  test("Session Expiry Interval 0 in DISCONNECT", async () => {
    const broker = await twentyWait()
    const second = await Peer.connected(broker.port, 5, { ...lasting("s", 1) })
    second.send(packet(0xe0, [0], properties(sessionExpiry(0))))
    await second.ended()
    await logged(broker, WARN, '"s": 20 messages are gone with its session: it ended with its connection')
  })

  test("a session that ends with its connection, and its broker was killed", async () => {
    const broker = await twentyWait()
    await Peer.connected(broker.port, 5, { clientId: "s", clean: false, properties: properties([0x21, 0, 1]) })
    await broker.kill9()
    await broker.restart()
    await logged(broker, WARN, '"s": 20 messages are gone with its session: it ended with its connection')
  })

  test("a session that is not persistent and does not acknowledge: no warning, a word", async () => {
    const broker = await startBroker()
    const peer = await Peer.connected(broker.port, 5, { clientId: "s", properties: properties([0x21, 0, 2]) })
    await peer.subscribe(["t", 1])
    await publishNumbers(broker.port, { topic: "t", qos: 1, from: 1, to: 5 })
    const [one] = await take(peer, 2)
    peer.send(puback(one?.packetId ?? 0))
    await take(peer, 1)
    peer.cut()
    await logged(broker, INFO, '"s": 4 messages are gone with its session: it ended with its connection')
  })

  test("UNSUBSCRIBE: counted and logged, what another filter matches is not lost", async () => {
    const broker = await twentyWait()
    await publishNumbers(broker.port, { topic: "u", qos: 1, from: 1, to: 3 })
    const second = await Peer.connected(broker.port, 5, lasting("s", 1))
    await take(second, 1)
    for (const [n, filter, lost] of [
      [1, "t", 0],
      [2, "+", 22],
    ] as const) {
      second.send(packet(0xa2, word(n), [0], filter))
      expect((await second.next())[0]).toBe(0xb0)
      expect(await dropped(broker)).toMatchObject({ unsubscribed: lost, discarded: 0 })
    }
    await logged(broker, WARN, "22 that waited under a filter it unsubscribed")
  })

  test("a message that the client refuses", async () => {
    const broker = await twentyWait()
    const second = await Peer.connected(broker.port, 5, lasting("s", 1))
    const [one] = await take(second, 1)
    second.send(packet(0x40, word(one?.packetId ?? 0), [0x97]))
    await take(second, 1)
    expect(await dropped(broker)).toMatchObject({ refused: 1 })
    await logged(broker, WARN, '"s": messages given up so far: 1 that it refused')
  })
})
