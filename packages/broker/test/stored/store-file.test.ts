import { copyFileSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { runCli, spawnCli, startBroker, temporaryFolder } from "@mqtt-trio/testing"
import { beforeAll, describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { checkFile } from "../../src/stores/check-file.js"
import { Peer } from "../support/peer.js"
import { mayMount, smallDisk } from "../support/small-disk.js"
import { wholeSize } from "../support/stored.js"
import { properties, publish, puback, sessionExpiry } from "../support/wire.js"

const UNUSABLE = BROKER_ERRORS["store-unusable"].exitCode
const MESSAGES = 1500

/** Starts a broker that must refuse; what it says. */
async function refusal(folder: string): Promise<string> {
  const { code, stdout, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
  expect([code, stdout]).toEqual([UNUSABLE, ""])
  return stderr
}

describe("a store file that is cut short: exit code 11 at start, and words", () => {
  const state = { file: "", size: 0 }

  beforeAll(async () => {
    const broker = await startBroker()
    const peer = await Peer.connected(broker.port, 5, { clientId: "s", clean: false, properties: properties(sessionExpiry(1000)) })
    await peer.subscribe(["x", 1])
    peer.cut()
    const publisher = await Peer.connected(broker.port, 5)
    for (let n = 1; n <= MESSAGES; n++) {
      publisher.send(publish(5, { topic: "x", qos: 1, packetId: n, payload: Buffer.alloc(n % 300, 120) }))
      expect(await publisher.next()).toEqual(puback(n))
    }
    expect(await broker.stop()).toBe(0)
    // it finds no place among the free pages
    await broker.restart()
    const again = await Peer.connected(broker.port, 5)
    again.send(publish(5, { topic: "x", qos: 1, packetId: 1, payload: Buffer.alloc(500_000) }))
    expect(await again.next()).toEqual(puback(1))
    expect(await broker.stop()).toBe(0)
    state.file = join(broker.dir, "store", "mqtt-broker.mdb")
    state.size = wholeSize(state.file)
    truncateSync(state.file, state.size)
  })

  /** A folder with a copy of it. */
  function copy(): [folder: string, file: string] {
    const folder = temporaryFolder()
    const file = join(folder, "mqtt-broker.mdb")
    copyFileSync(state.file, file)
    return [folder, file]
  }

  test.each([
    ["one byte less", (size: number) => size - 1],
    ["one page less", (size: number) => size - 4096],
    ["half of it", (size: number) => Math.floor(size / 2)],
    ["its first two pages", () => 8192],
    ["its first page", () => 4096],
    ["less than a meta page", () => 100],
    ["less than its mark", () => 20],
  ])("%s", async (_, left) => {
    const [folder, file] = copy()
    truncateSync(file, left(state.size))
    const cut = readFileSync(file)
    expect(await refusal(folder)).toMatch(/^error: .*mqtt-broker\.mdb" is cut short at \d+ bytes/)
    expect(readFileSync(file).equals(cut)).toBe(true)
  })

  test("nothing", async () => {
    const [folder, file] = copy()
    truncateSync(file, 0)
    expect(await refusal(folder)).toContain('mqtt-broker.mdb" is empty; remove it if nothing was ever stored here')
  })

  test("a whole one is none of these", async () => {
    const [folder] = copy()
    await startBroker({ store: `file:${folder}` })
    const { stdout } = await runCli("mqtt-broker", ["queue", "s", "--peek", "0", "--json", "--store", `file:${folder}`])
    expect(stdout).toContain(`"messages":${MESSAGES + 1}`)
  })

  test("a file that ends before its last page lacks nothing when the pages behind its end are free", () => {
    const [, file] = copy()
    const bytes = readFileSync(file)
    for (const at of [144, 4096 + 144]) bytes.writeBigUInt64LE(bytes.readBigUInt64LE(at) + 5n, at)
    writeFileSync(file, bytes)
    expect(() => checkFile(file)).not.toThrow()
    truncateSync(file, bytes.length - 4096)
    expect(() => checkFile(file)).toThrow("cut short")
  })
})

test("a folder that holds other things: exit code 11, and nothing is written there", async () => {
  const folder = temporaryFolder()
  writeFileSync(join(folder, "passwd"), "")
  expect(await refusal(folder)).toMatch(/ it holds other things, such as "passwd", and no store; a new store needs an empty folder\n/)
  expect(readdirSync(folder)).toEqual(["passwd"])
})

test("the root of a new file system is as good as empty; a store may have other things beside it", async () => {
  const folder = temporaryFolder()
  mkdirSync(join(folder, "lost+found"))
  const broker = await startBroker({ store: `file:${folder}` })
  writeFileSync(join(folder, "README"), "the broker's")
  await broker.kill9()
  await broker.restart()
})

describe.runIf(mayMount)("a folder with less than 16 MB free", () => {
  test("a new store: exit code 11", async () => {
    const folder = smallDisk(8)
    expect(await refusal(folder)).toContain("less than 16 MB are free")
    expect(readdirSync(folder)).toEqual([])
  })

  test("a store that is there: the broker says so, and starts", async () => {
    const folder = smallDisk(32)
    const args = ["start", "--port", "0", "--store", `file:${folder}`]
    const first = spawnCli("mqtt-broker", args)
    await first.waitForLine("ready")
    await first.stop()
    writeFileSync(join(folder, "ballast"), Buffer.alloc(24 << 20))
    const broker = spawnCli("mqtt-broker", args)
    await broker.waitForLine("ready")
    expect(await broker.waitForLine("16 MB", { stream: "stderr" })).toMatch(/WARN.*no room for messages.*16 MB of its disk/)
  })
})
