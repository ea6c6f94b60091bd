import { randomId, startBroker, type TestBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { answers, lasting, numberOf, pubcomp, pubrec, pubrel, range } from "../support/messages.js"
import { compileDisk, diskEnvironment, hasCompiler } from "../support/misbehaving-disk.js"
import { Peer } from "../support/peer.js"
import { hex, publish, word } from "../support/wire.js"

const broker = await startBroker()
const RECEIVE_MAXIMUM = 4096

/** A subscriber at QoS 0: what reaches the broker's routing is seen at once, nothing is acknowledged. */
async function watch(topic: string, port = broker.port): Promise<Peer> {
  const watcher = await Peer.connected(port, 4)
  await watcher.subscribe([topic, 0])
  return watcher
}

async function payloads(watcher: Peer): Promise<string[]> {
  const packets = await watcher.settled()
  return packets.map((one) => one.subarray(4 + one.readUInt16BE(2)).toString())
}

const message = (version: 4 | 5, topic: string, packetId: number, payload = `${packetId}`): Buffer =>
  publish(version, { topic, qos: 2, packetId, payload })

const again = (version: 4 | 5, topic: string, packetId: number, payload = `${packetId}`): Buffer =>
  publish(version, { topic, qos: 2, packetId, payload, dup: true })

describe.each([4, 5] as const)("version %i", (version) => {
  test("PUBLISH is answered by PUBREC, PUBREL by PUBCOMP, delivered once [MQTT-4.3.3-8, -11]", async () => {
    const topic = randomId()
    const watcher = await watch(topic)
    const peer = await Peer.connected(broker.port, version)
    peer.send(message(version, topic, 7))
    expect(await peer.next()).toEqual(pubrec(7))
    peer.send(pubrel(7))
    expect(await peer.next()).toEqual(pubcomp(7))
    expect(await payloads(watcher)).toEqual(["7"])
  })

  test("sent again before PUBREL: answered, not delivered [MQTT-4.3.3-10]", async () => {
    const topic = randomId()
    const watcher = await watch(topic)
    const peer = await Peer.connected(broker.port, version)
    for (const bytes of [message(version, topic, 7), again(version, topic, 7), again(version, topic, 7)]) {
      peer.send(bytes)
      expect(await peer.next()).toEqual(pubrec(7))
    }
    expect(await payloads(watcher)).toEqual(["7"])
  })

  test("the same in one segment: twice the same identifier, two PUBRECs, one message", async () => {
    const topic = randomId()
    const watcher = await watch(topic)
    const peer = await Peer.connected(broker.port, version, lasting(randomId()))
    peer.send(message(version, topic, 7), again(version, topic, 7), message(version, topic, 8), again(version, topic, 7))
    expect(await answers(peer, 4)).toEqual([7, 7, 8, 7].map((id) => pubrec(id)))
    expect(await payloads(watcher)).toEqual(["7", "8"])
  })

  test("after PUBREL the identifier names another message, also in the same segment [MQTT-4.3.3-12]", async () => {
    const topic = randomId()
    const watcher = await watch(topic)
    const peer = await Peer.connected(broker.port, version, lasting(randomId()))
    peer.send(message(version, topic, 7, "a"), pubrel(7), message(version, topic, 7, "b"), pubrel(7), message(version, topic, 7, "c"))
    expect(await answers(peer, 5)).toEqual([pubrec(7), pubcomp(7), pubrec(7), pubcomp(7), pubrec(7)])
    expect(await payloads(watcher)).toEqual(["a", "b", "c"])
  })

  test("PUBREL with an unknown identifier is answered: 5.0 says 0x92 [section 4.3.3, 5.0 section 3.7.2.1]", async () => {
    const peer = await Peer.connected(broker.port, version)
    peer.send(pubrel(99))
    expect(await peer.next()).toEqual(version === 5 ? pubcomp(99, 0x92) : pubcomp(99))
  })

  test("PUBREL sent twice: PUBCOMP twice", async () => {
    const peer = await Peer.connected(broker.port, version, lasting(randomId()))
    const watcher = await watch("twice")
    peer.send(message(version, "twice", 7))
    expect(await peer.next()).toEqual(pubrec(7))
    peer.send(pubrel(7), pubrel(7))
    expect(await peer.next()).toEqual(pubcomp(7))
    expect((await peer.next()).subarray(2, 4)).toEqual(hex("0007"))
    expect(await payloads(watcher)).toEqual(["7"])
  })

  test.each(["reconnect", "takeover"])("known after a %s of a session that lasts: answered, not delivered [MQTT-4.3.3-10]", async (how) => {
    const topic = randomId()
    const watcher = await watch(topic)
    const fields = lasting(randomId())
    const first = await Peer.connected(broker.port, version, fields)
    first.send(message(version, topic, 7), message(version, topic, 8))
    expect([await first.next(), await first.next()]).toEqual([pubrec(7), pubrec(8)])
    first.send(pubrel(8))
    expect(await first.next()).toEqual(pubcomp(8))
    if (how === "reconnect") first.cut()
    const second = await Peer.connected(broker.port, version, fields)
    second.send(again(version, topic, 7), message(version, topic, 8, "new 8"), pubrel(7))
    expect(await answers(second, 3)).toEqual([pubrec(7), pubrec(8), pubcomp(7)])
    expect(await payloads(watcher)).toEqual(["7", "8", "new 8"])
  })

  test("a clean session forgets: after a reconnect the identifier names another message [MQTT-3.1.2-6]", async () => {
    const topic = randomId()
    const watcher = await watch(topic)
    const clientId = randomId()
    const first = await Peer.connected(broker.port, version, { clientId })
    first.send(message(version, topic, 7, "a"))
    expect(await first.next()).toEqual(pubrec(7))
    const second = await Peer.connected(broker.port, version, { clientId })
    second.send(message(version, topic, 7, "b"))
    expect(await second.next()).toEqual(pubrec(7))
    expect(await payloads(watcher)).toEqual(["a", "b"])
  })

  test("Clean Start of a session that lasts forgets, also after a restart of the broker [MQTT-3.1.2-4]", async () => {
    const own = await startBroker()
    const fields = lasting("p")
    const first = await Peer.connected(own.port, version, fields)
    first.send(message(version, "t", 7, "a"))
    expect((await first.next())[0]).toBe(0x50)
    await Peer.connected(own.port, version, { ...fields, clean: true })
    await own.kill9()
    await own.restart()
    const watcher = await watch("t", own.port)
    const second = await Peer.connected(own.port, version, fields)
    second.send(message(version, "t", 7, "b"))
    expect(await second.next()).toEqual(pubrec(7))
    expect(await payloads(watcher)).toEqual(["b"])
  })

  test("after kill -9: what had its PUBREC is known and queued once, what had its PUBCOMP is free [section 4.1]", async () => {
    const own = await startBroker()
    const sleeper = await Peer.connected(own.port, version, lasting("s"))
    await sleeper.subscribe(["t", 2])
    sleeper.cut()
    const first = await Peer.connected(own.port, version, lasting("p"))
    for (const id of range(1, 20)) first.send(message(version, "t", id))
    for (const id of range(1, 20)) expect(await first.next()).toEqual(pubrec(id))
    for (const id of range(1, 5)) first.send(pubrel(id))
    for (const id of range(1, 5)) expect(await first.next()).toEqual(pubcomp(id))
    await own.kill9()
    await own.restart()
    const second = await Peer.connected(own.port, version, lasting("p"))
    for (const id of range(6, 20)) second.send(again(version, "t", id))
    for (const id of range(1, 5)) second.send(message(version, "t", id, `${20 + id}`))
    expect(await answers(second, 20)).toEqual([...range(6, 20), ...range(1, 5)].map((id) => pubrec(id)))
    for (const id of range(1, 20)) second.send(pubrel(id))
    expect(await answers(second, 20)).toEqual(range(1, 20).map((id) => pubcomp(id)))
    const back = await Peer.connected(own.port, version, lasting("s"))
    const came: number[] = []
    while (came.length < 25) came.push(numberOf(await back.nextPublish()))
    expect(came).toEqual(range(1, 25))
    expect(await back.settled()).toEqual([])
  })
})

test("5.0: PUBREC says when nobody subscribes: 0x10, and the identifier is in use all the same [5.0 section 3.5.2.1]", async () => {
  const topic = randomId()
  const peer = await Peer.connected(broker.port, 5, lasting(randomId()))
  peer.send(message(5, topic, 7))
  expect(await peer.next()).toEqual(pubrec(7, 0x10))
  const watcher = await watch(topic)
  peer.send(again(5, topic, 7))
  expect((await peer.next()).subarray(2, 4)).toEqual(hex("0007"))
  expect(await payloads(watcher)).toEqual([])
  peer.send(pubrel(7))
  expect(await peer.next()).toEqual(pubcomp(7))
})

/** Opens `count` exchanges, identifiers from 1 on. */
async function openExchanges(peer: Peer, count: number): Promise<void> {
  for (const id of range(1, count)) peer.send(message(5, "full", id))
  for (const id of range(1, count)) expect((await peer.next()).subarray(2, 4)).toEqual(Buffer.from(word(id)))
}

describe("our Receive Maximum of 4096 [MQTT-3.3.4-9]", () => {
  test("CONNACK announces it", async () => {
    const [, connack] = await Peer.greeted(broker.port, 5)
    expect(connack.includes(Buffer.from([0x21, ...word(RECEIVE_MAXIMUM)]))).toBe(true)
  })

  test.each([
    ["clean", {}],
    ["lasting", lasting(randomId())],
  ])("a %s session with 4096 open exchanges goes on; the next one is DISCONNECT 0x93", async (_name, fields) => {
    const peer = await Peer.connected(broker.port, 5, fields)
    await openExchanges(peer, RECEIVE_MAXIMUM)
    expect(await peer.settled()).toEqual([])
    peer.send(message(5, "full", RECEIVE_MAXIMUM + 1))
    const rest = await peer.ended()
    expect(rest.at(-1)?.subarray(0, 3)).toEqual(hex("e0 02 93"))
  })

  test("PUBREL frees a place", async () => {
    const peer = await Peer.connected(broker.port, 5, lasting(randomId()))
    await openExchanges(peer, RECEIVE_MAXIMUM)
    peer.send(pubrel(1), message(5, "full", RECEIVE_MAXIMUM + 1))
    expect(await peer.next()).toEqual(pubcomp(1))
    expect((await peer.next()).subarray(2, 4)).toEqual(Buffer.from(word(RECEIVE_MAXIMUM + 1)))
    expect(await peer.settled()).toEqual([])
  })

  test("a re-sent PUBLISH takes no second place", async () => {
    const peer = await Peer.connected(broker.port, 5, lasting(randomId()))
    await openExchanges(peer, RECEIVE_MAXIMUM)
    peer.send(again(5, "full", 17))
    expect((await peer.next()).subarray(2, 4)).toEqual(Buffer.from(word(17)))
    expect(await peer.settled()).toEqual([])
  })

  test("3.1.1 has no Receive Maximum: its 65,535 identifiers are the bound", async () => {
    const peer = await Peer.connected(broker.port, 4, lasting(randomId()))
    peer.send(...range(1, 65_535).map((id) => message(4, "full", id)))
    for (const id of range(1, 65_535)) if (!(await peer.next()).equals(pubrec(id))) throw new Error(`no PUBREC ${id}`)
    peer.send(again(4, "full", 65_535), pubrel(65_535))
    expect(await answers(peer, 2)).toEqual([pubrec(65_535), pubcomp(65_535)])
  })
})

async function slowDisk(): Promise<TestBroker> {
  const library = compileDisk()
  return startBroker({ env: diskEnvironment(library, { delayMs: 100 }) })
}

describe.runIf(hasCompiler())("with a disk that takes 100 ms for each sync", () => {
  test("PUBREC leaves only after identifier and message are stored: killed at that moment, both are there", async () => {
    const own = await slowDisk()
    const sleeper = await Peer.connected(own.port, 5, lasting("s"))
    await sleeper.subscribe(["t", 2])
    sleeper.cut()
    const first = await Peer.connected(own.port, 5, lasting("p"))
    const sent = performance.now()
    first.send(message(5, "t", 7))
    expect(await first.next()).toEqual(pubrec(7))
    await own.kill9()
    expect(performance.now() - sent).toBeGreaterThan(95)
    await own.restart()
    const second = await Peer.connected(own.port, 5, lasting("p"))
    second.send(again(5, "t", 7))
    expect(await second.next()).toEqual(pubrec(7))
    const back = await Peer.connected(own.port, 5, lasting("s"))
    expect(numberOf(await back.nextPublish())).toBe(7)
    expect(await back.settled()).toEqual([])
  })

  test("PUBCOMP leaves only after the identifier is free: killed at that moment, it names another message", async () => {
    const own = await slowDisk()
    const first = await Peer.connected(own.port, 4, lasting("p"))
    first.send(message(4, "t", 7))
    expect(await first.next()).toEqual(pubrec(7))
    first.send(pubrel(7))
    expect(await first.next()).toEqual(pubcomp(7))
    await own.kill9()
    await own.restart()
    const watcher = await watch("t", own.port)
    const second = await Peer.connected(own.port, 4, lasting("p"))
    second.send(message(4, "t", 7, "another"))
    expect(await second.next()).toEqual(pubrec(7))
    expect(await payloads(watcher)).toEqual(["another"])
  })
})
