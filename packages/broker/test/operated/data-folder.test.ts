import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { cliPath, runCli, RunningProcess, type RunResult, spawnCli, startBroker, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"

const isRoot = process.geteuid?.() === 0
const NOBODY = 65_534
const CHMOD = "hint: take that away with chmod go-w"

/** A folder with these permissions. */
function folderWith(mode: number, name = "store"): string {
  const folder = join(temporaryFolder(), name)
  mkdirSync(folder)
  chmodSync(folder, mode)
  return folder
}

const start = (folder: string): Promise<RunResult> => runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])

/** Starts a broker that must start, and stops it. */
async function serves(folder: string): Promise<void> {
  const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
  await broker.waitForLine("ready")
  expect((await broker.stop()).code).toBe(0)
}

function refusal(folder: string, hint: string, place = folder): string {
  return `error: the store in ${JSON.stringify(folder)} cannot be used: others than its owner may write to ${JSON.stringify(place)}\n${hint}\n`
}

describe.skipIf(process.platform === "win32")("a data folder that others can write", () => {
  test.each([
    ["702", 0o702],
    ["777", 0o777],
  ] as const)("mode %s: refused by start, and not touched", async (_, mode) => {
    const folder = folderWith(mode)
    expect(await start(folder)).toMatchObject({ code: 11, stdout: "", stderr: refusal(folder, CHMOD) })
    expect([readdirSync(folder), statSync(folder).mode & 0o7777]).toEqual([[], mode])
    chmodSync(folder, mode & ~0o022)
    await serves(folder)
  })

  test.each([
    ["770", 0o770],
    ["720", 0o720],
    ["1777", 0o1777],
  ] as const)("mode %s: the same; a new folder in it may be used", async (_, mode) => {
    const folder = folderWith(mode)
    const more = ", or name a folder in it that does not exist yet: it is made for the broker alone"
    expect(await start(folder)).toMatchObject({ code: 11, stdout: "", stderr: refusal(folder, CHMOD + more) })
    expect([readdirSync(folder), statSync(folder).mode & 0o7777]).toEqual([[], mode])
    await serves(join(folder, "new"))
  })

  test.each([
    ["755", 0o755],
    ["750", 0o750],
    ["700", 0o700],
  ] as const)("mode %s: served", (_, mode) => serves(folderWith(mode)))

  test("by a link: what it leads to counts", async () => {
    const [open, link] = [folderWith(0o777), join(temporaryFolder(), "link")]
    symlinkSync(open, link)
    expect(await start(link)).toMatchObject({ code: 11, stderr: refusal(link, CHMOD, open) })
  })

  test("by compact and repair", async () => {
    const broker = await startBroker()
    await broker.stop()
    const folder = join(broker.dir, "store")
    chmodSync(folder, 0o707)
    for (const command of ["compact", "repair"])
      expect(await runCli("mqtt-broker", [command, "--store", `file:${folder}`])).toMatchObject({
        code: 11,
        stderr: refusal(folder, CHMOD),
      })
    chmodSync(folder, 0o700)
    expect(await runCli("mqtt-broker", ["compact", "--store", `file:${folder}`])).toMatchObject({ code: 0 })
  })

  test("as the target of a backup; nothing is left in it", async () => {
    const broker = await startBroker()
    const [store, target] = [`file:${join(broker.dir, "store")}`, folderWith(0o777)]
    for (const folder of [target, join(target, "new")]) {
      const result = await runCli("mqtt-broker", ["backup", folder, "--store", store])
      expect(result).toMatchObject({ code: 11, stderr: expect.stringMatching(/may write to "[^"]*store"/) })
    }
    expect(readdirSync(target)).toEqual([])
    chmodSync(target, 0o755)
    expect(await runCli("mqtt-broker", ["backup", target, "--store", store])).toMatchObject({ code: 0 })
  })
})

describe.skipIf(process.platform === "win32")("a folder above it that everybody can write", () => {
  test.each([
    ["777", 0o777],
    ["757", 0o757],
  ] as const)("mode %s: refused, because another folder could be put in its place", async (_, mode) => {
    const above = folderWith(mode, "above")
    const folder = join(above, "between", "store")
    const hint = "hint: take that away with chmod o-w, or let everybody move only what is his own, with chmod +t\n"
    const why = `error: the store in ${JSON.stringify(folder)} cannot be used: everybody may write to ${JSON.stringify(above)}, and put another folder in its place\n`
    expect(await start(folder)).toMatchObject({ code: 11, stdout: "", stderr: why + hint })
    chmodSync(above, 0o1777)
    await serves(folder)
  })

  test("one of a group's is as its administrator wanted it", () => serves(join(folderWith(0o2775, "above"), "store")))
})

describe.runIf(isRoot)("another user's folder", () => {
  test("is not used, not even by root", async () => {
    const folder = folderWith(0o755)
    chownSync(folder, NOBODY, NOBODY)
    expect(await start(folder)).toMatchObject({
      code: 11,
      stderr: `error: the store in ${JSON.stringify(folder)} cannot be used: ${JSON.stringify(folder)} belongs to another user (${NOBODY})\nhint: run it as that user, or give the folder and what is in it to the broker's user with chown -R\n`,
    })
    chownSync(folder, 0, 0)
    await serves(folder)
  })
})

describe.runIf(isRoot)("root", () => {
  const ROOT = "the broker runs as root"

  test("is told once how to do without, whatever is asked of the log but --log-level error", async () => {
    for (const level of ["warn", "info", "debug"]) {
      const broker = await startBroker({ store: "memory:", args: ["--log-level", level] })
      await broker.stop()
      const lines = broker.stderr.split("\n").filter((line) => line.includes(ROOT))
      expect(lines.map((line) => JSON.parse(line))).toEqual([expect.objectContaining({ level: "warn" })])
      expect(lines[0]).toMatch(/User= and StateDirectory= of systemd, or docker run --user/)
    }
    const quiet = await startBroker({ store: "memory:", args: ["--log-level", "error"] })
    await quiet.stop()
    expect(quiet.stderr).toBe("")
  })

  test("anybody else is not", async () => {
    const command = [process.execPath, cliPath("mqtt-broker"), "start", "--port", "0", "--store", "memory:"]
    const broker = new RunningProcess("setpriv", ["--reuid", String(NOBODY), "--clear-groups", ...command])
    await waitFor(() => broker.stdout.includes("ready"), { what: "the broker" })
    expect((await broker.stop()).code).toBe(0)
    expect(broker.stderr).toBe("")
  })
})
