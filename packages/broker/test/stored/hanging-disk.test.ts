import { copyFileSync, existsSync, rmSync, writeFileSync } from "node:fs"
import { constants } from "node:os"
import { join } from "node:path"
import { startBroker, temporaryFolder, waitFor, type TestBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { inspectStore } from "../../src/stores/inspect.js"
import { compileDisk, diskEnvironment, hasCompiler, tinyJournal } from "../support/misbehaving-disk.js"
import { absentSession, numbered, numbers, publishOneByOne, waitingNumbers } from "../support/numbered.js"
import { Peer } from "../support/peer.js"
import { RawClient } from "../support/raw-client.js"
import { connect, properties, sessionExpiry } from "../support/wire.js"

const { EIO, ENOSPC } = constants.errno
const library = hasCompiler() ? compileDisk() : ""
/** Folds begin at 8 kB; at 32 kB nothing more is taken. */
const TINY = tinyJournal(8 << 10)
const STOP_MS = 10_000

/** A broker on a disk that hangs, or fails, as it is told. */
class Hanging {
  private constructor(
    readonly broker: TestBroker,
    private readonly folder: string,
  ) {}

  static async start(env: Record<string, string> = {}): Promise<Hanging> {
    const folder = temporaryFolder()
    const disk = diskEnvironment(library, { fail: join(folder, "fail") })
    const hanging = new Hanging(await startBroker({ dir: folder, env: { ...env, ...disk } }), folder)
    await absentSession(hanging.broker)
    return hanging
  }

  /** In the words of disk.c. */
  order(order: string): void {
    writeFileSync(join(this.folder, "fail"), order)
  }
  mend(): void {
    rmSync(join(this.folder, "fail"), { force: true })
  }
  /** A failure that comes once is over. */
  get isMended(): boolean {
    return !existsSync(join(this.folder, "fail"))
  }
  get store(): string {
    return join(this.folder, "store")
  }

  /** How many messages are in the tables. */
  get folded(): number {
    const copy = temporaryFolder()
    copyFileSync(join(this.store, "mqtt-broker.mdb"), join(copy, "mqtt-broker.mdb"))
    return inspectStore(copy).messages
  }

  async says(words: string, timeoutMs = 10_000): Promise<void> {
    await waitFor(() => this.broker.stderr.includes(words), { what: words, timeoutMs })
  }

  /** All that it says is its log, or what ends it. */
  expectLines(): void {
    const lines = this.broker.stderr.split("\n").filter((line) => line !== "" && !/^(error|hint): /.test(line))
    expect(lines.filter((line) => !line.startsWith('{"level"'))).toEqual([])
  }

  /** Sends a signal; resolves with how it ended, once it has. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<{ code: number | null; signal: NodeJS.Signals | null; ms: number }> {
    const begun = performance.now()
    process.kill(this.broker.pid, signal)
    return { ...(await this.broker.ended), ms: performance.now() - begun }
  }

  async restart(): Promise<void> {
    this.mend()
    await this.broker.restart()
  }
}

/** While a thread of it waits for a disk that hangs, a process cannot end with a code of its own choice before Node.js 22.15. */
const ENDS_UNUSABLE =
  "execve" in process ? { code: BROKER_ERRORS["store-unusable"].exitCode, signal: null } : { code: null, signal: "SIGKILL" }

/** A message of a client whose Session ends with its connection comes back to it. */
async function servesWithoutStore({ port }: TestBroker): Promise<void> {
  const peer = await Peer.connected(port, 4)
  await peer.subscribe(["live", 1])
  peer.send(Buffer.from([0x32, 9, 0, 4, ...Buffer.from("live"), 0, 1, 33]))
  const packets = [await peer.next(), await peer.next()]
  expect(packets.map(([first = 0]) => first & 0xf0).toSorted((a, b) => a - b)).toEqual([0x30, 0x40])
  peer.cut()
}

/** The code with which a CONNECT of a Session that lasts is answered. */
async function answerTo({ port }: TestBroker, version: 4 | 5): Promise<number | undefined> {
  const lasting = version === 5 ? { properties: properties(sessionExpiry(1000)) } : {}
  const peer = new Peer(port, version)
  peer.send(connect(version, { clientId: `lasting${version}`, clean: false, ...lasting }))
  const connack = await peer.next()
  peer.cut()
  return connack[3]
}

describe.runIf(library)("a commit that takes long", () => {
  test("is told, with its age; who needs the store is refused meanwhile, who does not is served; then all goes on", async () => {
    const hanging = await Hanging.start()
    const { broker } = hanging
    hanging.order("journal-sync -1")
    const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
    publisher.send(numbered(1))
    await hanging.says("a commit has been on its way to the store for 2.")
    await servesWithoutStore(broker)
    expect([await answerTo(broker, 4), await answerTo(broker, 5)]).toEqual([3, 0x88])
    expect(publisher.pubacks).toEqual([])
    await hanging.says("a commit has been on its way to the store for 4.")
    hanging.mend()
    await waitFor(() => publisher.pubacks.length === 1, { what: "the PUBACK" })
    await hanging.says("the commit that took long is answered, after 4.")
    expect([await answerTo(broker, 4), await answerTo(broker, 5)]).toEqual([0, 0])
    expect(await waitingNumbers(hanging.store)).toEqual([1])
    expect(broker.stderr.match(/on its way/g)).toHaveLength(2)
    hanging.expectLines()
  })
})

describe.runIf(library)("a disk that hangs for ever", () => {
  test("a commit: the process ends within a minute, says what to do, and nothing acknowledged is lost", async () => {
    const hanging = await Hanging.start()
    await publishOneByOne(hanging.broker, 1, 5)
    hanging.order("journal-sync -1")
    const begun = performance.now()
    const publisher = await RawClient.open(hanging.broker.port, "publisher", { clean: true })
    publisher.send(numbered(6))
    expect(await hanging.broker.ended).toEqual(ENDS_UNUSABLE)
    expect(performance.now() - begun).toBeLessThan(60_000)
    expect(hanging.broker.stderr).toMatch(
      /error: the store in ".*" cannot be used: its disk has not answered for 4\d s\nhint: look what is wrong/,
    )
    expect(publisher.pubacks).toEqual([])
    await hanging.restart()
    expect((await waitingNumbers(hanging.store)).slice(0, 5)).toEqual(numbers(1, 5))
  }, 90_000)

  test.each(["table-sync -1", "fold -1", "lock -1"])(
    "%s: commits are taken up to the bound, it is told, and then the process ends",
    async (order) => {
      const hanging = await Hanging.start({ ...TINY, MQTT_BROKER_TEST_STUCK_MS: "7000" })
      const { broker } = hanging
      hanging.order(order)
      const publisher = await RawClient.open(broker.port, "publisher", { clean: true })
      let sent = 0
      const isTold = (): boolean => {
        if (publisher.pubacks.length === sent) publisher.send(numbered(++sent))
        return broker.stderr.includes("the store's tables have taken nothing for 5.")
      }
      await waitFor(isTold, { what: "the log line" })
      expect(publisher.pubacks.length).toBeGreaterThan(20)
      expect(publisher.pubacks).toEqual(numbers(1, sent - 1))
      expect(await broker.ended).toEqual(ENDS_UNUSABLE)
      hanging.expectLines()
      await hanging.restart()
      expect((await waitingNumbers(hanging.store)).slice(0, sent - 1)).toEqual(numbers(1, sent - 1))
    },
  )

  test("a fold that no commit waits for: the process ends too, later", async () => {
    const hanging = await Hanging.start({ ...TINY, MQTT_BROKER_TEST_IDLE_STUCK_MS: "7000" })
    hanging.order("table-sync -1")
    await publishOneByOne(hanging.broker, 1, 15)
    expect(await hanging.broker.ended).toEqual(ENDS_UNUSABLE)
    await hanging.restart()
    expect(await waitingNumbers(hanging.store)).toEqual(numbers(1, 15))
  })

  test.each([
    ["journal-sync -1", 1, "on its way to the store"],
    ["journal-write -1", 1, "on its way to the store"],
    ["space -1", 1, "on its way to the store"],
    ["table-sync -1", 20, "tables have taken nothing"],
    ["lock -1", 20, "tables have taken nothing"],
  ])(
    "SIGTERM with %s: it ends within 10 s, says that not all was stored, and nothing acknowledged is lost",
    async (order, count, words) => {
      const hanging = await Hanging.start(TINY)
      await publishOneByOne(hanging.broker, 1, 5)
      hanging.order(order)
      const publisher = await RawClient.open(hanging.broker.port, "publisher", { clean: true })
      let sent = 5
      const isTold = (): boolean => {
        if (sent - 5 - publisher.pubacks.length < count) publisher.send(numbered(++sent))
        return hanging.broker.stderr.includes(words)
      }
      await waitFor(isTold, { what: words })
      if (count === 1) await servesWithoutStore(hanging.broker)
      const { ms, ...end } = await hanging.end()
      expect(ms).toBeLessThan(STOP_MS)
      expect(end).toEqual(ENDS_UNUSABLE)
      expect(hanging.broker.stderr).toContain("error: stopped while the store took no commits")
      hanging.expectLines()
      const acknowledged = publisher.pubacks.at(-1) ?? 5
      await hanging.restart()
      expect((await waitingNumbers(hanging.store)).slice(0, acknowledged)).toEqual(numbers(1, acknowledged))
    },
  )

  test("a second signal ends it at once", async () => {
    const hanging = await Hanging.start()
    hanging.order("journal-sync -1")
    const publisher = await RawClient.open(hanging.broker.port, "publisher", { clean: true })
    publisher.send(numbered(1))
    await hanging.says("on its way to the store")
    process.kill(hanging.broker.pid, "SIGTERM")
    await waitFor(() => publisher.closed, { what: "the end of connections" })
    const { ms, ...end } = await hanging.end()
    expect(end).toEqual({ code: null, signal: "SIGTERM" })
    expect(ms).toBeLessThan(1500)
  })
})

describe.runIf(library)("LMDB's errors", () => {
  test("a transaction that cannot begin: it is tried again, and the broker ends with exit code 0", async () => {
    const hanging = await Hanging.start(TINY)
    hanging.order(`lock ${EIO} 1`)
    let n = 0
    while (!hanging.isMended) await publishOneByOne(hanging.broker, ++n, n)
    await publishOneByOne(hanging.broker, n + 1, n + 60)
    await waitFor(() => hanging.folded > 0, { what: "the fold" })
    const { ms, ...end } = await hanging.end()
    expect([end, ms < STOP_MS]).toEqual([{ code: 0, signal: null }, true])
    hanging.expectLines()
    await hanging.restart()
    expect(await waitingNumbers(hanging.store)).toEqual(numbers(1, n + 60))
  })

  test.each([`fold ${ENOSPC}`, `table-sync ${EIO}`])("%s: nothing but log lines is printed", async (order) => {
    const hanging = await Hanging.start(TINY)
    hanging.order(order)
    const publisher = await RawClient.open(hanging.broker.port, "publisher", { clean: true })
    let sent = 0
    const isRefused = (): boolean => {
      if (publisher.pubacks.length === sent) publisher.send(numbered(++sent))
      return hanging.broker.stderr.includes("takes no commits")
    }
    await waitFor(isRefused, { what: "the log line" })
    hanging.expectLines()
  })
})
