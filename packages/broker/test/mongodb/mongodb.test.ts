import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { type Db, MongoClient } from "mongodb"
import {
  cliPath,
  hasMongoServer,
  makeCertificates,
  type MongoServer,
  runCli,
  RunningProcess,
  spawnCli,
  startBroker,
  startMongoServer,
  temporaryFolder,
  type TestBroker,
  waitFor,
} from "@mqtt-trio/testing"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { Peer } from "../support/peer.js"
import { hasProgram } from "../support/processes.js"
import { absent, drain } from "../support/stored.js"
import { DISCONNECT, puback, publish } from "../support/wire.js"
import { say, texts } from "./saying.js"

/** Where local tools reach the broker that has a database. */
async function adminFolder(db: Db): Promise<string> {
  return (await db.collection<{ _id: string; admin: string }>("broker").findOne({ _id: "lease" }))?.admin ?? ""
}

describe.skipIf(!hasMongoServer())("a store in MongoDB", () => {
  let server: MongoServer
  let client: MongoClient
  let db: Db
  let url: string
  let n = 0

  beforeAll(async () => {
    server = await startMongoServer()
    client = await MongoClient.connect(server.url)
  })
  afterAll(() => client.close())
  beforeEach(() => {
    url = `${server.url}_${n++}`
    db = client.db(new URL(url).pathname.slice(1))
  })

  const start = (...args: string[]): Promise<TestBroker> => startBroker({ store: url, args: ["--lease", "2s", ...args] })
  /** What is in a collection, once it is as wanted. */
  const settled = async (name: string, wanted: (found: object[]) => boolean): Promise<object[]> => {
    let found: object[] = []
    const look = async (): Promise<boolean> => wanted((found = await db.collection(name).find().toArray()))
    await waitFor(look, { what: `${name} in the database` }).catch(() => {})
    return found
  }

  test("a person sees who subscribed and what waits, readable; what is delivered disappears", async () => {
    const broker = await start()
    const args = ["test", "--client", "cli_sub", "--persistent", "-p", String(broker.port)]
    expect((await runCli("mqtt-sub", [...args, "-E"])).code).toBe(0)
    await say(broker, "test", texts(1, 20))
    await say(broker, "test", ["\0 no text"])
    expect(await settled("subscriptions", (found) => found.length === 1)).toMatchObject([{ clientId: "cli_sub", topic: "test", qos: 1 }])
    expect(await settled("packets", (found) => found.length === 21)).toMatchObject([
      ...texts(1, 20).map((payload) => ({ topic: "test", payload, qos: 1 })),
      { topic: "test", payload: { _bsontype: "Binary" } },
    ])
    const queue = await runCli("mqtt-broker", ["queue", "cli_sub", "--json", "--peek", "1", "--store", url])
    expect([queue.code, queue.stdout]).toEqual([0, expect.stringContaining('"messages":21,')])
    expect(await settled("sessions", (found) => found.length > 0)).toMatchObject([{ clientId: "cli_sub", expirySeconds: null }])
    const { stdout } = await runCli("mqtt-sub", [...args, "-C", "20"])
    expect(stdout.trim().split("\n")).toEqual(texts(1, 20))
    await runCli("mqtt-sub", [...args, "-C", "1"])
    expect(await settled("packets", (found) => found.length === 0)).toEqual([])
    await Peer.connected(broker.port, 4, { clientId: "cli_sub", clean: true })
    expect(await settled("subscriptions", (found) => found.length === 0)).toEqual([])
    expect(await settled("sessions", (found) => found.length === 0)).toEqual([])
  })

  test("a person sees Wills and retained messages, as long as there are any", async () => {
    const broker = await start()
    const will = { topic: "gone", payload: "without leave", qos: 1 } as const
    const client = await Peer.connected(broker.port, 4, { clientId: "w", clean: true, will })
    client.send(publish(4, { topic: "kept", qos: 1, packetId: 1, payload: "12.5", retain: true }))
    const packet = { cmd: "publish", topic: "gone", qos: 1, retain: false }
    expect(await settled("will", (found) => found.length > 0)).toMatchObject([{ clientId: "w", packet }])
    expect(await settled("retained", (found) => found.length > 0)).toMatchObject([{ topic: "kept", payload: "12.5", qos: 1, retain: true }])
    client.send(publish(4, { topic: "kept", qos: 1, packetId: 2, payload: "", retain: true }), DISCONNECT)
    expect(await settled("will", (found) => found.length === 0)).toEqual([])
    expect(await settled("retained", (found) => found.length === 0)).toEqual([])
  })

  test("what was stored is there after SIGKILL and after SIGTERM: queue in order, retained message, Will, QoS 2 window", async () => {
    const broker = await start()
    await absent(broker.port, "s", "a/#")
    await say(broker, "a/1", texts(1, 100))
    const retainer = await Peer.connected(broker.port, 5)
    retainer.send(publish(5, { topic: "kept", qos: 1, packetId: 1, payload: "the last", retain: true }))
    expect((await retainer.next())[0]).toBe(puback(1)[0])
    await broker.kill9()
    await broker.restart()
    await say(broker, "a/2", texts(101, 150))
    expect(await broker.stop()).toBe(0)
    await broker.restart()
    await say(broker, "a/3", texts(151, 200))
    expect(await drain(broker.port, "s")).toEqual(texts(1, 200))
    const reader = await Peer.connected(broker.port, 4)
    await reader.subscribe(["kept", 0])
    expect((await reader.next()).toString()).toContain("the last")
  })

  test("a second broker stands by, does not listen, and serves within the lease when the first is killed", async () => {
    const first = await start("--lease", "3s")
    await absent(first.port, "s", "t")
    const second = spawnCli("mqtt-broker", ["start", "--port", "0", "--json", "--store", url, "--lease", "3s"])
    expect(await second.waitForLine("standing by", { stream: "stderr" })).toContain(`process id ${first.pid}`)
    await say(first, "t", texts(1, 50))
    expect(second.stdout).toBe("")
    await first.kill9()
    const from = performance.now()
    const { port } = JSON.parse(await second.waitForLine('"ready"'))
    expect(second.stderr).toContain("this broker has the store now")
    // it takes over within the lease; on a machine with much to do its start takes longer
    expect(performance.now() - from).toBeLessThan(1.5 * 3000)
    expect(await drain(port, "s")).toEqual(texts(1, 50))
  })

  test("SIGTERM of the first: the second serves at once; of one that stands by: it ends", async () => {
    const first = await start("--lease", "30s")
    const second = spawnCli("mqtt-broker", ["start", "--port", "0", "--json", "--store", url])
    const third = spawnCli("mqtt-broker", ["start", "--port", "0", "--json", "--store", url])
    for (const one of [second, third]) await one.waitForLine("standing by", { stream: "stderr" })
    expect((await third.stop()).code).toBe(0)
    const from = performance.now()
    expect(await first.stop()).toBe(0)
    await second.waitForLine('"ready"')
    expect(performance.now() - from).toBeLessThan(5000)
  })

  test("the first sleeps longer than the lease: it acknowledges nothing more and ends with exit code 12; nothing is lost", async () => {
    const first = await start()
    await absent(first.port, "s", "t")
    await say(first, "t", texts(1, 20))
    const [sleeper, idle] = [await Peer.connected(first.port, 4), await Peer.connected(first.port, 4)]
    const second = spawnCli("mqtt-broker", ["start", "--port", "0", "--json", "--store", url])
    await second.waitForLine("standing by", { stream: "stderr" })
    process.kill(first.pid, "SIGSTOP")
    sleeper.send(publish(4, { topic: "t", qos: 1, packetId: 1, payload: "too late" }))
    const { port } = JSON.parse(await second.waitForLine('"ready"'))
    // of this one the first knows nothing: it has nobody to store the message for
    await absent(port, "late", "u")
    idle.send(publish(4, { topic: "u", qos: 1, packetId: 1, payload: "too late" }))
    process.kill(first.pid, "SIGCONT")
    expect((await first.ended).code).toBe(BROKER_ERRORS["store-in-use"].exitCode)
    expect([await sleeper.ended(), await idle.ended()]).toEqual([[], []])
    expect(first.stderr).toContain("another broker took over the database")
    expect(first.stderr).not.toMatch(/takes no commits|cannot be brought up to date/)
    expect(await drain(port, "s")).toEqual(texts(1, 20))
  })

  test("where tools reached a broker that was killed, nothing is left after the next start", async () => {
    const broker = await start()
    const folder = await adminFolder(db)
    expect(existsSync(folder)).toBe(true)
    await broker.kill9()
    await broker.restart()
    expect([existsSync(folder), existsSync(await adminFolder(db))]).toEqual([false, true])
    const last = await adminFolder(db)
    await broker.stop()
    expect(existsSync(last)).toBe(false)
  })

  test("somebody removed the lease: the next start goes on with what is there", async () => {
    const broker = await start()
    await absent(broker.port, "s", "t")
    await say(broker, "t", texts(1, 5))
    await broker.kill9()
    await db.collection<{ _id: string }>("broker").deleteOne({ _id: "lease" })
    await broker.restart()
    expect(await drain(broker.port, "s")).toEqual(texts(1, 5))
  })

  test("a message that somebody spoiled: words name its document; once that is mended, all comes in order", async () => {
    const broker = await start()
    await absent(broker.port, "s", "t")
    await say(broker, "t", texts(1, 5))
    await broker.stop()
    const packets = db.collection("packets")
    const third = await packets.findOneAndUpdate({ payload: "Hello mqtt 3" }, { $set: { payload: 3 } })
    await broker.restart()
    const reader = await Peer.connected(broker.port, 4, { clientId: "s", clean: false })
    await waitFor(() => broker.stderr.includes("mend the document"), { what: "the broker's word" })
    expect(broker.stderr).toContain(String(third?._id))
    await packets.updateOne({ payload: 3 }, { $set: { payload: "mended" } })
    const came = [await reader.nextPublish(), await reader.nextPublish(), await reader.nextPublish()]
    expect(came.map(({ payload }) => payload.toString())).toEqual(["Hello mqtt 1", "Hello mqtt 2", "mended"])
  })

  test("a retained message that somebody spoiled: the start ends with exit code 11, words name its document, nothing is changed", async () => {
    const broker = await start()
    const retainer = await Peer.connected(broker.port, 4)
    retainer.send(publish(4, { topic: "kept", qos: 1, packetId: 1, payload: "x", retain: true }))
    await retainer.next()
    await broker.stop()
    const retained = db.collection("retained")
    const spoiled = await retained.findOneAndUpdate({ topic: "kept" }, { $set: { qos: 7 } }, { returnDocument: "after" })
    const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", url])
    expect(code).toBe(BROKER_ERRORS["store-unusable"].exitCode)
    expect(stderr).toContain(`the document with _id ${String(spoiled?._id)} is damaged`)
    expect(stderr).toContain("hint: nothing was changed")
    const now = await retained.findOne({ topic: "kept" })
    expect([now?.["qos"], now?.["topic"]]).toEqual([7, "kept"])
  })

  test("queue while nobody has taken over from a broker that was killed: exit code 13, words that name the database", async () => {
    const broker = await start("--lease", "30s")
    await broker.kill9()
    const { code, stderr } = await runCli("mqtt-broker", ["queue", "cli_sub", "--store", url])
    expect(code).toBe(BROKER_ERRORS["no-broker"].exitCode)
    expect(stderr).toBe(`error: no broker runs on the store ${url}\nhint: start it with: mqtt-broker start --store ${url}\n`)
  })

  test.each(["journal", "sessions", "logs", "packets"])(
    "another program's collection %s: exit code 11, and it stays as it is",
    async (name) => {
      await db.collection(name).insertOne({ shop: 1 })
      const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", url])
      expect([code, stderr]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, expect.stringContaining(`"${name}" is neither`)])
      expect(await db.collection(name).countDocuments()).toBe(1)
    },
  )

  test.each([
    ["the database is dropped", () => db.dropDatabase()],
    ["its lease is removed", () => db.collection<{ _id: string }>("broker").deleteOne({ _id: "lease" })],
  ])("%s while the broker runs: exit code 11, and nobody is said to have taken over", async (_, change) => {
    const broker = await start()
    await absent(broker.port, "s", "t")
    await change()
    expect((await broker.ended).code).toBe(BROKER_ERRORS["store-unusable"].exitCode)
    expect(broker.stderr).toContain("somebody dropped or changed it")
    expect(broker.stderr).not.toContain("took over")
  })

  test("a lease that is none: exit code 11, and words that name it", async () => {
    await db.collection<{ _id: string; epoch: string }>("broker").insertOne({ _id: "lease", epoch: "abc" })
    const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", url])
    expect([code, stderr]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, expect.stringContaining('document with _id "lease"')])
  })

  test.each(["?foo=1", "?authMechanism=foo", "?tls=maybe"])(
    "an option that the driver does not know, %s: a usage error",
    async (options) => {
      const { code, stderr } = await runCli("mqtt-broker", [
        "start",
        "--port",
        "0",
        "--store",
        `mongodb://a:s3cret@127.0.0.1:1/db${options}`,
      ])
      expect([code, stderr]).toEqual([2, expect.stringContaining("the URL of the store mongodb://127.0.0.1:1/db cannot be used")])
      expect(stderr).not.toContain("s3cret")
    },
  )

  test("queue without a broker on the database: exit code 13", async () => {
    const broker = await start()
    expect(await broker.stop()).toBe(0)
    const { code, stderr } = await runCli("mqtt-broker", ["queue", "cli_sub", "--store", url])
    expect([code, stderr]).toEqual([BROKER_ERRORS["no-broker"].exitCode, expect.stringContaining("no broker runs on the store mongodb://")])
  })

  test("no server at start: one sentence, exit code 11, and no password", async () => {
    const { code, stdout, stderr } = await runCli("mqtt-broker", [
      "start",
      "--port",
      "0",
      "--store",
      "mongodb://ann:s3cret@127.0.0.1:1/mosca",
    ])
    expect([code, stdout]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, ""])
    expect(stderr).toMatch(/^error: the store mongodb:\/\/127\.0\.0\.1:1\/mosca cannot be used: .*\nhint: .*\n$/)
    expect(stderr).not.toContain("s3cret")
  })

  test("what a document has no room for is refused at the start", async () => {
    const { code, stderr } = await runCli("mqtt-broker", ["start", "--store", "mongodb://127.0.0.1:1/db", "--max-packet", "16MB"])
    expect([code, stderr]).toEqual([2, expect.stringContaining("--max-packet")])
  })

  test("a URL that is none is a usage error, and its password is not repeated", async () => {
    for (const wrong of [
      "mongodb://",
      "mongodb://a:s3cret@",
      "mongodb://a:s3cret@h/a b",
      "mongodb+srv://a:s3cret@h/$x",
      "mongodb:s3cret",
      "mongodb://a:s3cret@:27017/db",
      "mongodb://a:s3cret@h,,i/db",
    ]) {
      const { code, stderr } = await runCli("mqtt-broker", ["start", "--store", wrong])
      expect([wrong, code]).toEqual([wrong, 2])
      expect(stderr).not.toContain("s3cret")
    }
  })
})

const OWN_SERVER = hasMongoServer() && (process.env["MQTT_TEST_MONGODB"] ?? "") === ""

describe.skipIf(!OWN_SERVER)("a server with TLS and users", () => {
  const PASSWORD = "s3cret"
  const state = { url: "" }

  beforeAll(async () => {
    const certificates = makeCertificates(temporaryFolder())
    state.url = (await startMongoServer({ secure: { certificates, username: "ann", password: PASSWORD } })).url
  })

  test("keeps what is stored; the password is in no output, no list of processes and no document", async () => {
    const broker = await startBroker({ store: state.url, args: ["--log-level", "debug"] })
    await absent(broker.port, "s", "t")
    await say(broker, "t", texts(1, 5))
    const second = spawnCli("mqtt-broker", ["start", "--port", "0", "--json"], { env: { MQTT_BROKER_STORE: state.url } })
    await second.waitForLine("standing by", { stream: "stderr" })
    const queue = await runCli("mqtt-broker", ["queue", "s", "--store", state.url])
    expect(queue.stdout).toContain("Hello mqtt 5")
    const check = await runCli("mqtt-broker", ["check", "--store", state.url])
    expect(check.stdout).toContain("mongodb://127.0.0.1")
    expect(await drain(broker.port, "s")).toEqual(texts(1, 5))
    for (const pid of [broker.pid, second.pid]) expect(readFileSync(`/proc/${pid}/cmdline`, "latin1")).not.toContain(PASSWORD)
    const documents = await MongoClient.connect(state.url)
    for (const { name } of await documents.db().listCollections().toArray())
      expect(JSON.stringify(await documents.db().collection(name).find().toArray())).not.toContain(PASSWORD)
    await documents.close()
    expect(await broker.stop()).toBe(0)
    await second.waitForLine('"ready"')
    await second.stop()
    const said = [broker.stdout, broker.stderr, second.stdout, second.stderr, queue.stdout, queue.stderr, check.stdout, check.stderr]
    expect(said.join("\n")).not.toContain(PASSWORD)
  })

  test.each([
    ["a wrong password", (url: string) => url.replace(PASSWORD, "wr0ng"), "Authentication failed"],
    ["an authority that it does not know", (url: string) => url.replace(/&tlsCAFile=.*/, ""), "certificate"],
    ["no TLS", (url: string) => url.replace(/&tls=.*/, ""), "cannot be used"],
  ])("%s: one sentence, exit code 11, and no password", async (_, wrong, words) => {
    const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", wrong(state.url)], { timeoutMs: 30_000 })
    expect([code, stderr]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, expect.stringContaining(words)])
    expect(stderr).toMatch(/^error: the store mongodb:\/\/127\.0\.0\.1:.*\nhint: .*\n$/)
    expect(stderr).not.toMatch(/s3cret|wr0ng/)
  })
})

test.runIf(hasProgram("strace", "-V"))("a broker with another store reads nothing of the driver", async () => {
  const log = join(temporaryFolder(), "trace")
  const broker = [process.execPath, cliPath("mqtt-broker"), "start", "--port", "0", "--json"]
  const traced = (store: string): RunningProcess =>
    new RunningProcess("strace", ["-f", "-e", "trace=open,openat", "-o", log, ...broker, "--store", store])
  const file = traced(`file:${temporaryFolder()}`)
  const { pid } = JSON.parse(await file.waitForLine('"ready"', { timeoutMs: 30_000 }))
  process.kill(pid, "SIGTERM")
  await file.waitForEnd(30_000)
  expect(readFileSync(log, "utf8")).not.toMatch(/mongo/i)
  await traced("mongodb://127.0.0.1:1/db").waitForEnd(30_000)
  expect(readFileSync(log, "utf8")).toMatch(/mongo/i)
})
