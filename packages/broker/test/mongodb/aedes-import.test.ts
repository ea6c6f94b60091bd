import { createServer } from "node:net"
import { once } from "node:events"
import { Aedes } from "aedes-1"
import persistence from "aedes-persistence-mongodb"
import { type Db, MongoClient } from "mongodb"
import { freePort, hasMongoServer, runCli, startBroker, startMongoServer } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { drain, publishAll } from "../support/stored.js"
import { publish, puback } from "../support/wire.js"

const MESSAGES = 1000

const answer = (head: number, packetId: number): Buffer => Buffer.from([head, 2, packetId >> 8, packetId & 255])
const pubrec = (packetId: number): Buffer => answer(0x50, packetId)
const pubrel = (packetId: number): Buffer => answer(0x62, packetId)
const pubcomp = (packetId: number): Buffer => answer(0x70, packetId)

/** A broker of aedes on a database; what `use` does with it stays there. */
async function withAedes(db: Db, use: (port: number) => Promise<void>): Promise<void> {
  const port = await freePort()
  const aedes = await Aedes.createBroker({ persistence: persistence({ db }) })
  const server = createServer(aedes.handle)
  server.listen(port, "127.0.0.1")
  await once(server, "listening")
  await use(port)
  server.close()
  await new Promise<void>((resolve) => {
    aedes.close(() => resolve())
  })
}

describe.skipIf(!hasMongoServer())("a database of aedes", () => {
  test("is taken over: subscriptions, retained messages, Wills and 1,000 queued messages, in order, once", async () => {
    const mongo = await startMongoServer()
    const client = await MongoClient.connect(mongo.url)
    const db = client.db()
    await withAedes(db, async (port) => {
      const old = await Peer.connected(port, 4, { clientId: "old", clean: false })
      await old.subscribe(["a/#", 1], ["b", 2])
      old.cut()
      const publisher = await Peer.connected(port, 4, { clientId: "p", clean: true })
      for (let n = 1; n <= MESSAGES; n++) {
        publisher.send(publish(4, { topic: `a/${n % 7}`, qos: 1, packetId: n, payload: `Hello mqtt ${n}` }))
        expect(await publisher.next()).toEqual(puback(n))
      }
      publisher.send(publish(4, { topic: "b", qos: 2, packetId: 1, payload: "at QoS 2" }))
      expect(await publisher.next()).toEqual(pubrec(1))
      publisher.send(pubrel(1))
      expect(await publisher.next()).toEqual(pubcomp(1))
      publisher.send(publish(4, { topic: "kept", qos: 1, packetId: 2, payload: "12.5", retain: true }))
      expect(await publisher.next()).toEqual(puback(2))
      publisher.cut()
    })
    // as aedes leaves it when its process is killed
    await db
      .collection("will")
      .insertOne({ clientId: "dead", packet: { cmd: "publish", topic: "a/will", payload: Buffer.from("gone"), qos: 1 } })

    const broker = await startBroker({ store: mongo.url, args: ["--lease", "2s"] })
    const { stdout } = await runCli("mqtt-broker", ["queue", "old", "--peek", "0", "--json", "--store", mongo.url])
    expect(stdout).toContain(`"messages":${MESSAGES + 2},`)
    expect((await db.listCollections().toArray()).map(({ name }) => name).filter((name) => name.startsWith("aedes_"))).toEqual([])
    await broker.kill9()
    await broker.restart()
    await publishAll(broker.port, [{ topic: "a/new", payload: Buffer.from("new") }])
    const texts = Array.from({ length: MESSAGES }, (_, n) => `Hello mqtt ${n + 1}`)
    const drained = await drainAll(broker.port, MESSAGES + 3)
    // between messages of several QoS there is no order
    expect(drained.filter((text) => text !== "at QoS 2")).toEqual([...texts, "gone", "new"])
    expect(drained).toHaveLength(MESSAGES + 3)
    const reader = await Peer.connected(broker.port, 4)
    await reader.subscribe(["kept", 0])
    expect((await reader.nextPublish()).payload.toString()).toBe("12.5")
    await broker.stop()
    await broker.restart()
    expect(await drain(broker.port, "old")).toEqual([])
    await client.close()
  })

  test("one that was interrupted, and aedes since then: neither is dropped, exit code 11", async () => {
    const mongo = await startMongoServer()
    const client = await MongoClient.connect(mongo.url)
    for (const name of ["aedes_subscriptions", "subscriptions"])
      await client.db().collection(name).insertOne({ clientId: name, topic: "a", qos: 1 })
    const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", mongo.url])
    expect([code, stderr]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, expect.stringContaining('a newer "subscriptions"')])
    for (const name of ["aedes_subscriptions", "subscriptions"]) expect(await client.db().collection(name).countDocuments()).toBe(1)
    await client.close()
  })

  test("what is neither ours nor aedes' is refused, and stays as it is", async () => {
    const mongo = await startMongoServer()
    const client = await MongoClient.connect(mongo.url)
    await client.db().collection("subscriptions").insertOne({ newspaper: "daily" })
    const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", mongo.url])
    expect([code, stderr]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, expect.stringContaining('"subscriptions" is neither')])
    expect(await client.db().collection("subscriptions").countDocuments()).toBe(1)
    await client.close()
  })
})

/** Everything that waits for the session, acknowledged at its QoS; a message at QoS 2 may come behind later ones at QoS 1. */
async function drainAll(port: number, messages: number): Promise<string[]> {
  const peer = await Peer.connected(port, 4, { clientId: "old", clean: false })
  const payloads: string[] = []
  let open = 0
  while (payloads.length < messages || open) {
    const packet = await peer.next(30_000)
    if ((packet[0] ?? 0) >> 4 === 6) {
      peer.send(pubcomp(packet.readUInt16BE(2)))
      open--
      continue
    }
    const { qos, packetId, payload } = readPublish(packet, 4)
    payloads.push(payload.toString())
    if (qos === 2) open++
    peer.send(qos === 2 ? pubrec(packetId) : puback(packetId))
  }
  await peer.settled()
  peer.cut()
  return payloads
}
