import { statSync } from "node:fs"
import { join } from "node:path"
import { temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { checkFile } from "../../src/stores/check-file.js"
import { checked, withChecksum } from "../../src/stores/checksum.js"
import { type Environment, openEnvironment } from "../../src/stores/environment.js"
import { inspectStore } from "../../src/stores/inspect.js"
import { idKey } from "../../src/stores/keys.js"
import { openStore } from "../../src/stores/open-store.js"
import { repairStore } from "../../src/stores/repair/repair.js"
import type { LostRows, Store } from "../../src/stores/store.js"
import { chunk, NOTHING, readOn, sharedChunk } from "../support/chunks.js"
import { changeFile, DATABASE } from "../support/stored.js"

const READ_PROGRAM = new URL("../../dist/stores/read-worker.js", import.meta.url)
const LOGS = Array.from({ length: 1500 }, (_, n) => n + 1)
const MB = 1 << 20

async function opened(folder: string, lost?: LostRows): Promise<Store> {
  const store = await openStore({ kind: "file", folder }, { readProgram: READ_PROGRAM, ...(lost && { lost }) })
  await store.load()
  return store
}

/** How many rows each table of messages has. */
function rowsIn(folder: string): Record<"chunks" | "references" | "bodies" | "sharers", number> {
  const rows = { chunks: 0, references: 0, bodies: 0, sharers: 0 }
  checkFile(join(folder, DATABASE), (table) => {
    if (table === "chunks" || table === "references" || table === "bodies" || table === "sharers") rows[table]++
  })
  return rows
}

/** Opens it, does this, and closes it, which folds everything. */
async function during(folder: string, work: (store: Store) => Promise<unknown>): Promise<void> {
  const store = await opened(folder)
  await work(store)
  await store.close()
}

const MARK = "begins large "
const LARGE = MARK.padEnd(MB, "large ")

/** All logs have a large message at 10, and each one of its own at 20. */
async function filled(logs = LOGS): Promise<string> {
  const folder = join(temporaryFolder(), "store")
  await during(folder, async (store) => {
    await store.commit({ ...NOTHING, appends: sharedChunk(logs, 10, [LARGE]) })
    await store.commit({ ...NOTHING, appends: logs.map((log) => chunk(log, 20, `own ${log}`)) })
  })
  return folder
}

async function messagesOf(folder: string, log: number, lost?: LostRows): Promise<string[]> {
  const store = await opened(folder, lost)
  const found = await readOn(store, log, 0)
  await store.close()
  return found.map(([, payload]) => payload.toString())
}

describe("what thousands of logs share", () => {
  test("takes its bytes once on the disk; each log has it", async () => {
    const folder = await filled()
    expect(statSync(join(folder, DATABASE)).size).toBeLessThan(4 * MB)
    expect(rowsIn(folder)).toEqual({ chunks: LOGS.length, references: LOGS.length, bodies: 1, sharers: 1 })
    for (const log of [1, 700, 1500]) expect(await messagesOf(folder, log)).toEqual([LARGE, `own ${log}`])
    expect(inspectStore(folder)).toMatchObject({ messages: 2 * LOGS.length, damaged: 0 })
  })

  test("is one buffer in memory for all who read it at the same time", async () => {
    const store = await opened(await filled())
    const read = await Promise.all(LOGS.map(async (log) => store.read(log, 0, { chunks: 1, bytes: 1 })))
    expect(read.flat().map(({ value }) => value.length > MB)).toEqual(LOGS.map(() => true))
    expect(new Set(read.flat().map(({ value }) => value)).size).toBe(1)
    const again = await store.read(LOGS[0] ?? 0, 0, { chunks: 1, bytes: 1 })
    expect(again[0]?.value).toBe(read[0]?.[0]?.value)
    await store.close()
  })

  test("small messages of many commits, too", async () => {
    const folder = join(temporaryFolder(), "store")
    await during(folder, async (store) => {
      for (let n = 1; n <= 20; n++) await store.commit({ ...NOTHING, appends: sharedChunk(LOGS, n, [`message ${n} `.repeat(20)]) })
    })
    expect(rowsIn(folder)).toMatchObject({ chunks: 0, sharers: rowsIn(folder).bodies })
    expect(statSync(join(folder, DATABASE)).size).toBeLessThan(3 * MB) // 1500 x 20 x 240 bytes would be 7 MB
    expect(await messagesOf(folder, 9)).toEqual(Array.from({ length: 20 }, (_, n) => `message ${n + 1} `.repeat(20)))
  })

  test("goes with the last log that needs it, whenever the store was opened in between", async () => {
    const folder = await filled()
    const cut = async (logs: readonly number[]): Promise<void> =>
      during(folder, (store) => store.commit({ ...NOTHING, cuts: logs.map((log) => ({ log, below: 11 })) }))
    await cut(LOGS.slice(0, 1100))
    expect(rowsIn(folder)).toEqual({ chunks: LOGS.length, references: 400, bodies: 1, sharers: 1 })
    await cut(LOGS.slice(1, -1))
    expect(rowsIn(folder)).toEqual({ chunks: LOGS.length, references: 1, bodies: 1, sharers: 1 })
    expect(await messagesOf(folder, 1500)).toEqual([LARGE, "own 1500"])
    expect(inspectStore(folder).damaged).toBe(0)
    await cut([1500])
    expect(rowsIn(folder)).toEqual({ chunks: LOGS.length, references: 0, bodies: 0, sharers: 0 })
    expect(await messagesOf(folder, 1500)).toEqual(["own 1500"])
  })

  test("one that comes later, after the store was opened again, does not take its place", async () => {
    const folder = await filled([1, 2, 3])
    for (let n = 1; n < 4; n++)
      await during(folder, async (store) => {
        await store.commit({ ...NOTHING, cuts: [1, 2].map((log) => ({ log, below: n * 100 })) })
        await store.commit({ ...NOTHING, appends: sharedChunk([1, 2, 3], n * 100, [`${n} `.repeat(5000)]) })
      })
    expect(await messagesOf(folder, 2)).toEqual(["3 ".repeat(5000)])
    expect(await messagesOf(folder, 3)).toEqual([LARGE, "own 3", ...[1, 2, 3].map((n) => `${n} `.repeat(5000))])
    expect(inspectStore(folder).damaged).toBe(0)
  })
})

/** Changes tables that nobody has open. */
async function change(folder: string, work: (environment: Environment) => Promise<unknown>): Promise<void> {
  const environment = openEnvironment(join(folder, DATABASE))
  await work(environment)
  await environment.root.close()
}

/** Every table has a row with a checksum that is right, and yet the body is another one. */
async function otherBody({ bodies }: Environment): Promise<void> {
  const [key] = Array.from(bodies.getKeys({}))
  const row = key && bodies.get(key)
  const bytes = key && row && checked("bodies", key, row)
  if (!bytes) throw new Error("there is no body")
  const other = Buffer.from(bytes)
  other.write("BEGINS", other.indexOf(MARK))
  await bodies.put(key, withChecksum("bodies", key, other))
}

/** Wherever it is: LMDB writes pages with what else was in memory behind their rows. */
function spoil(bytes: Buffer): void {
  for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, at + 1)) bytes.write("BEGINS", at)
}

const DAMAGES: [string, (folder: string) => Promise<unknown> | void][] = [
  ["spoiled", (folder) => changeFile(join(folder, DATABASE), spoil)],
  ["gone", (folder) => change(folder, ({ bodies }) => bodies.remove(idKey(1)))],
  ["another one", (folder) => change(folder, otherBody)],
]

describe.each(DAMAGES)("a body that is %s", (_, damage) => {
  test("is passed over in each log, and told of each once; what else is there comes", async () => {
    const folder = await filled([1, 2, 3])
    await damage(folder)
    const lost: [log: number, last: number][] = []
    const store = await opened(folder, (one) => lost.push([one.log, one.last]))
    for (let times = 0; times < 2; times++)
      for (const log of [1, 2, 3]) expect((await readOn(store, log, 0)).map(([, payload]) => payload.toString())).toEqual([`own ${log}`])
    expect(lost.toSorted(([one], [other]) => one - other)).toEqual([
      [1, 10],
      [2, 10],
      [3, 10],
    ])
    await store.close()
    expect(inspectStore(folder).damaged).toBeGreaterThan(0)
  })

  test("a repair leaves out what refers to it, says how many rows, and keeps the rest", async () => {
    const folder = await filled([1, 2, 3])
    await damage(folder)
    const { contents, repaired } = await repairStore(folder)
    expect(contents).toMatchObject({ messages: 3, damaged: 0 })
    expect(repaired?.missing?.blocks).toBe(3)
    for (const log of [1, 2, 3]) expect(await messagesOf(folder, log)).toEqual([`own ${log}`])
  })
})

test("a reference that is spoiled: the others that refer to the body have it, and so they have after a repair", async () => {
  const folder = await filled([1, 2, 3])
  await change(folder, async ({ references }) => {
    const [first] = Array.from(references.getKeys({}))
    const row = first && references.get(first)
    if (!row) throw new Error("there is no reference")
    row[20] = (row[20] ?? 0) ^ 1
    await references.put(first, row)
  })
  for (const log of [2, 3]) expect(await messagesOf(folder, log)).toEqual([LARGE, `own ${log}`])
  expect(await messagesOf(folder, 1)).toEqual(["own 1"])
  expect((await repairStore(folder)).contents.damaged).toBe(0)
  for (const log of [2, 3]) expect(await messagesOf(folder, log)).toEqual([LARGE, `own ${log}`])
  await during(folder, (store) => store.commit({ ...NOTHING, cuts: [1, 2, 3].map((log) => ({ log, below: 11 })) }))
  expect(rowsIn(folder)).toMatchObject({ references: 0, bodies: 0, sharers: 0 })
})

test("a meta page is gone: a repair finds bodies and what refers to them", async () => {
  const folder = await filled([1, 2, 3])
  changeFile(join(folder, DATABASE), (bytes) => bytes.fill(0, 0, 4096))
  const { contents } = await repairStore(folder)
  expect(contents).toMatchObject({ messages: 6, damaged: 0 })
  for (const log of [1, 2, 3]) expect(await messagesOf(folder, log)).toEqual([LARGE, `own ${log}`])
})

test("how many refer to a body is not known: it stays, and a repair counts them", async () => {
  const folder = await filled([1, 2, 3])
  await change(folder, ({ sharers }) => sharers.remove(idKey(1)))
  await during(folder, (store) => store.commit({ ...NOTHING, cuts: [{ log: 1, below: 11 }] }))
  for (const log of [2, 3]) expect(await messagesOf(folder, log)).toEqual([LARGE, `own ${log}`])
  expect(inspectStore(folder).damaged).toBe(1)
  await repairStore(folder)
  expect(inspectStore(folder)).toMatchObject({ messages: 5, damaged: 0 })
  await during(folder, (store) => store.commit({ ...NOTHING, cuts: [2, 3].map((log) => ({ log, below: 11 })) }))
  expect(rowsIn(folder)).toMatchObject({ references: 0, bodies: 0, sharers: 0 })
})
