import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { runCli, startBroker } from "@mqtt-trio/testing"
import { beforeAll, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { absent, copyOfStore, drain, publishAll } from "../support/stored.js"

const MB = 1 << 20
const state = { store: "", size: 0 }

function compact(folder: string, ...args: string[]): ReturnType<typeof runCli> {
  return runCli("mqtt-broker", ["compact", "--store", `file:${folder}`, ...args])
}

function large(count: number): { topic: string; payload: Buffer }[] {
  return Array.from({ length: count }, () => ({ topic: "a/large", payload: Buffer.alloc(500_000, "x") }))
}

/** A store whose file is nearly free: what waited was delivered. */
beforeAll(async () => {
  const broker = await startBroker({ env: { MQTT_BROKER_TEST_FOLD_BYTES: "65536" } })
  await absent(broker.port, "s", "a/#")
  await publishAll(broker.port, large(12))
  expect(await broker.stop()).toBe(0)
  await broker.restart()
  expect(await drain(broker.port, "s")).toHaveLength(12)
  await publishAll(broker.port, [{ topic: "a/small", payload: Buffer.from("stays") }])
  expect(await broker.stop()).toBe(0)
  state.store = join(broker.dir, "store")
  state.size = statSync(join(state.store, "mqtt-broker.mdb")).size
  expect(state.size).toBeGreaterThan(5 * MB)
})

test("the command: the space is given back, the sizes are said, what is stored stays", async () => {
  const [folder, file] = copyOfStore(state.store)
  const { code, stdout } = await compact(folder)
  const { size } = statSync(file)
  expect([code, stdout]).toEqual([0, `${JSON.stringify(folder)} took ${state.size} bytes, and takes ${size} now\n`])
  expect(size).toBeLessThan(MB)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const broker = await startBroker({ store: `file:${folder}` })
  expect(await drain(broker.port, "s")).toEqual(["stays"])
  await publishAll(broker.port, large(3))
  await broker.kill9()
  await broker.restart()
  expect(await drain(broker.port, "s")).toHaveLength(3)
})

test("at start, when most of a large file is free: it is done, and logged; a smaller one is left as it is", async () => {
  const [folder, file] = copyOfStore(state.store)
  const smaller = await startBroker({ store: `file:${folder}` })
  expect(await smaller.stop()).toBe(0)
  expect(statSync(file).size).toBeGreaterThan(5 * MB)
  const broker = await startBroker({ store: `file:${folder}`, env: { MQTT_BROKER_TEST_COMPACT_BYTES: `${MB}` } })
  expect(broker.stderr).toMatch(
    new RegExp(
      `most of the store's file was free: it takes \\d+ bytes now, and took ${statSync(join(state.store, "mqtt-broker.mdb")).size}`,
    ),
  )
  expect(statSync(file).size).toBeLessThan(MB)
  expect(await drain(broker.port, "s")).toEqual(["stays"])
})

test("what one that was killed left is no matter: the file is whole, the next one ends it", async () => {
  const [folder, file] = copyOfStore(state.store)
  writeFileSync(`${file}.compacted`, readFileSync(file).subarray(0, 100_000))
  const broker = await startBroker({ store: `file:${folder}` })
  expect(await broker.stop()).toBe(0)
  expect((await compact(folder)).code).toBe(0)
  expect(existsSync(`${file}.compacted`)).toBe(false)
  expect(statSync(file).size).toBeLessThan(MB)
})

test("a damaged file: exit code 11, and it stays as it is; a broker uses it: exit code 12; no store: 11", async () => {
  const [folder, file] = copyOfStore(state.store)
  truncateSync(file, 5000)
  const { code, stderr } = await compact(folder)
  expect([code, statSync(file).size]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, 5000])
  expect(stderr).toContain(`mqtt-broker repair --store file:${folder}`)
  const broker = await startBroker()
  expect((await compact(join(broker.dir, "store"))).code).toBe(BROKER_ERRORS["store-in-use"].exitCode)
  expect((await compact(broker.dir)).stderr).toContain("there is no store in it")
  expect(readdirSync(broker.dir)).not.toContain("mqtt-broker.mdb")
})
