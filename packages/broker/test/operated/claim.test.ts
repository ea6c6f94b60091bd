import { spawnSync } from "node:child_process"
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { cliPath, runCli, runProcess, RunningProcess, spawnCli, startBroker, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"

const CONTENDERS = 8
const SECONDS = 2
const SCRIPT = fileURLToPath(new URL("../support/folder-contender.mjs", import.meta.url))
const LONG = join("x".repeat(120), "y".repeat(120))

/** A way to a folder: its path, and where temporary files go. */
interface Way {
  path: string
  env: Record<string, string>
}

/** Eight ways to one folder: by its path, by links with short and long names, each with another folder for temporary files. */
function waysTo(folder: string): Way[] {
  return Array.from({ length: CONTENDERS }, (_, n) => {
    const temporary = temporaryFolder()
    const path = [folder, join(temporary, "link"), join(temporary, LONG)][n % 3] ?? folder
    if (path !== folder) {
      mkdirSync(join(path, ".."), { recursive: true })
      symlinkSync(folder, path)
    }
    return { path, env: { TMPDIR: temporary } }
  })
}

const FOLDERS = ["short", LONG, ` it's "odd"\n\u202E%2F#?*é\u{1F980}`, join("z".repeat(30), "w".repeat(30))]

/** One process after the other, each until it is killed or the time is over. Returns what they printed. */
async function contenders({ path, env }: Way): Promise<string[]> {
  const lines: string[] = []
  for (const end = performance.now() + SECONDS * 1000; performance.now() < end;) {
    const args = [SCRIPT, path, String((end - performance.now()) / 1000)]
    const { stdout, stderr } = await runProcess(process.execPath, args, { env })
    expect(stderr).toBe("")
    lines.push(...stdout.trimEnd().split("\n"))
  }
  return lines
}

test.each(FOLDERS)("a folder has one owner at a time, whoever comes, goes and is killed, by whatever way: %j", async (name) => {
  const folder = join(temporaryFolder(), name)
  mkdirSync(folder, { recursive: true })
  const lines = (await Promise.all(waysTo(folder).map(contenders))).flat()
  expect(lines.filter((line) => line === "robbed")).toEqual([])
  expect(lines.filter((line) => line === "held").length).toBeGreaterThan(CONTENDERS)
  expect(readdirSync(folder).filter((file) => file.endsWith(".sock"))).toHaveLength(1)
})

test.each(FOLDERS.slice(1, 3))(
  "of eight brokers at once, each by its own way, one gets a folder, and each way finds it: %j",
  async (name) => {
    const folder = join(temporaryFolder(), name)
    mkdirSync(folder, { recursive: true })
    const ways = waysTo(folder)
    const started = ways.map(({ path, env }) => spawnCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${path}`], { env }))
    const results = await Promise.allSettled(started.map((one) => one.waitForLine("ready")))
    const codes = await Promise.all(
      started.map(async (one, n) => (results[n]?.status === "fulfilled" ? "ready" : (await one.waitForEnd()).code)),
    )
    expect(codes.filter((code) => code !== 12)).toEqual(["ready"])
    for (const { path, env } of ways)
      expect(await runCli("mqtt-broker", ["queue", "nobody", "--store", `file:${path}`], { env })).toMatchObject({ code: 14 })
  },
)

test("a relative path is the same folder", async () => {
  const broker = await startBroker()
  const path = relative(process.cwd(), join(broker.dir, "store"))
  expect(await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${path}`])).toMatchObject({ code: 12 })
  expect(await runCli("mqtt-broker", ["queue", "nobody", "--store", `file:${path}`])).toMatchObject({ code: 14 })
})

const mayMount = process.getuid?.() === 0 && spawnSync("unshare", ["-m", "true"]).status === 0

test.runIf(mayMount)("a folder that is mounted at a second place is the same folder", async () => {
  const broker = await startBroker()
  const place = temporaryFolder()
  const store = `file:${place}`
  const script = `mount --bind "$1" "$2" && shift 2 && exec "$@"`
  const there = (...args: string[]): ReturnType<typeof runProcess> =>
    runProcess("unshare", [
      "-m",
      "sh",
      "-c",
      script,
      "sh",
      join(broker.dir, "store"),
      place,
      process.execPath,
      cliPath("mqtt-broker"),
      ...args,
    ])
  expect(await there("start", "--port", "0", "--store", store)).toMatchObject({ code: 12 })
  expect(await there("queue", "nobody", "--store", store)).toMatchObject({ code: 14 })
})

const isRoot = process.getuid?.() === 0

/** A folder of root's that everybody may write, as those below /tmp. */
function sharedFolder(): string {
  const folder = temporaryFolder()
  chmodSync(join(folder, ".."), 0o711 | statSync(join(folder, "..")).mode)
  chmodSync(folder, 0o1777)
  return folder
}

/** Sockets of another user, who listens on them. */
async function strangersSockets(folder: string, names: string[]): Promise<RunningProcess> {
  const script = `for (const name of process.argv.slice(1)) require("net").createServer().listen(name); process.stdout.write("there\\n")`
  const paths = names.map((name) => join(folder, name))
  const args = ["--reuid", "65534", "--clear-groups", process.execPath, "-e", script, ...paths]
  const stranger = new RunningProcess("setpriv", args, {})
  await stranger.waitForLine("there")
  await waitFor(() => paths.every((path) => existsSync(path)), { what: "the sockets" })
  return stranger
}

test.runIf(isRoot)("another user's sockets in a folder that was shared are no locks, and nobody is asked on them", async () => {
  const folder = sharedFolder()
  await strangersSockets(folder, ["admin.1.sock", "admin.2.sock", "admin.7.sock", "admin.999999999999999.sock"])
  const store = `file:${folder}`
  expect(await runCli("mqtt-broker", ["queue", "nobody", "--store", store])).toMatchObject({ code: 13 })
  chmodSync(folder, 0o755)
  const started = Array.from({ length: CONTENDERS }, () => spawnCli("mqtt-broker", ["start", "--port", "0", "--store", store]))
  const results = await Promise.allSettled(started.map((one) => one.waitForLine("ready")))
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1)
  expect(await runCli("mqtt-broker", ["queue", "nobody", "--store", store])).toMatchObject({ code: 14 })
})

test.runIf(isRoot)("another user's database in a folder that was shared is not used", async () => {
  const folder = sharedFolder()
  writeFileSync(join(folder, "mqtt-broker.mdb"), "")
  chownSync(join(folder, "mqtt-broker.mdb"), 65534, 65534)
  chmodSync(folder, 0o755)
  const { code, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
  expect([code, stderr]).toEqual([11, expect.stringContaining("belongs to another user (65534)")])
})

test.runIf(isRoot)("root's tools find the broker of the folder's owner", async () => {
  const folder = sharedFolder()
  chmodSync(folder, 0o700)
  chownSync(folder, 65534, 65534)
  const broker = [process.execPath, cliPath("mqtt-broker"), "start", "--port", "0", "--store", `file:${folder}`]
  await new RunningProcess("setpriv", ["--reuid", "65534", "--clear-groups", ...broker]).waitForLine("ready")
  expect(await runCli("mqtt-broker", ["queue", "nobody", "--store", `file:${folder}`])).toMatchObject({ code: 14 })
})

function start(place: string): ReturnType<typeof runCli> {
  return runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${place}`])
}

test("a lock that somebody removed lets no second broker in, nor does the database by another name", async () => {
  const broker = await startBroker()
  const folder = join(broker.dir, "store")
  for (const name of readdirSync(folder)) if (name.endsWith(".sock")) unlinkSync(join(folder, name))
  expect(await start(folder)).toMatchObject({ code: 12 })
  for (const link of [linkSync, symlinkSync]) {
    const place = temporaryFolder()
    link(join(folder, "mqtt-broker.mdb"), join(place, "mqtt-broker.mdb"))
    // oxlint-disable-next-line no-await-in-loop -- one broker after the other
    expect(await start(place)).toMatchObject({ code: 11, stderr: expect.stringContaining("is a link to a file with another name") })
    unlinkSync(join(place, "mqtt-broker.mdb"))
  }
  await broker.kill9()
  await broker.restart()
})

test("a broker whose database lost its lock file acknowledges nothing more", async () => {
  const broker = await startBroker()
  expect(await runCli("mqtt-sub", ["t", "--client", "s", "-c", "-E", "-p", String(broker.port)])).toMatchObject({ code: 0 })
  unlinkSync(join(broker.dir, "store", "mqtt-broker.mdb-lock"))
  const publisher = spawnCli("mqtt-pub", ["t", "x", "-p", String(broker.port)])
  await waitFor(() => broker.stderr.includes("was removed; start the broker again"), { what: "the broker's word" })
  publisher.child.kill("SIGKILL")
  await publisher.waitForEnd()
  expect(publisher.stdout).toBe("")
})
