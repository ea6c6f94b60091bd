import { copyFileSync, existsSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs"
import { constants } from "node:os"
import { join } from "node:path"
import { startBroker, temporaryFolder, waitFor, type TestBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { inspectStore } from "../../src/stores/inspect.js"
import { afterEnd, compileDisk, diskEnvironment, hasCompiler, tinyJournal, type DiskOptions } from "../support/misbehaving-disk.js"
import { absentSession, numbered, numbers, publishOneByOne, waitingNumbers } from "../support/numbered.js"
import { RawClient } from "../support/raw-client.js"

const { EIO, ENOSPC } = constants.errno
const library = hasCompiler() ? compileDisk() : ""

/** A broker on a disk that fails as it is told, and what a power cut would leave of its store. */
class Failing {
  private constructor(
    readonly broker: TestBroker,
    private readonly folder: string,
  ) {}

  static async start(small: Record<string, string> = {}, options: DiskOptions = { tear: "random" }): Promise<Failing> {
    const folder = temporaryFolder()
    const disk = diskEnvironment(library, { image: join(folder, "image"), fail: join(folder, "fail"), ...options })
    const failing = new Failing(await startBroker({ dir: folder, env: { ...small, ...disk } }), folder)
    await absentSession(failing.broker)
    return failing
  }

  /** In the words of disk.c. */
  fail(order: string): void {
    writeFileSync(this.order, order)
  }
  mend(): void {
    rmSync(this.order)
  }
  private get order(): string {
    return join(this.folder, "fail")
  }
  /** A failure that comes once is over. */
  get isMended(): boolean {
    return !existsSync(this.order)
  }

  get store(): string {
    return join(this.folder, "store")
  }
  get journal(): string[] {
    return readdirSync(this.store).filter((name) => name.startsWith("journal."))
  }

  /** How many messages are in the tables, the journal aside. */
  get folded(): number {
    const copy = temporaryFolder()
    copyFileSync(join(this.store, "mqtt-broker.mdb"), join(copy, "mqtt-broker.mdb"))
    return inspectStore(copy).messages
  }

  /** How many descriptors of segments the broker has, those of removed ones too. */
  get descriptors(): number {
    const fds = `/proc/${this.broker.pid}/fd`
    const targets = readdirSync(fds).map((fd) => {
      try {
        return readlinkSync(join(fds, fd))
      } catch {
        return "" // closed meanwhile
      }
    })
    return targets.filter((target) => target.startsWith(join(this.store, "journal."))).length
  }

  /** How often the log says that nothing is taken. */
  get troubles(): number {
    return this.broker.stderr.split("takes no commits").length - 1
  }

  /** The process dies; what it finds then is what the disk has. */
  async cutPower(): Promise<void> {
    await this.broker.kill9()
    afterEnd("power", { store: this.store, image: join(this.folder, "image") })
    await this.broker.restart()
  }
}

describe.runIf(library)("a journal that fails once", () => {
  test.each([
    ["fdatasync", `journal-sync ${EIO} 1`],
    ["a write", `commit ${EIO} 1`],
    ["a write, for want of space", `journal-write ${ENOSPC} 1`],
  ])("%s: its bytes are not tried again in place, another segment takes them, and a power cut loses nothing", async (_, order) => {
    const failing = await Failing.start()
    for (let n = 1; n <= 12; n++) {
      if (n % 2) failing.fail(order)
      await publishOneByOne(failing.broker, n, n)
      expect(failing.isMended).toBe(true)
    }
    expect(failing.troubles).toBe(0)
    await failing.cutPower()
    expect(await waitingNumbers(failing.store)).toEqual(numbers(1, 12))
  })

  test("the fdatasync of zeros that are written ahead: a record that waits at that moment may be lost with them", async () => {
    const failing = await Failing.start({}, { delayMs: 20 })
    const publisher = await RawClient.open(failing.broker.port, "publisher", { clean: true })
    failing.fail(`filling-sync ${EIO} 1`)
    let sent = 0
    const goesOn = (): boolean => {
      if (sent - publisher.pubacks.length < 10) publisher.send(numbered(++sent))
      return failing.isMended && sent > 100
    }
    await waitFor(goesOn, { what: "filling", timeoutMs: 30_000 })
    await waitFor(() => publisher.pubacks.length === sent, { what: "the PUBACKs" })
    await failing.cutPower()
    expect(await waitingNumbers(failing.store)).toEqual(numbers(1, sent))
  })

  test("the folder's fsync, again and again: no file and no descriptor stays behind", async () => {
    const failing = await Failing.start()
    await publishOneByOne(failing.broker, 1, 1)
    failing.fail(`journal-sync,folder-sync ${EIO} 12`)
    await publishOneByOne(failing.broker, 2, 2)
    expect([failing.isMended, failing.journal.length]).toEqual([true, 2])
    await waitFor(() => failing.descriptors === 2, { what: "the end of descriptors of removed segments" })
    await failing.cutPower()
    expect(await waitingNumbers(failing.store)).toEqual([1, 2])
  })

  test("segments that were given up are gone when they are folded", async () => {
    const failing = await Failing.start(tinyJournal(8 << 10))
    for (let n = 1; n <= 60; n++) {
      if (n < 30) failing.fail(`journal-sync ${EIO} 1`)
      await publishOneByOne(failing.broker, n, n)
    }
    await waitFor(() => failing.journal.length <= 3, { what: "few segments" })
    await failing.cutPower()
    expect(await waitingNumbers(failing.store)).toEqual(numbers(1, 60))
  })
})

describe.runIf(library)("a journal that fails for a while: nothing is acknowledged, and nothing is lost", () => {
  test.each([
    `journal-sync ${EIO}`,
    `commit ${EIO}`,
    `journal-write ${ENOSPC}`,
    `journal-sync,journal-open ${EIO}`,
    `journal-sync,folder-sync ${EIO}`,
    `sync,commit,open,fold,folder-sync ${EIO}`,
  ])("%s", async (order) => {
    const failing = await Failing.start()
    const { broker } = failing
    await publishOneByOne(broker, 1, 10)
    const live = await RawClient.open(broker.port, "live", { clean: true })
    failing.fail(order)
    const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
    for (const n of numbers(11, 20)) publisher.send(numbered(n))
    await waitFor(() => failing.troubles === 1, { what: "the log line" })
    await live.subscribe("live")
    expect(publisher.pubacks).toEqual([])
    failing.mend()
    await waitFor(() => publisher.pubacks.length === 10, { what: "the PUBACKs" })
    expect(publisher.pubacks).toEqual(numbers(11, 20))
    expect(failing.troubles).toBe(1)
    await waitFor(() => failing.descriptors <= failing.journal.length, { what: "the end of descriptors of removed segments" })
    expect(failing.journal.length).toBeLessThanOrEqual(3)
    await failing.cutPower()
    expect(await waitingNumbers(failing.store)).toEqual(numbers(1, 20))
  })

  test("killed meanwhile: everything acknowledged is there, and what was not may be there in part", async () => {
    const failing = await Failing.start()
    await publishOneByOne(failing.broker, 1, 10)
    failing.fail(`sync ${EIO}`)
    const publisher = await RawClient.open(failing.broker.port, "publisher", { clean: true })
    for (const n of numbers(11, 20)) publisher.send(numbered(n))
    await waitFor(() => failing.troubles === 1, { what: "the log line" })
    await failing.broker.kill9()
    failing.mend()
    await failing.broker.restart()
    const waiting = await waitingNumbers(failing.store)
    expect(waiting).toEqual(numbers(1, waiting.length))
    expect(waiting.length).toBeGreaterThanOrEqual(10)
  })
})

/** Folds begin at 8 kB; at 32 kB nothing more is taken. */
async function begin(order: string): Promise<[Failing, RawClient]> {
  const failing = await Failing.start(tinyJournal(8 << 10))
  await publishOneByOne(failing.broker, 1, 20)
  failing.fail(order)
  const publisher = await RawClient.open(failing.broker.port, "publisher", { clean: true })
  let sent = 20
  const isRefused = (): boolean => {
    if (publisher.pubacks.length === sent - 20) publisher.send(numbered(++sent))
    return failing.troubles > 0
  }
  await waitFor(isRefused, { what: "the log line" })
  expect(publisher.pubacks.length).toBeGreaterThan(10)
  expect(publisher.pubacks).toEqual(numbers(21, sent - 1))
  return [failing, publisher]
}

describe.runIf(library)("tables that fail while the journal does not", () => {
  const ORDERS = [`fold ${ENOSPC}`, `table-sync ${EIO}`]

  test.each(ORDERS)("%s: commits are taken up to the bound, and all of them when it is over", async (order) => {
    const [failing, publisher] = await begin(order)
    const last = publisher.pubacks.length + 21
    failing.mend()
    await waitFor(() => publisher.pubacks.at(-1) === last, { what: "the last PUBACK" })
    await publishOneByOne(failing.broker, last + 1, last + 60)
    expect(failing.troubles).toBe(1)
    await waitFor(() => failing.journal.length <= 3, { what: "few segments" })
    await failing.cutPower()
    expect(await waitingNumbers(failing.store)).toEqual(numbers(1, last + 60))
  })

  test.each(ORDERS)("%s: killed meanwhile, and power cut: everything acknowledged is there", async (order) => {
    const [failing, publisher] = await begin(order)
    const last = publisher.pubacks.length + 20
    await failing.broker.kill9()
    failing.mend()
    await failing.cutPower()
    const waiting = await waitingNumbers(failing.store)
    expect(waiting).toEqual(numbers(1, waiting.length))
    expect(waiting.length).toBeGreaterThanOrEqual(last)
  })

  test("a fold that failed is tried again, also when no commit comes any more", async () => {
    const failing = await Failing.start(tinyJournal(8 << 10))
    failing.fail(`fold ${ENOSPC} 1`)
    let n = 0
    while (!failing.isMended) await publishOneByOne(failing.broker, ++n, n)
    expect(failing.folded).toBe(0)
    await waitFor(() => failing.folded > 0, { what: "the fold", timeoutMs: 10_000 })
    await failing.cutPower()
    expect(await waitingNumbers(failing.store)).toEqual(numbers(1, n))
  })

  // LMDB says of a page that it cannot write more than its buffer has room for: the process may end by SIGABRT then
  test("a page cannot be written: alive or not, everything acknowledged is there", async () => {
    const failing = await Failing.start(tinyJournal(8 << 10))
    const { broker } = failing
    await publishOneByOne(broker, 1, 5)
    failing.fail(`table-write ${ENOSPC}`)
    const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
    let sent = 5
    const isOver = (): boolean => {
      if (publisher.pubacks.length === sent - 5) publisher.send(numbered(++sent))
      return failing.troubles > 0 || !broker.running
    }
    await waitFor(isOver, { what: "the end of what is taken" })
    failing.mend()
    await failing.cutPower()
    const waiting = await waitingNumbers(failing.store)
    expect(waiting).toEqual(numbers(1, waiting.length))
    expect(waiting.length).toBeGreaterThanOrEqual(publisher.pubacks.length + 5)
  })

  test.each(["fold", "table-sync"])(
    "%s fails after a start: it goes on, folds when that is over, and everything is there",
    async (what) => {
      const failing = await Failing.start()
      await publishOneByOne(failing.broker, 1, 19)
      await failing.broker.kill9()
      failing.fail(`${what} ${EIO}`)
      await failing.broker.restart()
      await publishOneByOne(failing.broker, 20, 20)
      expect([await waitingNumbers(failing.store), failing.folded]).toEqual([numbers(1, 20), 0])
      failing.mend()
      await waitFor(() => failing.folded === 19, { what: "the fold", timeoutMs: 10_000 })
      await failing.cutPower()
      expect(await waitingNumbers(failing.store)).toEqual(numbers(1, 20))
    },
  )
})
