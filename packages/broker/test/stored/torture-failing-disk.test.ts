import { spawnSync } from "node:child_process"
import { constants } from "node:os"
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { systemCode } from "@mqtt-trio/common"
import { checkNumbers, publishPacket } from "@mqtt-trio/torture"
import { onCleanUp, runCli, startBroker, temporaryFolder, waitFor, type BrokerOptions, type TestBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { expectAlive } from "../support/alive.js"
import { compileDisk, diskEnvironment, hasCompiler, tinyJournal } from "../support/misbehaving-disk.js"
import { RawClient } from "../support/raw-client.js"

const BEFORE = 200
const DURING = 500
const PAYLOAD_BYTES = 4000
/** More than the broker takes in while its store is down: it stops reading from this publisher. */
const BLOCKED = 4000
/** More than the broker keeps in memory: what waits for one session must be read from the disk. */
const QUEUED = 6000
const KEEP_ALIVE_SECONDS = 1

/** A disk that can be broken and mended while the broker runs. */
interface BreakableDisk {
  broker: BrokerOptions
  /** whether what is stored can be read while it is broken */
  readable: boolean
  /** whether the broker takes some more before it can take nothing */
  hasRoom: boolean
  breakIt(): void
  mend(): void
}

/** What fails while the disk is broken, in the words of disk.c. */
type Failing = "sync" | "commit,journal-open" | "fold" | "fold,table-open"

/**
 * Every sync, or every write of a record, fails with EIO, as it does when the kernel could not write pages back; or every
 * commit of the tables, with so little room for what they do not have yet that soon nothing can be taken. `journal-open`: a new
 * segment cannot be made either; `table-open`: the tables cannot be opened anew, as they must be after such a failure.
 */
function failingDisk(what: Failing): BreakableDisk {
  const folder = temporaryFolder()
  const fail = join(folder, "fail")
  const small = what.startsWith("fold") ? tinyJournal(64 << 10) : {}
  return {
    broker: { dir: folder, env: { ...small, ...diskEnvironment(compileDisk(), { fail }) } },
    readable: what !== "fold,table-open",
    hasRoom: what.startsWith("fold"),
    breakIt: () => writeFileSync(fail, `${what} ${constants.errno.EIO}`),
    mend: () => rmSync(fail),
  }
}

/** A file system of 128 MB that is filled to the last block. */
function fullDisk(): BreakableDisk {
  const folder = temporaryFolder()
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=128m,mode=700", "tmpfs", folder])
  if (mounted.status !== 0) throw new Error(`mount: ${mounted.stderr.toString()}`)
  onCleanUp(() => void spawnSync("umount", ["-l", folder]))
  const filler = join(folder, "filler")
  let filling: NodeJS.Timeout | undefined
  onCleanUp(() => clearInterval(filling))
  return {
    broker: { dir: folder },
    readable: true,
    hasRoom: false,
    // the broker gives back what it does not need: somebody else takes that too
    breakIt: () => {
      fillUp(filler)
      filling = setInterval(() => fillUp(filler), 20)
    },
    mend: () => {
      clearInterval(filling)
      rmSync(filler)
    },
  }
}

/** Makes the file longer until there is no space left, whoever else writes meanwhile. */
function fillUp(file: string): void {
  const block = Buffer.alloc(4096)
  const descriptor = openSync(file, "a")
  try {
    for (;;) writeSync(descriptor, block)
  } catch (error) {
    if (systemCode(error) !== "ENOSPC") throw error
  } finally {
    closeSync(descriptor)
  }
}

/** Only root may mount; elsewhere the test is skipped, loudly, and on CI that is an error. */
function mayMount(): boolean {
  const may = process.platform === "linux" && process.getuid?.() === 0
  if (!may && (process.env["CI"] ?? "") !== "") throw new Error("the disk-full test must run as root on CI")
  if (!may) process.stderr.write("SKIPPED: the disk-full test needs root on Linux\n")
  return may
}

const publish = (topic: string, packetId: number): Buffer =>
  publishPacket({ topic, qos: 1, dup: false, packetId, payload: Buffer.from(String(packetId).padEnd(PAYLOAD_BYTES)) })

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

/** Log lines that say that the store fails. */
function failures(log: string): number {
  return log.split("takes no commits").length - 1
}

/** Publishes for a session that is away until the store takes nothing more. */
async function fillRoom(broker: TestBroker): Promise<void> {
  const publisher = await RawClient.open(broker.port, "ballast", { clean: true })
  let sent = 0
  const isFull = (): boolean => {
    if (publisher.pubacks.length === sent) publisher.send(publish("ballast", ++sent))
    return failures(broker.stderr) === 1
  }
  await waitFor(isFull, { what: "the end of what is taken" })
}

async function survives(disk: BreakableDisk): Promise<void> {
  const broker = await startBroker(disk.broker)
  const session = await RawClient.open(broker.port, "session")
  await session.subscribe("stored")
  const absent = await RawClient.open(broker.port, "absent")
  for (const topic of ["queued", "ballast"]) await absent.subscribe(topic)
  absent.cut()
  const away = await RawClient.open(broker.port, "away")
  await away.subscribe("blocked")
  away.cut()
  const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
  const live = await RawClient.open(broker.port, "live", { clean: true })
  await live.subscribe("live")
  const queue = await RawClient.open(broker.port, "queue")
  await queue.subscribe("queued")
  queue.cut()
  const filler = await RawClient.open(broker.port, "filler", { clean: true })
  for (const n of numbers(1, QUEUED)) filler.send(publish("queued", n))
  await waitFor(() => filler.pubacks.length === QUEUED, { what: "a queue on the disk" })
  for (const n of numbers(1, BEFORE)) publisher.send(publish("stored", n))
  await waitFor(() => publisher.pubacks.length === BEFORE && session.messages.length === BEFORE, { what: "traffic before" })
  const reader = await RawClient.open(broker.port, "queue")

  disk.breakIt()
  if (disk.hasRoom) await fillRoom(broker)
  for (const n of numbers(BEFORE + 1, BEFORE + DURING)) publisher.send(publish("stored", n))
  await waitFor(() => failures(broker.stderr) === 1, { what: "the log line" })
  const blocked = await RawClient.open(broker.port, "blocked", { clean: true, keepAlive: KEEP_ALIVE_SECONDS })
  for (const n of numbers(1, BLOCKED)) blocked.send(publish("blocked", n))
  const silent = await RawClient.open(broker.port, "silent", { clean: true, keepAlive: KEEP_ALIVE_SECONDS })
  const acknowledged = publisher.pubacks.length
  for (const n of numbers(1, 100)) live.send(publish("live", n))
  await waitFor(() => live.pubacks.length === 100 && live.messages.length === 100, { what: "live traffic while the store is down" })
  expect(publisher.pubacks.length).toBe(acknowledged)
  expect(acknowledged).toBeLessThan(BEFORE + DURING)
  expect(session.messages.length).toBeLessThanOrEqual(acknowledged)
  if (disk.readable) await waitFor(() => reader.messages.length === QUEUED, { what: "the queue while the store is down" })
  if (disk.readable) {
    const shown = await runCli("mqtt-broker", ["queue", "absent", "--peek", "1", "--store", `file:${join(broker.dir, "store")}`])
    expect([shown.code, shown.stderr]).toEqual([0, expect.stringMatching(/^absent: 6,?\d{3} messages/)])
  }
  const refused = new RawClient(broker.port, "newcomer")
  await waitFor(() => refused.closed, { what: "a persistent CONNECT is refused" })
  await waitFor(() => silent.closed, { what: "the Keep Alive of a client that is silent" })
  expect([publisher, session, reader, live, blocked].map(({ closed }) => closed)).toEqual([false, false, false, false, false])
  expect(blocked.pubacks).toEqual([])

  disk.mend()
  const all = numbers(1, BEFORE + DURING)
  await waitFor(() => publisher.pubacks.length === all.length, { what: "the PUBACKs after mending", timeoutMs: 20_000 })
  await waitFor(() => blocked.pubacks.length === BLOCKED, { what: "the PUBACKs of the blocked publisher", timeoutMs: 20_000 })
  await waitFor(() => session.messages.length === all.length, { what: "the deliveries after mending", timeoutMs: 20_000 })
  await waitFor(() => reader.messages.length === QUEUED, { what: "the queue after mending", timeoutMs: 20_000 })
  const received = session.messages.map(({ payload }) => Number(payload))
  const verdict = checkNumbers({ qos: 1, published: all.length, acknowledged: publisher.pubacks, received })
  expect(verdict).toMatchObject({ clean: true, acknowledged: all.length, expected: all.length, repeats: 0 })
  await expectAlive(broker)
  await waitFor(() => broker.stderr.includes("takes commits again"), { what: "the log line that says that it is over" })
  expect(failures(broker.stderr)).toBe(1)

  session.cut()
  for (const n of numbers(1, 50)) publisher.send(publish("stored", n))
  await waitFor(() => publisher.pubacks.length === all.length + 50, { what: "traffic after" })
  await broker.kill9()
  await broker.restart()
  const back = await RawClient.open(broker.port, "away")
  await waitFor(() => back.messages.length === BLOCKED, { what: "the queue that filled while the disk was mended", timeoutMs: 20_000 })
  const queued = back.messages.map(({ payload }) => Number(payload))
  const later = checkNumbers({ qos: 1, published: BLOCKED, acknowledged: blocked.pubacks, received: queued })
  expect(later).toMatchObject({ clean: true, expected: BLOCKED, repeats: 0 })
  const again = await RawClient.open(broker.port, "session")
  await waitFor(() => again.messages.length >= 50, { what: "the queue after the restart" })
  expect(again.messages.slice(-50).map(({ payload }) => Number(payload))).toEqual(numbers(1, 50))
}

test.runIf(hasCompiler()).each(["sync", "commit,journal-open", "fold", "fold,table-open"] as const)(
  "EIO at each %s: nothing is acknowledged, the rest goes on, and nothing is lost when the disk is back",
  (what) => survives(failingDisk(what)),
)

test.runIf(mayMount())("a full disk: nothing is acknowledged, the rest goes on, and nothing is lost when there is space", () =>
  survives(fullDisk()),
)

test("the folder is removed: nothing is acknowledged from then on, and the rest goes on", async () => {
  const folder = temporaryFolder()
  const broker = await startBroker({ dir: folder })
  const session = await RawClient.open(broker.port, "session")
  await session.subscribe("stored")
  const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
  const live = await RawClient.open(broker.port, "live", { clean: true })
  await live.subscribe("live")
  publisher.send(publish("stored", 1))
  await waitFor(() => publisher.pubacks.length === 1 && session.messages.length === 1, { what: "traffic before" })

  rmSync(join(folder, "store"), { recursive: true })
  // The broker looks at its file every 50 ms at most: what is published before it looks may still be acknowledged.
  let last = 1
  const noticed = (): boolean => {
    if (failures(broker.stderr) === 0) publisher.send(publish("stored", ++last))
    return failures(broker.stderr) === 1
  }
  await waitFor(noticed, { what: "the log line" })
  const acknowledged = publisher.pubacks.length
  for (const n of numbers(last + 1, last + 50)) publisher.send(publish("stored", n))
  for (const n of numbers(1, 100)) live.send(publish("live", n))
  await waitFor(() => live.pubacks.length === 100 && live.messages.length === 100, { what: "live traffic" })
  expect(acknowledged).toBeLessThanOrEqual(last)
  expect(publisher.pubacks).toHaveLength(acknowledged)
  expect(session.messages).toHaveLength(acknowledged)
  expect([publisher.closed, session.closed]).toEqual([false, false])
  expect(failures(broker.stderr)).toBe(1)
  expect(await broker.stop()).toBe(11)
  expect(broker.stderr).toContain("stopped while the store took no commits")
})
