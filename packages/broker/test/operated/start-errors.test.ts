import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { cliPath, onCleanUp, runCli, runProcess, spawnCli, startBroker, temporaryFolder } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { openEnvironment } from "../../src/stores/environment.js"
import { formatRow } from "../../src/stores/formats.js"
import { BROKER_ERRORS } from "../../src/errors.js"
import { Peer } from "../support/peer.js"

test("a taken port: one sentence that says what to do, exit code 10", async () => {
  const broker = await startBroker({ store: "memory:" })
  const second = await runCli("mqtt-broker", ["start", "--store", "memory:", "--port", String(broker.port)])
  expect(second).toMatchObject({
    code: BROKER_ERRORS["cannot-listen"].exitCode,
    stdout: "",
    stderr: `error: port ${broker.port} is already in use\nhint: stop the other broker or use another port\n`,
  })
  await (await Peer.connected(broker.port, 4)).settled()
})

test("a port that another program has", async () => {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  onCleanUp(() => void server.close())
  const address = server.address()
  const port = typeof address === "object" && address ? address.port : 0
  const { code } = await runCli("mqtt-broker", ["start", "--store", "memory:", "--port", String(port)])
  expect(code).toBe(BROKER_ERRORS["cannot-listen"].exitCode)
})

test("an address that this machine does not have: exit code 10", async () => {
  const { code, stderr } = await runCli("mqtt-broker", ["start", "--store", "memory:", "--port", "0", "--host", "192.0.2.1", "--anonymous"])
  expect(code).toBe(BROKER_ERRORS["cannot-listen"].exitCode)
  expect(stderr).toContain('"192.0.2.1" is no address of this machine')
})

test("a folder that another broker uses: exit code 12, and the first goes on", async () => {
  const broker = await startBroker()
  const store = `file:${join(broker.dir, "store")}`
  const second = await runCli("mqtt-broker", ["start", "--port", "0", "--store", store])
  expect(second).toMatchObject({ code: BROKER_ERRORS["store-in-use"].exitCode, stdout: "" })
  expect(second.stderr).toContain(`another broker uses the folder "${join(broker.dir, "store")}"`)
  await (await Peer.connected(broker.port, 4, { clientId: "a", clean: false })).settled()
})

test("six brokers at once on the folder of one that was killed: one gets it", { timeout: 60_000 }, async () => {
  const dead = await startBroker()
  await dead.kill9()
  const store = `file:${join(dead.dir, "store")}`
  const started = Array.from({ length: 6 }, () => spawnCli("mqtt-broker", ["start", "--port", "0", "--store", store]))
  const results = await Promise.allSettled(started.map((one) => one.waitForLine("ready")))
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1)
  const ends = await Promise.all(started.map(async (one, n) => (results[n]?.status === "fulfilled" ? one.stop() : one.waitForEnd())))
  expect(ends.map(({ code }) => code).toSorted((a, b) => Number(a) - Number(b))).toEqual([0, 12, 12, 12, 12, 12])
})

test.each(["a path below a file", "a file instead of a folder"])("%s: exit code 11, one sentence", async (what) => {
  const file = join(temporaryFolder(), "file")
  writeFileSync(file, "x")
  const folder = what.startsWith("a path") ? join(file, "below") : file
  const { code, stderr, stdout } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
  expect([code, stdout]).toEqual([BROKER_ERRORS["store-unusable"].exitCode, ""])
  expect(stderr).toMatch(/^error: the (store in|folder) "/)
  expect(stderr).toContain(`"${folder}" cannot be used: `)
  expect(stderr.trimEnd().split("\n")).toHaveLength(2)
})

test.runIf(process.getuid?.() === 0)("a folder that this user may not write: exit code 11", async () => {
  const folder = join(temporaryFolder(), "store")
  mkdirSync(folder)
  chmodSync(folder, 0o755)
  const probe = spawnSync("setpriv", ["--reuid", "65534", "--clear-groups", "test", "-r", cliPath("mqtt-broker")])
  if (probe.status !== 0) throw new Error("another user cannot read this checkout: clone it elsewhere, or run as that user")
  const args = ["--reuid", "65534", "--clear-groups", process.execPath, cliPath("mqtt-broker"), "start", "--port", "0"]
  const { code, stderr } = await runProcess("setpriv", [...args, "--store", `file:${folder}`])
  expect(code).toBe(BROKER_ERRORS["store-unusable"].exitCode)
  expect(stderr).toMatch(/^error: .*cannot be used/)
})

test.each([1000, 1])("a file that is no database, long or short: exit code 11, and the file is not touched", async (times) => {
  const folder = join(temporaryFolder(), "store")
  mkdirSync(folder)
  const file = join(folder, "mqtt-broker.mdb")
  const bytes = Buffer.from("these are not the bytes of a database".repeat(times))
  writeFileSync(file, bytes)
  const { mtimeMs } = statSync(file)
  const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
  expect(code).toBe(BROKER_ERRORS["store-unusable"].exitCode)
  expect(stderr).toMatch(/^error: .* is not a database of this program\n/)
  expect([readFileSync(file).equals(bytes), statSync(file).mtimeMs]).toEqual([true, mtimeMs])
})

test("a format that this version does not know: refused, exit code 11", async () => {
  const broker = await startBroker()
  await broker.stop()
  const folder = join(broker.dir, "store")
  const { root, meta } = openEnvironment(join(folder, "mqtt-broker.mdb"))
  expect(meta.get(Buffer.from("format"))).toEqual(formatRow())
  await meta.put(Buffer.from("format"), formatRow(250))
  await root.close()
  const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
  expect(code).toBe(BROKER_ERRORS["store-unusable"].exitCode)
  expect(stderr).toContain("use a newer mqtt-broker")
})

test.each([
  [["--max-store", "31MB"], '--max-store: store size "31MB" is less than a store needs, 32MB'],
  [["--max-store", "1GB", "--store", "memory:"], "--max-store is about a store in a folder\nhint: leave it out with --store memory:"],
  [
    ["--max-store", "1GB", "--store", "mongodb://127.0.0.1:1/db"],
    "--max-store is about a store in a folder\nhint: leave it out with MongoDB",
  ],
])("%j: exit code 2 and words", async (args, words) => {
  const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", ...args])
  expect([code, stderr]).toEqual([2, expect.stringContaining(words)])
})
