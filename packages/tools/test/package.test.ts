import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, expect, test } from "vitest"
import { RunningProcess, runProcess, temporaryFolder } from "@mqtt-trio/testing"

const COMMANDS = ["mqtt-broker", "mqtt-pub", "mqtt-sub"]
const MOST_BYTES = 10 << 20
const OLD_VERSION = "0.0.1"
const INSTALL = "npm install --global"
const README = readFileSync(new URL("../../../README.md", import.meta.url), "utf8")

const folder = temporaryFolder()
const prefix = join(folder, "prefix")
const store = `file:${join(folder, "data")}`
let version = ""

/** Runs a line of the README in the archive's folder, as on a machine without a network that has never installed anything. */
async function shell(beginning: string, edit = (line: string): string => line): Promise<void> {
  const line = README.split("\n").find((one) => one.startsWith(beginning))
  if (line === undefined) throw new Error(`the README has no line that begins with ${beginning}`)
  const config = {
    registry: "http://127.0.0.1:1/",
    cache: join(folder, "cache"),
    fetch_retries: "0",
    prefix,
    offline: "true",
    audit: "false",
  }
  const env = Object.fromEntries(Object.entries(config).map(([name, setting]) => [`npm_config_${name}`, setting]))
  const { code, stderr } = await runProcess("bash", ["--norc", "-c", edit(line)], { cwd: folder, env, timeoutMs: 120_000 })
  expect(code, stderr).toBe(0)
}

function run(command: string, ...args: string[]): ReturnType<typeof runProcess> {
  return runProcess(join(prefix, "bin", command), args, { cwd: folder, timeoutMs: 60_000 })
}

async function withBroker(work: (url: string) => Promise<void>): Promise<void> {
  const broker = new RunningProcess(join(prefix, "bin/mqtt-broker"), ["start", "--port", "0", "--store", store, "--json"], { cwd: folder })
  const ready: { url: string } = JSON.parse(await broker.waitForLine(/ready/))
  await work(ready.url)
  expect(await broker.stop("SIGTERM")).toMatchObject({ code: 0 })
}

function bytesIn(path: string): number {
  const found = lstatSync(path)
  return found.isDirectory() ? readdirSync(path).reduce((sum, name) => sum + bytesIn(join(path, name)), 0) : found.size
}

beforeAll(async () => {
  const script = new URL("../package.mjs", import.meta.url).pathname
  const packed = await runProcess(process.execPath, [script, folder], { timeoutMs: 180_000 })
  expect(packed.code, packed.stderr).toBe(0)
  const archive = packed.stdout.trim()
  // the same one as an older version
  const unpacked = join(folder, "older")
  mkdirSync(unpacked)
  expect(await runProcess("tar", ["-xzf", archive, "-C", unpacked])).toMatchObject({ code: 0 })
  const manifest: { version: string } = JSON.parse(readFileSync(join(unpacked, "package/package.json"), "utf8"))
  version = manifest.version
  for (const path of ["package.json", "lib/broker/package.json", "lib/pub/package.json", "lib/sub/package.json"]) {
    const file = join(unpacked, "package", path)
    writeFileSync(file, readFileSync(file, "utf8").replace(`"version": "${version}"`, `"version": "${OLD_VERSION}"`))
  }
  expect(await runProcess("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: join(unpacked, "package") })).toMatchObject({
    code: 0,
  })
}, 300_000)

test("one archive: npm installs it alone and offline, three commands and nothing else are on the PATH", { timeout: 180_000 }, async () => {
  await shell(INSTALL, (line) => line.replace(`-${version}.`, `-${OLD_VERSION}.`))
  expect(readdirSync(join(prefix, "bin")).toSorted()).toEqual(COMMANDS)
  expect(readdirSync(join(prefix, "lib/node_modules"))).toEqual(["mqtt-trio"])
  for (const command of COMMANDS) expect(await run(command, "--version")).toMatchObject({ code: 0, stdout: `${OLD_VERSION}\n`, stderr: "" })
})

test("below 10 MB beside LMDB's builds, and the licences of what is in it", () => {
  const installed = join(prefix, "lib/node_modules/mqtt-trio")
  const builds = join(installed, "node_modules/@lmdb")
  expect(bytesIn(builds)).toBeGreaterThan(0)
  expect(bytesIn(installed) - bytesIn(builds)).toBeLessThan(MOST_BYTES)
  expect(readFileSync(join(installed, "THIRD-PARTY-LICENSES.txt"), "utf8")).toMatch(/aedes 2[^]*commander 14[^]*pino /)
  expect(readFileSync(join(installed, "lib/pub/dist/bundle/THIRD-PARTY-LICENSES.txt"), "utf8")).toContain("mqtt 5.16.0")
})

test("a queue outlives the upgrade from an older version", { timeout: 180_000 }, async () => {
  const session = ["test", "--client", "away", "--persistent"]
  await withBroker(async (url) => {
    expect(await run("mqtt-sub", ...session, "-E", "-L", url)).toMatchObject({ code: 0 })
    expect(await run("mqtt-pub", "test", "kept", "-L", url)).toMatchObject({ code: 0 })
  })
  await shell(INSTALL)
  for (const command of COMMANDS) expect(await run(command, "--version")).toMatchObject({ code: 0, stdout: `${version}\n` })
  await withBroker(async (url) => {
    expect(await run("mqtt-sub", ...session, "-C", "1", "-W", "30", "-L", url)).toMatchObject({ code: 0, stdout: "kept\n" })
  })
})

test("the installed broker has the thread that hashes passwords, argon2id too", async () => {
  const file = join(prefix, "lib/node_modules/mqtt-trio/lib/broker/dist/hash-worker.js")
  // "secret", by libargon2
  const [salt, digest] = ["AAECAwQFBgcICQoLDA0ODw==", "sAB5SsCsBD0gmb5FJXoHOsOkGSa93chcRYo67KPvF8c="]
  const program = `
    import { Worker } from "node:worker_threads"
    const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"))
    const hash = { kind: "argon2id", memoryKib: 64, iterations: 1, lanes: 1, salt: bytes("${salt}"), digest: bytes("${digest}") }
    const thread = new Worker(${JSON.stringify(file)}, { execArgv: [] })
    thread.once("message", (answer) => {
      console.log(JSON.stringify(answer))
      thread.terminate()
    })
    thread.postMessage({ hash, password: Buffer.from("secret") })`
  expect(await runProcess(process.execPath, ["--input-type=module", "-e", program])).toMatchObject({ code: 0, stdout: '{"right":true}\n' })
})

test("the installed broker can torture itself", { timeout: 120_000 }, async () => {
  const { code, stdout } = await run("mqtt-broker", "torture", "--rounds", "1", "--shape", "live", "--quiet", "--json")
  expect(JSON.parse(stdout)).toMatchObject({ clean: true })
  expect(code).toBe(0)
})

test("uninstalled, nothing is left but the data", { timeout: 120_000 }, async () => {
  await shell("npm uninstall")
  expect(readdirSync(join(prefix, "bin"))).toEqual([])
  expect(readdirSync(join(prefix, "lib/node_modules")).filter((name) => !name.startsWith("."))).toEqual([])
  expect(existsSync(join(folder, "data"))).toBe(true)
})
