import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { MongoClient, type Collection } from "mongodb"
import { describe, expect, test } from "vitest"
import { hasMongoServer, onCleanUp, RunningProcess, startMongoServer, waitFor, type MongoServer } from "@mqtt-trio/testing"

interface Entry {
  _id: string
  epoch?: number
  at?: Date
  owner?: number
}

/** A client that waits no longer than a test wants to; it is closed at the end of the test. */
function clientOf(server: MongoServer, waitMs = 10_000): MongoClient {
  const client = new MongoClient(server.url, { serverSelectionTimeoutMS: waitMs, socketTimeoutMS: waitMs })
  onCleanUp(() => client.close())
  return client
}

async function entries(): Promise<Collection<Entry>> {
  return clientOf(await startMongoServer())
    .db()
    .collection<Entry>("entries")
}

/** The end of a sync or the begin of an answer to a client, in a line of strace. */
function stepOf(line: string): string[] {
  if (/(fsync|fdatasync)\b.* = 0$/.test(line)) return ["sync"]
  return /write\(\d+<(TCP|socket):/.test(line) ? ["answer"] : []
}

/** Attaches strace. A thread that begins while it attaches to the others is not seen: then it attaches once more. */
async function traced(pid: number): Promise<RunningProcess> {
  const options = ["-f", "-y", "-e", "trace=fsync,fdatasync,write", "-e", "signal=none"]
  for (;;) {
    const strace = new RunningProcess("strace", [...options, "-p", String(pid)])
    await strace.waitForLine("attached", { stream: "stderr" })
    if (readdirSync(`/proc/${pid}/task`).every((thread) => isTraced(`/proc/${pid}/task/${thread}/status`))) return strace
    await strace.stop()
  }
}

function isTraced(status: string): boolean {
  return !/^TracerPid:\s+0$/m.test(readFileSync(status, "utf8"))
}

const DUPLICATE = { code: 11_000 }
const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const hasStrace = spawnSync("strace", ["-V"]).error === undefined
const own = (process.env["MQTT_TEST_MONGODB"] ?? "") === ""

describe.runIf(hasMongoServer() && own)("the tests' own MongoDB server", () => {
  test("has what it acknowledged after kill -9 in the middle of writing, at the same address", async () => {
    const server = await startMongoServer()
    const before = clientOf(server).db().collection<Entry>("entries")
    const acknowledged: string[] = []
    const writing = (async () => {
      for (let number = 1000; ; number++) {
        await before.insertOne({ _id: `entry-${number}` })
        acknowledged.push(`entry-${number}`)
      }
    })()
    const written = expect(writing).rejects.toThrow(/closed|ECONNRE/)
    await waitFor(() => acknowledged.length >= 50, { what: "50 documents" })
    const { pid } = server
    await server.kill9()
    await written
    await expect(clientOf(server, 200).db().command({ ping: 1 })).rejects.toThrow("ECONNREFUSED")
    await server.restart()
    expect(server.pid).not.toBe(pid)
    const found = await clientOf(server).db().collection<Entry>("entries").find().sort({ _id: 1 }).toArray()
    expect(found.slice(0, acknowledged.length).map(({ _id }) => _id)).toEqual(acknowledged)
    expect(found.length - acknowledged.length).toBeLessThanOrEqual(1)
  })

  test.runIf(hasStrace)("syncs each write before it acknowledges it, and nothing for a read", async () => {
    const server = await startMongoServer()
    const collection = clientOf(server).db().collection<Entry>("entries")
    await collection.insertOne({ _id: "first" })
    const strace = await traced(server.pid)
    for (const _id of ["second", "third", "fourth"]) await collection.insertOne({ _id })
    await collection.findOne({ _id: "first" })
    const steps = (): string[] => strace.stderr.split("\n").flatMap(stepOf)
    const answers = (): boolean => steps().filter((step) => step === "answer").length >= 4
    await waitFor(answers, { what: "four answers under strace" })
    expect(steps()).toEqual(["sync", "answer", "sync", "answer", "sync", "answer", "answer"])
  })

  test("has it after stop and restart, and the client of before goes on", async () => {
    const server = await startMongoServer()
    const collection = clientOf(server).db().collection<Entry>("entries")
    await collection.insertOne({ _id: "one" })
    await server.stop()
    await server.restart()
    expect(await collection.find().toArray()).toEqual([{ _id: "one" }])
  })

  test("does not answer while it is paused, and does afterwards", async () => {
    const server = await startMongoServer()
    const db = clientOf(server, 300).db()
    expect(await db.command({ ping: 1 })).toMatchObject({ ok: 1 })
    await server.pause()
    await expect(db.command({ ping: 1 })).rejects.toThrow(/timed out/)
    server.resume()
    expect(await clientOf(server).db().command({ ping: 1 })).toMatchObject({ ok: 1 })
  })

  test("can be stopped while it is paused", async () => {
    const server = await startMongoServer()
    await server.pause()
    await server.stop()
    await server.restart()
    expect(await clientOf(server).db().command({ ping: 1 })).toMatchObject({ ok: 1 })
  })
})

describe.runIf(hasMongoServer())("a MongoDB server for tests", () => {
  test("tells its clock: hello's localTime, and $currentDate in a document", async () => {
    const collection = await entries()
    const client = clientOf(await startMongoServer())
    const started = Date.now()
    const { localTime } = await client.db().command({ hello: 1 })
    const entry = await collection.findOneAndUpdate(
      { _id: "lease" },
      { $currentDate: { at: true }, $set: { epoch: 1 } },
      { upsert: true, returnDocument: "after" },
    )
    expect(localTime).toBeInstanceOf(Date)
    expect(entry?.at).toBeInstanceOf(Date)
    for (const time of [Number(localTime), Number(entry?.at)]) {
      expect(time).toBeGreaterThan(started - 1000)
      expect(time).toBeLessThan(Date.now() + 1000)
    }
  })

  test("gives each call a database of its own", async () => {
    const [one, other] = [await entries(), await entries()]
    expect(one.dbName).not.toBe(other.dbName)
    await one.insertOne({ _id: "only here" })
    expect(await other.countDocuments()).toBe(0)
  })

  test("refuses a second document with the same _id, and with the same value of a unique index", async () => {
    const collection = await entries()
    await collection.createIndex({ owner: 1, epoch: 1 }, { unique: true })
    await collection.insertOne({ _id: "a", owner: 1, epoch: 1 })
    await expect(collection.insertOne({ _id: "a", owner: 2, epoch: 2 })).rejects.toMatchObject(DUPLICATE)
    await expect(collection.insertOne({ _id: "b", owner: 1, epoch: 1 })).rejects.toMatchObject(DUPLICATE)
    await collection.insertOne({ _id: "b", owner: 1, epoch: 2 })
    expect(await collection.countDocuments()).toBe(2)
  })

  test("replaceOne with upsert and an epoch replaces what is older, makes what is missing, and refuses what is newer", async () => {
    const collection = await entries()
    const put = (_id: string, epoch: number) => collection.replaceOne({ _id, epoch: { $lte: epoch } }, { epoch }, { upsert: true })
    await put("a", 5)
    await put("a", 6)
    await expect(put("a", 5)).rejects.toMatchObject(DUPLICATE)
    await put("b", 5)
    expect(await collection.find().sort({ _id: 1 }).toArray()).toEqual([
      { _id: "a", epoch: 6 },
      { _id: "b", epoch: 5 },
    ])
  })

  test("of 64 updates at the same time that take one document over, one wins", async () => {
    const collection = await entries()
    for (const _id of ["first", "second", "third"]) {
      await collection.insertOne({ _id, epoch: 0 })
      const taken = await Promise.all(numbers(64).map((owner) => collection.updateOne({ _id, epoch: 0 }, { $set: { epoch: 1, owner } })))
      expect(taken.filter(({ modifiedCount }) => modifiedCount === 1)).toHaveLength(1)
      const entry = await collection.findOne({ _id })
      expect(taken.findIndex(({ modifiedCount }) => modifiedCount === 1)).toBe(entry?.owner)
    }
  })

  test("64 increments at the same time are all counted", async () => {
    const collection = await entries()
    await collection.insertOne({ _id: "counter", epoch: 0 })
    const increment = () => collection.findOneAndUpdate({ _id: "counter" }, { $inc: { epoch: 1 } }, { returnDocument: "after" })
    const seen = await Promise.all(numbers(64).map(increment))
    expect(new Set(seen.map((entry) => entry?.epoch))).toEqual(new Set(numbers(64).map((number) => number + 1)))
  })
})
