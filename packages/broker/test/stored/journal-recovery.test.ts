import { constants } from "node:os"
import { cpSync, existsSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { runCli, spawnCli, startBroker, temporaryFolder } from "@mqtt-trio/testing"
import { array, assert, integer, oneof, property, record } from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { readJournal } from "../../src/stores/journal/recovery.js"
import { journalFiles, type JournalFile } from "../support/journal-files.js"
import { compileDisk, diskEnvironment, hasCompiler, tinyJournal } from "../support/misbehaving-disk.js"
import { absentSession, numbers, publishOneByOne, waitingNumbers } from "../support/numbered.js"

const UNUSABLE = BROKER_ERRORS["store-unusable"].exitCode
const MESSAGES = 40

/** A copy of a store's folder. */
function copyOf(folder: string): string {
  const copy = join(temporaryFolder(), "store")
  cpSync(folder, copy, { recursive: true, filter: (path) => !/\.sock$|-lock$/.test(path) })
  return copy
}

/** Starts a broker on it for a moment; the numbers of the messages that wait for the session. */
async function messagesIn(folder: string): Promise<number[]> {
  const broker = await startBroker({ store: `file:${folder}` })
  expect(broker.stderr).not.toMatch(/WARN|ERROR/)
  const waiting = await waitingNumbers(folder)
  await broker.kill9()
  return waiting
}

/** Starts a broker that must refuse, and leave the files as they are; what it says. */
async function refusal(folder: string): Promise<string> {
  const read = (): Map<string, Buffer> => new Map(journalFiles(folder).map(({ path, bytes }) => [path, bytes]))
  const before = read()
  const { code, stdout, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
  expect([code, stdout]).toEqual([UNUSABLE, ""])
  expect(read()).toEqual(before)
  return stderr
}

function change(folder: string, edit: (file: JournalFile) => void, which = 0): void {
  const file = journalFiles(folder)[which]
  if (!file) throw new Error("there is no such segment")
  edit(file)
  writeFileSync(file.path, file.bytes)
}

/** Record `n` counted from the last one, which is 1. */
function fromTheEnd({ records }: JournalFile, n: number): { at: number; end: number } {
  const place = records.at(-n)
  if (!place) throw new Error(`there are no ${n} records`)
  return place
}

function flip({ bytes }: JournalFile, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 1
}

describe("a journal that a killed broker left", () => {
  let left = ""

  beforeAll(async () => {
    const broker = await startBroker()
    await absentSession(broker)
    await publishOneByOne(broker, 1, MESSAGES)
    await broker.kill9()
    left = join(broker.dir, "store")
    const [file, ...others] = journalFiles(left)
    expect(others).toEqual([])
    expect(file && file.bytes.toString("latin1", fromTheEnd(file, 1).at)).toContain(`${MESSAGES}  `)
  })

  test("as it is: everything is there", async () => {
    expect(await messagesIn(copyOf(left))).toEqual(numbers(1, MESSAGES))
  })

  test.each([
    ["its second half is missing", ({ bytes }: JournalFile, at: number, end: number) => void bytes.fill(0, (at + end) >> 1, end)],
    ["its first half is missing", ({ bytes }: JournalFile, at: number, end: number) => void bytes.fill(0, at, (at + end) >> 1)],
    ["one bit of it is another", (file: JournalFile, at: number) => flip(file, at + 40)],
    ["its length is another", (file: JournalFile, at: number) => flip(file, at + 1)],
    ["its length is beyond all bounds", ({ bytes }: JournalFile, at: number) => void bytes.writeUInt32LE(0xffff_fff0, at)],
    ["nothing of it is there", ({ bytes }: JournalFile, at: number, end: number) => void bytes.fill(0, at, end)],
  ])("the last record was being written, %s: nobody was told of it, and nothing is said", async (_, edit) => {
    const folder = copyOf(left)
    change(folder, (file) => {
      const { at, end } = fromTheEnd(file, 1)
      edit(file, at, end)
    })
    expect(await messagesIn(folder)).toEqual(numbers(1, MESSAGES - 1))
    // and what is stored from then on has its place
    const broker = await startBroker({ store: `file:${folder}` })
    await publishOneByOne(broker, MESSAGES, MESSAGES + 5)
    await broker.kill9()
    expect(await messagesIn(folder)).toEqual(numbers(1, MESSAGES + 5))
  })

  test("the file ends in the middle of the last record", async () => {
    const folder = copyOf(left)
    change(folder, (file) => {
      const { at, end } = fromTheEnd(file, 1)
      file.bytes = file.bytes.subarray(0, (at + end) >> 1)
    })
    expect(await messagesIn(folder)).toEqual(numbers(1, MESSAGES - 1))
  })

  test.each([
    ["one bit of a record in the middle is another", (file: JournalFile) => flip(file, fromTheEnd(file, 9).at + 50)],
    ["the length of a record in the middle is another", (file: JournalFile) => flip(file, fromTheEnd(file, 9).at + 1)],
    [
      "the last record but one is not there",
      (file: JournalFile) => void file.bytes.fill(0, fromTheEnd(file, 2).at, fromTheEnd(file, 2).end),
    ],
    ["the first record is damaged", (file: JournalFile) => flip(file, (file.records[0]?.at ?? 0) + 20)],
    ["the header is damaged", (file: JournalFile) => flip(file, 20)],
    ["the header is not there", (file: JournalFile) => void file.bytes.fill(0, 0, 64)],
    ["4096 bytes in the middle are not there", (file: JournalFile) => void file.bytes.fill(0, 8192, 12_288)],
  ])("%s, and whole ones are behind it: exit code 11, words, and the files are as they were", async (_, edit) => {
    const folder = copyOf(left)
    change(folder, edit)
    expect(await refusal(folder)).toMatch(/^error: the store in .* cannot be used: its journal is damaged: commit \d+ is not whole/)
  })

  test("a newer format: exit code 11, and words", async () => {
    const folder = copyOf(left)
    const { crc32 } = await import("node:zlib")
    change(folder, ({ bytes }) => {
      bytes.writeUInt32LE(2, 4)
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60)
    })
    expect(await refusal(folder)).toMatch(/the format of its journal is 2, this version reads up to 1; use a newer mqtt-broker/)
  })

  test("the tables are missing: exit code 11, and words", async () => {
    const folder = copyOf(left)
    rmSync(join(folder, "mqtt-broker.mdb"))
    expect(await refusal(folder)).toMatch(/"mqtt-broker\.mdb" is missing/)
    expect(existsSync(join(folder, "mqtt-broker.mdb"))).toBe(false)
  })

  test("files that are no segments are passed over", async () => {
    const folder = copyOf(left)
    writeFileSync(join(folder, "journal.7"), Buffer.alloc(300_000, "journal"))
    writeFileSync(join(folder, "journal.8"), "")
    expect(await messagesIn(folder)).toEqual(numbers(1, MESSAGES))
  })

  test("a file that is longer than the journal's ever are: exit code 11, and words", async () => {
    const folder = copyOf(left)
    const path = join(folder, "journal.7")
    writeFileSync(path, "")
    truncateSync(path, 3e9)
    const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
    expect(code).toBe(UNUSABLE)
    expect(stderr).toMatch(
      /journal\.7" has 3000000000 bytes, more than a file of the journal ever has; if it is not the broker's, move it away/,
    )
    rmSync(path)
    expect(await messagesIn(folder)).toEqual(numbers(1, MESSAGES))
  })

  test("any bytes are damaged: what is before them, or refused when whole records are behind them", () => {
    const folder = copyOf(left)
    const [original] = journalFiles(folder)
    if (!original) throw new Error("there is no segment")
    const { path, records } = original
    const size = Math.max(...records.map(({ end }) => end)) + 1000
    const hole = record({ at: integer({ min: 0, max: size }), bytes: integer({ min: 1, max: 3000 }), value: integer({ min: 0, max: 255 }) })
    const holes = oneof(
      array(hole, { maxLength: 3 }),
      array(
        hole.map((one) => ({ ...one, bytes: 1 })),
        { minLength: 1, maxLength: 3 },
      ),
    )
    let refused = 0
    const damage = property(holes, (places) => {
      const bytes = Buffer.from(original.bytes.subarray(0, size + 3000))
      for (const { at, bytes: length, value } of places) bytes.fill(value, at, at + length)
      writeFileSync(path, bytes)
      const isWhole = (at: number, end: number): boolean => bytes.compare(original.bytes, at, end, at, end) === 0
      const whole = records.map(({ at, end }) => isWhole(at, end))
      const kept = isWhole(0, 64) ? (whole.includes(false) ? whole.indexOf(false) : whole.length) : 0
      let taken = 0
      const read = (): unknown => readJournal(folder, { folded: 0, secret: original.bytes.readUInt32LE(28) }, () => taken++)
      if (whole.lastIndexOf(true) < kept) {
        read()
        expect(taken).toBe(kept)
      } else {
        refused++
        expect(read).toThrow("its journal is damaged")
      }
    })
    assert(damage, { numRuns: 500 })
    expect(refused).toBeGreaterThan(50)
  })
})

describe("after a clean stop", () => {
  test("the journal says so, its records count no more, and without it everything is there", async () => {
    const broker = await startBroker()
    await absentSession(broker)
    await publishOneByOne(broker, 1, MESSAGES)
    expect(await broker.stop()).toBe(0)
    const folder = join(broker.dir, "store")
    change(folder, (file) => void file.bytes.fill(1, 64))
    expect(await messagesIn(copyOf(folder))).toEqual(numbers(1, MESSAGES))
    for (const { path } of journalFiles(folder)) rmSync(path)
    expect(await messagesIn(folder)).toEqual(numbers(1, MESSAGES))
  })
})

describe.runIf(hasCompiler())("with two segments that are not folded", () => {
  const ALL = 45
  let [left, half] = ["", 0]

  beforeAll(async () => {
    const folder = temporaryFolder()
    const fail = join(folder, "fail")
    const env = { ...tinyJournal(16 << 10), ...diskEnvironment(compileDisk(), { fail }) }
    const broker = await startBroker({ dir: folder, env })
    await absentSession(broker)
    writeFileSync(fail, `fold ${constants.errno.EIO}`)
    await publishOneByOne(broker, 1, ALL)
    await broker.kill9()
    left = join(broker.dir, "store")
    const files = journalFiles(left)
    expect(files).toHaveLength(2)
    half = files[0]?.records.length ?? 0
    expect(half).toBeGreaterThan(10)
    expect(files[1]?.records.length).toBeGreaterThan(10)
  })

  test("as they are: everything is there", async () => {
    expect(await messagesIn(copyOf(left))).toEqual(numbers(1, ALL))
  })

  test("the first one is missing: exit code 11, and words", async () => {
    const folder = copyOf(left)
    rmSync(journalFiles(folder)[0]?.path ?? "")
    expect(await refusal(folder)).toMatch(/its journal is damaged: commit 1 is not whole/)
  })

  test.each([
    ["the last record", (file: JournalFile) => flip(file, fromTheEnd(file, 1).at + 30)],
    ["a record", (file: JournalFile) => flip(file, fromTheEnd(file, 9).at + 30)],
    ["the header", (file: JournalFile) => flip(file, 10)],
  ])("%s of the first one is damaged: exit code 11, and words", async (_, edit) => {
    const folder = copyOf(left)
    change(folder, edit)
    expect(await refusal(folder)).toMatch(/its journal is damaged: commit \d+ is not whole/)
  })

  test("the header of the second one is damaged: exit code 11, and words", async () => {
    const folder = copyOf(left)
    change(folder, (file) => flip(file, 10), 1)
    expect(await refusal(folder)).toMatch(new RegExp(`its journal is damaged: commit ${half + 1} is not whole`))
  })

  test.each(["fold-before", "fold-after"])(
    "it dies after its start at every commit of the tables in turn (%s): then everything is there",
    async (point) => {
      const [folder, die] = [copyOf(left), join(temporaryFolder(), "die")]
      const env = diskEnvironment(compileDisk(), { die })
      let deaths = 0
      const starts = async (): Promise<boolean> => {
        writeFileSync(die, `${point} ${deaths + 1}`)
        const running = spawnCli("mqtt-broker", ["start", "--port", "0", "--json", "--store", `file:${folder}`], { env })
        await running.waitForLine('"ready"').catch(() => {})
        return (await running.stop()).code === 0
      }
      while (!(await starts())) deaths++
      expect(deaths).toBeGreaterThan(1)
      expect(await messagesIn(folder)).toEqual(numbers(1, ALL))
    },
  )
})
