import { rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { runCli, startBroker, temporaryFolder, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { journalFiles } from "../support/journal-files.js"
import { afterEnd, compileDisk, diskEnvironment, hasCompiler } from "../support/misbehaving-disk.js"
import { absentSession, numbered, numbers, publishOneByOne, waitingNumbers } from "../support/numbered.js"
import { RawClient } from "../support/raw-client.js"
import { fillDisk, mayMount, resizeDisk, smallDisk } from "../support/small-disk.js"
import { publishAll } from "../support/stored.js"

const MB = 1 << 20

/** Publishes `count` messages of 0.9 MB for the Session of absentSession(). */
async function publishLarge(broker: TestBroker, from: number, to: number): Promise<void> {
  await publishAll(
    broker.port,
    numbers(from, to).map((n) => ({ topic: "numbered", payload: Buffer.alloc(900_000, `${n} `.padEnd(30, "x")) })),
  )
}

/** A broker on a small disk that folds nothing while it runs, with a Session that is away. */
async function begin(megabytes: number, env: Record<string, string> = {}): Promise<{ broker: TestBroker; disk: string; store: string }> {
  const disk = smallDisk(megabytes)
  const store = join(disk, "store")
  const broker = await startBroker({ store: `file:${store}`, env: { MQTT_BROKER_TEST_FOLD_BYTES: String(64 * MB), ...env } })
  await absentSession(broker)
  return { broker, disk, store }
}

/** Whether the tables have everything, in a broker that runs. */
function isFolded(store: string, bytes: number): boolean {
  return statSync(join(store, "mqtt-broker.mdb")).size > bytes && journalFiles(store).length <= 2
}

describe.runIf(mayMount)("a disk that is full when the broker starts, after a kill -9", () => {
  test("nothing is free: it starts and says why it takes nothing; with space, everything is there and goes on", async () => {
    const { broker, disk, store } = await begin(40)
    await publishOneByOne(broker, 1, 20)
    await broker.kill9()
    const makeSpace = fillDisk(disk, 0)
    await broker.restart()
    expect(broker.stderr).toMatch(/takes no commits as it is.*less than 16 MB are free where .*; free 16 MB there/)
    expect(await waitingNumbers(store)).toEqual(numbers(1, 20))
    const publisher = new RawClient(broker.port, "publisher", { clean: true })
    publisher.send(numbered(21))
    await waitFor(() => broker.stderr.includes("has no room for more messages"), { what: "the log line" })
    expect(publisher.pubacks).toEqual([])
    makeSpace()
    await waitFor(() => publisher.pubacks.length === 1, { what: "the PUBACK" })
    await broker.kill9()
    await broker.restart()
    expect(await waitingNumbers(store)).toEqual(numbers(1, 21))
    expect(await broker.stop()).toBe(0)
  })

  test("there is no space for the fold: publishers wait, it is killed twice, folds when there is, and they go on", async () => {
    const { broker, disk, store } = await begin(120)
    await publishLarge(broker, 1, 20)
    await broker.kill9()
    const makeSpace = fillDisk(disk, 24 * MB)
    await broker.restart()
    const early = await RawClient.open(broker.port, "early", { clean: true })
    early.send(numbered(21))
    await waitFor(() => broker.stderr.includes("has no room for more messages"), { what: "the log line" })
    expect(early.pubacks).toEqual([])
    await broker.kill9()
    await broker.restart()
    expect(await waitingNumbers(store)).toEqual(numbers(1, 20))
    expect(isFolded(store, 15 * MB)).toBe(false)
    const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
    publisher.send(numbered(21))
    makeSpace()
    await waitFor(() => publisher.pubacks.length === 1, { what: "the PUBACK" })
    await waitFor(() => isFolded(store, 15 * MB), { what: "the fold" })
    expect(await waitingNumbers(store)).toEqual(numbers(1, 21))
    expect(await broker.stop()).toBe(0)
    for (const { path } of journalFiles(store)) rmSync(path)
    await broker.restart()
    expect(await waitingNumbers(store)).toEqual(numbers(1, 21))
  })

  test("what many logs share takes its place once: a disk that has no room for a copy in each takes it", async () => {
    const { broker, disk, store } = await begin(400)
    const session = await RawClient.open(broker.port, "sharing")
    for (const n of numbers(0, 15))
      await session.subscribe(["a", "b", "c", "d"].map((level, at) => (n & (1 << at) ? "+" : level)).join("/"))
    session.cut()
    await publishAll(
      broker.port,
      numbers(1, 6).map(() => ({ topic: "a/b/c/d", payload: Buffer.alloc(900_000) })),
    )
    await broker.kill9()
    resizeDisk(disk, 60)
    await broker.restart()
    await waitFor(() => isFolded(store, 5 * MB), { what: "the fold" })
    expect(isFolded(store, 20 * MB)).toBe(false)
    const { stdout } = await runCli("mqtt-broker", ["queue", "sharing", "--json", "--store", `file:${store}`])
    expect(stdout).toContain('"messages":6')
  })

  test("stopped before there is space: nothing is lost", async () => {
    const { broker, disk, store } = await begin(40)
    await publishOneByOne(broker, 1, 20)
    await broker.kill9()
    const makeSpace = fillDisk(disk, 1 * MB)
    await broker.restart()
    await broker.stop()
    makeSpace()
    await broker.restart()
    expect(await waitingNumbers(store)).toEqual(numbers(1, 20))
  })

  test("a backup that is made meanwhile has everything", async () => {
    const { broker, disk, store } = await begin(40)
    await publishOneByOne(broker, 1, 20)
    await broker.kill9()
    fillDisk(disk, 1 * MB)
    await broker.restart()
    const copy = join(temporaryFolder(), "copy")
    expect(await runCli("mqtt-broker", ["backup", copy, "--store", `file:${store}`])).toMatchObject({ code: 0 })
    const other = await startBroker({ store: `file:${copy}` })
    expect(await waitingNumbers(copy)).toEqual(numbers(1, 20))
    await other.stop()
  })

  test.each([
    ["is missing", (lock: string) => rmSync(lock)],
    ["is empty", (lock: string) => writeFileSync(lock, "")],
  ])("the tables' lock file %s: exit code 11 and words; with space, everything is there", async (_, spoil) => {
    const { broker, disk, store } = await begin(40)
    await publishOneByOne(broker, 1, 20)
    await broker.kill9()
    spoil(join(store, "mqtt-broker.mdb-lock"))
    const makeSpace = fillDisk(disk, 0)
    const { code, signal, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${store}`])
    expect([code, signal]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, null])
    expect(stderr).toMatch(/^error: the store in .* cannot be used: less than 16 MB are free where .*; free 16 MB there/)
    makeSpace()
    await broker.restart()
    expect(await waitingNumbers(store)).toEqual(numbers(1, 20))
  })
})

describe.runIf(mayMount && hasCompiler())("a record that the disk does not have yet, found at a start without space", () => {
  test("is there after a power cut, as those that were acknowledged behind it", async () => {
    const folder = temporaryFolder()
    const [image, die] = [join(folder, "image"), join(folder, "die")]
    const { broker, disk, store } = await begin(64, diskEnvironment(compileDisk(), { image, die }))
    await publishLarge(broker, 1, 3)
    writeFileSync(die, "before 1")
    const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
    publisher.send(numbered(4))
    await broker.ended
    fillDisk(disk, 18 * MB)
    await broker.restart()
    expect(await waitingNumbers(store)).toEqual(numbers(1, 4))
    await publishOneByOne(broker, 5, 6)
    await broker.kill9()
    afterEnd("power", { store, image })
    await broker.restart()
    expect(await waitingNumbers(store)).toEqual(numbers(1, 6))
  })
})

// LMDB says of a page that it cannot write more than its buffer has room for: the process may end by SIGABRT then
