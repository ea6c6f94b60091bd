import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { onCleanUp, runCli, startBroker, temporaryFolder, type TestBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { expectAlive } from "../support/alive.js"
import { absent, drain, publishAll } from "../support/stored.js"

function backup(broker: TestBroker, folder: string, ...args: string[]): ReturnType<typeof runCli> {
  return runCli("mqtt-broker", ["backup", folder, "--store", `file:${join(broker.dir, "store")}`, ...args], { cwd: broker.dir })
}

function numbered(from: number, to: number): { topic: string; payload: Buffer }[] {
  return Array.from({ length: to - from }, (_, k) => ({ topic: "a/b", payload: Buffer.from(`${from + k}`) }))
}

function numbers(from: number, to: number): string[] {
  return numbered(from, to).map(({ payload }) => payload.toString())
}

/** Small segments and folds: the journal goes round. */
const SMALL = { MQTT_BROKER_TEST_SEGMENT_BYTES: "65536", MQTT_BROKER_TEST_FOLD_BYTES: "8192" }

test("everything acknowledged before is in the copy, however often it is made while messages come; a broker starts on it", async () => {
  const broker = await startBroker({ env: SMALL })
  await absent(broker.port, "s", "a/#")
  await publishAll(broker.port, [{ topic: "kept", payload: Buffer.from("k"), retain: true }])
  let sent = 0
  const state = { on: true }
  const publishing = (async () => {
    while (state.on) {
      await publishAll(broker.port, numbered(sent, sent + 50))
      sent += 50
    }
  })()
  for (let round = 0; round < 6; round++) {
    const before = sent
    const folder = join(broker.dir, `copy${round}`)
    const { code, stdout, stderr } = await backup(broker, folder, "--json")
    expect([code, stderr]).toEqual([0, ""])
    expect(JSON.parse(stdout)).toMatchObject({ folder, sessions: 1, subscriptions: 1, retained: 1, wills: 0, damaged: 0 })
    const copy = await startBroker({ store: `file:${folder}` })
    const came = await drain(copy.port, "s")
    expect(came.length).toBeGreaterThanOrEqual(before)
    expect(came).toEqual(numbers(0, came.length))
    expect(await copy.stop()).toBe(0)
  }
  state.on = false
  await publishing
  await broker.kill9()
  await broker.restart()
  expect(await drain(broker.port, "s")).toEqual(numbers(0, sent))
})

test("a new folder is for its owner alone, with files that are; the words say what is in it", async () => {
  const broker = await startBroker()
  await absent(broker.port, "s", "a/#")
  await publishAll(broker.port, numbered(0, 3))
  const { code, stdout } = await backup(broker, "deep/copy")
  const folder = join(broker.dir, "deep", "copy")
  expect(code).toBe(0)
  expect(stdout).toBe(`copied to ${JSON.stringify(folder)}: 1 session, 1 subscription, 3 stored messages, 0 retained messages, 0 Wills\n`)
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  for (const name of readdirSync(folder)) expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600])
})

test("a folder with something in it: exit code 11, and it stays as it is", async () => {
  const broker = await startBroker()
  const folder = join(broker.dir, "full")
  mkdirSync(folder)
  writeFileSync(join(folder, "mine"), "")
  const { code, stdout, stderr } = await backup(broker, folder)
  expect([code, stdout]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, ""])
  expect(stderr).toContain(`no copy can be made in ${JSON.stringify(folder)}: it has something in it, such as "mine"`)
  expect(readdirSync(folder)).toEqual(["mine"])
})

test("no broker runs: exit code 13, and the words say that the folder may be copied", async () => {
  const folder = temporaryFolder()
  const { code, stderr } = await runCli("mqtt-broker", ["backup", join(folder, "copy"), "--store", `file:${folder}`])
  expect(code).toBe(BROKER_ERRORS["no-broker"].exitCode)
  expect(stderr).toContain("may be copied like any folder")
})

const mayMount = process.getuid?.() === 0 && spawnSync("unshare", ["-m", "true"]).status === 0

describe.runIf(mayMount)("a disk that is full", () => {
  test("exit code 11, nothing is left there, and the broker goes on", async () => {
    const disk = temporaryFolder()
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", disk]).status).toBe(0)
    onCleanUp(() => void spawnSync("umount", ["-l", disk]))
    const broker = await startBroker()
    await absent(broker.port, "s", "a/#")
    await publishAll(broker.port, [
      { topic: "a/b", payload: Buffer.alloc(900_000, "x") },
      { topic: "a/b", payload: Buffer.alloc(900_000, "y") },
    ])
    const { code, stderr } = await backup(broker, join(disk, "copy"))
    expect(code).toBe(BROKER_ERRORS["store-unusable"].exitCode)
    expect(stderr).toMatch(/no copy can be made in .*: no space left on device/i)
    expect(readdirSync(disk)).toEqual([])
    await expectAlive(broker)
    await publishAll(broker.port, numbered(0, 3))
    expect((await drain(broker.port, "s")).slice(2)).toEqual(numbers(0, 3))
  })
})
