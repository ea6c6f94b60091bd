import { existsSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { runCli, startBroker, temporaryFolder } from "@mqtt-trio/testing"
import { beforeAll, describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { checkFile } from "../../src/stores/check-file.js"
import { checked } from "../../src/stores/checksum.js"
import { salvage } from "../../src/stores/repair/salvage.js"
import { absent, changeFile, copyOfStore, drain, failedStart, publishAll } from "../support/stored.js"

const UNUSABLE = BROKER_ERRORS["store-unusable"].exitCode
const PAGE = 4096
const CLIENTS = ["a", "b", "c", "d"]
const MESSAGES = 600

const state = { store: "" }

function repair(folder: string, ...args: string[]): ReturnType<typeof runCli> {
  return runCli("mqtt-broker", ["repair", "--store", `file:${folder}`, ...args])
}

function payload(n: number): Buffer {
  return Buffer.from(`message ${n} `.padEnd(n % 9 === 0 ? 3000 : 150, "."))
}

function numbers(texts: readonly string[]): number[] {
  return texts.map((text) => Number(/\d+/.exec(text)?.[0]))
}

function sentTo(client: string): number[] {
  return Array.from({ length: MESSAGES }, (_, n) => n).filter((n) => CLIENTS[n % CLIENTS.length] === client)
}

beforeAll(async () => {
  const broker = await startBroker({ env: { MQTT_BROKER_TEST_FOLD_BYTES: "1" } })
  for (const name of CLIENTS) await absent(broker.port, name, `${name}/#`)
  for (let n = 0; n < MESSAGES; n += 30) {
    const some = Array.from({ length: 30 }, (_, k) => n + k)
    await publishAll(
      broker.port,
      some.map((k) => ({ topic: `${CLIENTS[k % CLIENTS.length]}/${k}`, payload: payload(k), retain: k % 5 === 0 })),
    )
  }
  expect(await broker.stop()).toBe(0)
  state.store = join(broker.dir, "store")
})

/** Everything that comes to a client after the repair, by number. */
async function queues(folder: string): Promise<Map<string, number[]>> {
  const broker = await startBroker({ store: `file:${folder}` })
  const came = new Map<string, number[]>()
  for (const name of CLIENTS) came.set(name, numbers(await drain(broker.port, name)))
  expect(await broker.stop()).toBe(0)
  return came
}

test("a store that is whole: exit code 0, words that say so, and nothing is changed", async () => {
  const [folder, file] = copyOfStore(state.store)
  const before = readFileSync(file)
  const { code, stdout } = await repair(folder)
  expect([code, stdout]).toEqual([
    0,
    `nothing in ${JSON.stringify(folder)} is damaged: 4 sessions, 4 subscriptions, ${MESSAGES} stored messages, 120 retained messages, 0 Wills\n`,
  ])
  expect(readFileSync(file).equals(before)).toBe(true)
  expect(readdirSync(folder).filter((name) => name.startsWith("damaged"))).toEqual([])
})

test("a broker uses it: exit code 12", async () => {
  const broker = await startBroker()
  const { code, stderr } = await repair(join(broker.dir, "store"))
  expect(code).toBe(BROKER_ERRORS["store-in-use"].exitCode)
  expect(stderr).toMatch(/^error: another broker uses the folder .*\nhint: stop it first\n$/)
})

test.each(["repair", "compact"])("%s of a folder that is not there: exit code 11, and it is not made", async (command) => {
  const folder = join(temporaryFolder(), "none")
  const { code, stderr } = await runCli("mqtt-broker", [command, "--store", `file:${folder}`])
  expect([code, stderr]).toEqual([
    UNUSABLE,
    `error: there is no folder ${JSON.stringify(folder)}\nhint: say where the store is with --store file:DIR\n`,
  ])
  expect(existsSync(folder)).toBe(false)
})

test.each([
  ["nothing in it", (file: string) => truncateSync(file, 0)],
  ["all of it zeros", (file: string) => changeFile(file, (bytes) => bytes.fill(0))],
])("%s, and no journal: exit code 11, and nothing is changed", async (_, damage) => {
  const [folder, file] = copyOfStore(state.store)
  for (const name of readdirSync(folder)) if (name.startsWith("journal.")) rmSync(join(folder, name))
  damage(file)
  const before = readFileSync(file)
  const { code, stderr } = await repair(folder)
  expect(code).toBe(UNUSABLE)
  expect(stderr).toContain("nothing in it can be saved")
  expect(readFileSync(file).equals(before)).toBe(true)
  expect(readdirSync(folder).filter((name) => !name.endsWith(".sock"))).toEqual(["mqtt-broker.mdb"])
})

describe("what is intact is there again, in order", () => {
  test.each([
    ["a meta page zeroed, the first one", (bytes: Buffer) => bytes.fill(0, 0, PAGE)],
    ["a meta page zeroed, the second one", (bytes: Buffer) => bytes.fill(0, PAGE, 2 * PAGE)],
    ["both meta pages zeroed", (bytes: Buffer) => bytes.fill(0, 0, 2 * PAGE)],
    [
      "every branch of a tree spoiled",
      (bytes: Buffer) => eachPage(bytes, (at) => bytes.readUInt16LE(at + 18) === 1 && bytes.fill(0xaa, at, at + 300)),
    ],
  ])("%s: nothing is missing", async (_, damage) => {
    const [folder, file] = copyOfStore(state.store)
    changeFile(file, damage)
    const damaged = readFileSync(file)
    expect((await failedStart(folder)).code).toBe(UNUSABLE)
    const { code, stdout } = await repair(folder, "--json")
    expect(code).toBe(0)
    const { contents, repaired } = JSON.parse(stdout)
    expect(contents).toEqual({ sessions: 4, subscriptions: 4, messages: MESSAGES, retained: 120, wills: 0, damaged: 0 })
    expect(readFileSync(join(repaired.aside, "mqtt-broker.mdb")).equals(damaged)).toBe(true)
    for (const [name, came] of await queues(folder)) expect(came).toEqual(sentTo(name))
  })
})

function eachPage(bytes: Buffer, change: (at: number) => void): void {
  for (let at = 2 * PAGE; at + PAGE <= bytes.length; at += PAGE) change(at)
}

test("a session's row that is spoiled: the others go on, the words say that one is missing", async () => {
  const [folder, file] = copyOfStore(state.store)
  changeFile(file, (bytes) => {
    for (let at = bytes.indexOf('{"clientId":"b"'); at >= 0; at = bytes.indexOf('{"clientId":"b"', at + 1)) bytes.write("x", at + 13)
  })
  for (const name of readdirSync(folder)) if (name.startsWith("journal.")) rmSync(join(folder, name)) // it has the row too
  const { code, stdout } = await repair(folder)
  expect(code).toBe(0)
  expect(stdout).toContain("what was wrong: a row of sessions in it is damaged\n")
  expect(stdout).toContain("the store has now: 3 sessions, 3 subscriptions, ")
  expect(stdout).toContain("missing: 1 session\n")
  expect(stdout).toMatch(/the files that were there are in ".*damaged-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ"; remove it/)
  const came = await queues(folder)
  expect([...came].map(([name, list]) => [name, list.length])).toEqual([
    ["a", 150],
    ["b", 0],
    ["c", 150],
    ["d", 150],
  ])
})

test("commits of the journal: those behind a damaged one count", async () => {
  const broker = await startBroker()
  await absent(broker.port, "a", "a/#")
  await publishAll(
    broker.port,
    Array.from({ length: 40 }, (_, n) => ({ topic: "a/b", payload: payload(n) })),
  )
  await broker.kill9()
  const [folder] = copyOfStore(join(broker.dir, "store"))
  const journal = join(folder, readdirSync(folder).find((name) => name.startsWith("journal.")) ?? "")
  changeFile(journal, (bytes) => bytes.write("M", bytes.indexOf("message 17 ")))
  const start = await failedStart(folder)
  expect(start.stderr).toContain("its journal is damaged")
  const { code, stdout } = await repair(folder)
  expect([code, stdout]).toEqual([0, expect.stringContaining("missing in the journal: 1 commit\n")])
  expect(stdout).toContain("missing between others: 1 queued message of 1 log\n")
  const again = await startBroker({ store: `file:${folder}` })
  expect(numbers(await drain(again.port, "a"))).toEqual(Array.from({ length: 40 }, (_, n) => n).filter((n) => n !== 17))
})

test("the file of tables is gone: what the journal has is there again", async () => {
  const broker = await startBroker()
  await absent(broker.port, "a", "a/#")
  await publishAll(
    broker.port,
    Array.from({ length: 10 }, (_, n) => ({ topic: "a/b", payload: payload(n) })),
  )
  await broker.kill9()
  const [folder, file] = copyOfStore(join(broker.dir, "store"))
  rmSync(file)
  expect((await failedStart(folder)).stderr).toContain("mqtt-broker repair")
  expect((await repair(folder)).code).toBe(0)
  const again = await startBroker({ store: `file:${folder}` })
  expect(numbers(await drain(again.port, "a"))).toEqual(Array.from({ length: 10 }, (_, n) => n))
})

describe("a repair that is killed loses nothing", () => {
  const steps: [string, (folder: string) => void][] = [
    ["while it writes", (folder) => renameSync(join(folder, "mqtt-broker.mdb.repaired"), join(folder, "mqtt-broker.mdb.new"))],
    ["before it moves anything", () => {}],
    ["when the damaged file is aside", (folder) => renameSync(join(folder, "mqtt-broker.mdb"), join(temporaryFolder(), "kept"))],
  ]

  test.each(steps)("%s: a start is refused, the next repair ends it", async (_, step) => {
    const [folder, file] = copyOfStore(state.store)
    changeFile(file, (bytes) => bytes.fill(0, 0, PAGE))
    const [whole] = copyOfStore(folder)
    expect((await repair(whole)).code).toBe(0)
    renameSync(join(whole, "mqtt-broker.mdb"), join(folder, "mqtt-broker.mdb.repaired"))
    step(folder)
    const { code, stderr } = await failedStart(folder)
    expect(code).toBe(UNUSABLE)
    expect(stderr).toContain("mqtt-broker repair --store")
    expect((await repair(folder)).code).toBe(0)
    expect(readdirSync(folder).filter((name) => /repaired|new/.test(name))).toEqual([])
    for (const [name, came] of await queues(folder)) expect(came).toEqual(sentTo(name))
  })
})

/** Numbers of a fixed sequence (xorshift). */
function randomNumbers(seed: number): (below: number) => number {
  let state32 = seed
  return (below) => {
    state32 ^= state32 << 13
    state32 ^= state32 >>> 17
    state32 ^= state32 << 5
    return (state32 >>> 0) % below
  }
}

interface StoredRow {
  key: string
  /** its node in the page */
  bytes: Buffer
  numbers: number[]
}

/** Rows of messages, those that have no pages of their own. */
function rowsOfMessages(): StoredRow[] {
  const rows: StoredRow[] = []
  checkFile(join(state.store, "mqtt-broker.mdb"), (table, key, value) => {
    const bytes = table === "chunks" && value.length < 2000 ? checked(table, key, value) : undefined
    const head = Buffer.from([value.length & 255, value.length >> 8, 0, 0, 0, 0, key.length, 0])
    const found = bytes?.toString("latin1").match(/message \d+ /g) ?? []
    if (bytes) rows.push({ key: key.toString("hex"), bytes: Buffer.concat([head, key, value]), numbers: numbers(found) })
  })
  return rows
}

/** Writes 64 random bytes at some places. */
function spoil(bytes: Buffer, random: (below: number) => number, places: number): void {
  for (let n = 0; n < places; n++) {
    const at = random(Math.floor(bytes.length / PAGE)) * PAGE + random(PAGE - 64)
    for (let k = 0; k < 64; k++) bytes[at + k] = random(256)
  }
}

/** Those that are where they were, byte for byte, in a page that still says which one it is. */
function intactRows(whole: Buffer, bytes: Buffer, rows: readonly StoredRow[]): StoredRow[] {
  const isLeaf = (page: number): boolean => bytes.readUInt32LE(page) === page / PAGE && bytes.readUInt16LE(page + 18) === 2
  const isThere = (row: Buffer): boolean => {
    for (let at = whole.indexOf(row); at >= 0; at = whole.indexOf(row, at + 1))
      if (hasNode(whole, at) && isLeaf(at - (at % PAGE)) && bytes.subarray(at, at + row.length).equals(row)) return true
    return false
  }
  return rows.filter((row) => isThere(row.bytes))
}

/** Whether a page knows of the node at a place; others are left of a page that was split. */
function hasNode(bytes: Buffer, at: number): boolean {
  const page = at - (at % PAGE)
  const nodes = Array.from({ length: bytes.readUInt16LE(page + 20) >> 1 }, (_, n) => bytes.readUInt16LE(page + 24 + 2 * n) + 24)
  return nodes.includes(at % PAGE)
}

test("random bytes in random pages: a start works or ends with exit code 11, a repair makes one that works, all intact rows come in order", async () => {
  const rows = rowsOfMessages()
  const whole = readFileSync(join(state.store, "mqtt-broker.mdb"))
  let refused = 0
  for (let round = 1; round <= 3; round++) {
    const [folder, file] = copyOfStore(state.store)
    for (const name of readdirSync(folder)) if (name.startsWith("journal.")) rmSync(join(folder, name)) // the tables alone
    changeFile(file, (bytes) => spoil(bytes, randomNumbers(round * 7919), round * 6))
    const intact = new Set(intactRows(whole, readFileSync(file), rows).flatMap((row) => row.numbers))
    const { code, signal } = await failedOrStarted(folder)
    expect(signal).toBeNull()
    expect([0, UNUSABLE]).toContain(code)
    if (code === UNUSABLE) refused++
    expect((await repair(folder)).code).toBe(0)
    for (const [name, came] of await queuesOfThose(folder)) {
      expect(came).toEqual(came.toSorted((a, b) => a - b))
      expect(sentTo(name).filter((n) => intact.has(n) && !came.includes(n))).toEqual([])
    }
  }
  expect(refused).toBeGreaterThan(0)
})

test("random bytes in random pages: every row that is intact is found", () => {
  const rows = rowsOfMessages()
  const whole = readFileSync(join(state.store, "mqtt-broker.mdb"))
  const file = join(temporaryFolder(), "mqtt-broker.mdb")
  let lost = 0
  for (let round = 1; round <= 40; round++) {
    const bytes = Buffer.from(whole)
    spoil(bytes, randomNumbers(round * 104_729), (round % 8) * 6)
    writeFileSync(file, bytes)
    const found = new Set<string>()
    salvage(file, ({ table, key }) => table === "chunks" && found.add(key.toString("hex")))
    expect(intactRows(whole, bytes, rows).filter(({ key }) => !found.has(key))).toEqual([])
    lost += rows.filter(({ key }) => !found.has(key)).length
  }
  expect(lost).toBeGreaterThan(0)
})

test("sizes of large values spoiled, and every branch: every row that is intact is found", () => {
  const rows = rowsOfMessages()
  const whole = readFileSync(join(state.store, "mqtt-broker.mdb"))
  const file = join(temporaryFolder(), "mqtt-broker.mdb")
  const bytes = Buffer.from(whole)
  let large = 0
  eachPage(bytes, (at) => {
    const flags = bytes.readUInt16LE(at + 18)
    if (flags === 1) bytes.fill(0xaa, at, at + 300)
    if (flags !== 4 || bytes.readUInt32LE(at) !== at / PAGE) return
    bytes.fill(0xaa, at + 20, at + 84)
    large++
  })
  expect(large).toBeGreaterThan(0)
  writeFileSync(file, bytes)
  const found = new Set<string>()
  salvage(file, ({ table, key }) => table === "chunks" && found.add(key.toString("hex")))
  expect(intactRows(whole, bytes, rows).filter(({ key }) => !found.has(key))).toEqual([])
})

/** Starts a broker and stops it: its exit code. */
async function failedOrStarted(folder: string): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  const broker = await startBroker({ store: `file:${folder}` }).catch(() => undefined)
  if (broker) return { code: await broker.stop(), signal: null }
  return failedStart(folder)
}

/** Queues of the clients whose sessions are still there. */
async function queuesOfThose(folder: string): Promise<Map<string, number[]>> {
  const came = await queues(folder)
  return new Map([...came].filter(([, list]) => list.length))
}
