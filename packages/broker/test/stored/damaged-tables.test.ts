import { randomBytes } from "node:crypto"
import { readFileSync, truncateSync } from "node:fs"
import { join } from "node:path"
import { startBroker } from "@mqtt-trio/testing"
import { beforeAll, describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { checkFile } from "../../src/stores/check-file.js"
import { absent, changeFile, copyOfStore, drain, failedStart, publishAll, wholeSize } from "../support/stored.js"

const UNUSABLE = BROKER_ERRORS["store-unusable"].exitCode
const PAGE = 4096
const MESSAGES = 400

/** Payloads that are found again in the file. */
function payload(n: number): Buffer {
  return Buffer.from(`message ${n} `.padEnd(n % 7 === 0 ? 3000 : 200, "."))
}

const state = { store: "", size: 0 }

beforeAll(async () => {
  // each commit is folded as it comes: rows of a few messages
  const broker = await startBroker({ env: { MQTT_BROKER_TEST_FOLD_BYTES: "1" } })
  for (const name of ["a", "b", "c"]) await absent(broker.port, name, `${name}/#`)
  for (let n = 0; n < MESSAGES; n += 20) {
    const some = Array.from({ length: 20 }, (_, k) => n + k)
    await publishAll(
      broker.port,
      some.map((k) => ({ topic: `${"abc"[k % 3]}/${k}`, payload: payload(k), retain: k % 5 === 0 })),
    )
  }
  // it finds no place among the free pages
  await publishAll(broker.port, [{ topic: "c/large", payload: Buffer.alloc(500_000, "message 400 ") }])
  expect(await broker.stop()).toBe(0)
  state.store = join(broker.dir, "store")
  state.size = wholeSize(join(state.store, "mqtt-broker.mdb"))
})

describe("a damaged file of tables: exit code 11, the file and the command that goes on named", () => {
  test.each([
    ["cut short by a page", "cut short", (file: string) => truncateSync(file, state.size - PAGE)],
    ["cut short by half", "cut short", (file: string) => truncateSync(file, state.size / 2)],
    ["64 random bytes in every fifth page", "damaged at page 0", everyFifth],
    ["64 random bytes in every fifth page but the first", "is damaged", (file: string) => everyFifth(file, 5)],
    ["a zeroed meta page, the first one", "damaged at page 0", zeroPage(0)],
    ["a zeroed meta page, the second one", "damaged at page 1", zeroPage(1)],
    ["both meta pages zeroed", "damaged at page 0", (file: string) => [0, 1].forEach((n) => zeroPage(n)(file))],
    ["nothing in it", "is empty", (file: string) => truncateSync(file, 0)],
  ])("%s", async (_, words, damage) => {
    const [folder, file] = copyOfStore(state.store)
    damage(file)
    const before = readFileSync(file)
    const { code, signal, stderr } = await failedStart(folder)
    expect([code, signal]).toEqual([UNUSABLE, null])
    expect(stderr).toContain(JSON.stringify(file))
    expect(stderr).toContain(words)
    expect(stderr).toContain(`mqtt-broker repair --store file:${folder} keeps what is intact`)
    expect(readFileSync(file).equals(before)).toBe(true)
  })

  test.each([
    ["format 0", 0, "its format is 0, which there never was"],
    ["a format of random bytes", 0x5a3c_0102, "what says its format is damaged"],
  ])("%s", async (_, format, words) => {
    const [folder, file] = copyOfStore(state.store)
    changeFile(file, (bytes) => {
      for (let at = bytes.indexOf("format"); at >= 0; at = bytes.indexOf("format", at + 1)) bytes.writeUInt32BE(format, at + 6)
    })
    const { code, stderr } = await failedStart(folder)
    expect(code).toBe(UNUSABLE)
    expect(stderr).toContain(words)
    expect(stderr).toContain("mqtt-broker repair --store ")
  })
})

function zeroPage(n: number): (file: string) => void {
  return (file) => changeFile(file, (bytes) => bytes.fill(0, n * PAGE, (n + 1) * PAGE))
}

function everyFifth(file: string, from = 0): void {
  changeFile(file, (bytes) => {
    for (let page = from; (page + 1) * PAGE <= bytes.length; page += 5) randomBytes(64).copy(bytes, page * PAGE)
  })
}

test("a session's row that is not what was written: exit code 11, and words", async () => {
  const [folder, file] = copyOfStore(state.store)
  changeFile(file, (bytes) => {
    for (let at = bytes.indexOf('{"clientId":"b"'); at >= 0; at = bytes.indexOf('{"clientId":"b"', at + 1)) bytes.write("x", at + 13)
  })
  const { code, stderr } = await failedStart(folder)
  expect(code).toBe(UNUSABLE)
  expect(stderr).toContain("a session in it is damaged")
  expect(stderr).toContain("mqtt-broker repair --store ")
})

test("a row of messages that is not what was written: left out and told once, all others come in order", async () => {
  const [folder, file] = copyOfStore(state.store)
  const spoiled = "message 201 "
  changeFile(file, (bytes) => {
    for (let at = bytes.indexOf(spoiled); at >= 0; at = bytes.indexOf(spoiled, at + 1)) bytes.write("M", at)
  })
  const broker = await startBroker({ store: `file:${folder}` })
  const came = (await drain(broker.port, "a")).map((text) => Number(/\d+/.exec(text)?.[0]))
  expect(came).toEqual(came.toSorted((a, b) => a - b))
  expect(came).not.toContain(201)
  const sent = Array.from({ length: MESSAGES }, (_, n) => n).filter((n) => n % 3 === 0)
  expect(sent.filter((n) => !came.includes(n)).length).toBeLessThan(21)
  expect(broker.stderr.match(/queued messages are lost/g)).toHaveLength(1)
  await publishAll(broker.port, [{ topic: "a/new", payload: Buffer.from("message 1000") }])
  expect(await drain(broker.port, "a")).toEqual(["message 1000"])
})

describe("what LMDB would follow, each damage by itself", () => {
  /** Random bytes that change every time, a few at a time, in pages that are in use. */
  test("a few random bytes anywhere: found, or of no matter to what the pages say", () => {
    const [, file] = copyOfStore(state.store)
    const whole = readFileSync(file)
    let found = 0
    for (let seed = 1; seed <= 300; seed++) {
      changeFile(file, (bytes) => {
        whole.copy(bytes)
        const page = (seed * 2_654_435_761) % Math.floor(bytes.length / PAGE)
        bytes.writeUInt32LE((seed * 40_503) >>> 0, page * PAGE + (((seed * 48_271) % 48) & ~3))
      })
      try {
        checkFile(file)
      } catch {
        found++
      }
    }
    expect(found).toBeGreaterThan(60)
  })
})
