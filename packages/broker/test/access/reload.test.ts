import { appendFileSync, chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cliPath, randomId, runProcess, spawnCli, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { accountLine, Accounts, users } from "../support/accounts.js"
import { logged } from "../support/doors.js"
import { hex } from "../support/wire.js"

test("who lost the account, or whose password changed, is disconnected; others stay, and nothing of theirs is lost", async () => {
  const house = await Accounts.start({ users: users("removed", "changed", "stays"), args: ["--anonymous"] })
  const [removed, changed, stays] = [await house.login(5, "removed"), await house.login(4, "changed"), await house.login(5, "stays")]
  const nobody = await house.login(4, undefined)
  await house.change({ users: { ...users("stays", "new"), changed: "another" } })
  expect(await removed.ended()).toEqual([hex("e0 02 87 00")])
  expect(await changed.ended()).toEqual([])
  expect([await stays.settled(), await nobody.settled()]).toEqual([[], []])
  expect(await house.code(4, { userName: "removed", password: "removed!" })).toBe(4)
  expect(await house.code(4, { userName: "changed", password: "changed!" })).toBe(4)
  expect(await house.code(4, { userName: "changed", password: "another" })).toBe(0)
  expect(await house.code(4, { userName: "new", password: "new!" })).toBe(0)
})

test("the Will of who lost the account is not sent, that of who has another password is", async () => {
  const house = await Accounts.start({ users: users("removed", "changed", "watcher") })
  const watcher = await house.login(5, "watcher")
  await watcher.subscribe(["will/#", 1])
  for (const name of ["removed", "changed"]) await house.login(5, name, { will: { topic: `will/${name}`, payload: name, qos: 1 } })
  await house.change({ users: { ...users("watcher"), changed: "another" } })
  expect((await watcher.nextPublish()).topic).toBe("will/changed")
  await logged(house.broker, "its Will is not sent")
  expect(await watcher.settled()).toEqual([])
})

test("a change of a file is noticed without a signal", async () => {
  const house = await Accounts.start({ users: users("alice"), acl: ["user alice", "topic read a"] })
  const alice = await house.login(5, "alice")
  expect(await alice.subscribe(["b", 1])).toEqual([0x87])
  writeFileSync(house.aclFile, "user alice\ntopic read b\n")
  await expect.poll(() => alice.subscribe(["b", 1]), { timeout: 10_000 }).toEqual([1])
  writeFileSync(house.passwordFile, `${accountLine("bob", "bob!")}\n`)
  expect(await alice.ended()).toContainEqual(hex("e0 02 87 00"))
  expect(await house.code(4, { userName: "bob", password: "bob!" })).toBe(0)
})

describe("a file that cannot be used, while the broker runs: the old one stays, one loud line", () => {
  const spoil: [string, (file: string) => void][] = [
    ["missing", (file) => rmSync(file)],
    ["half-written", (file) => writeFileSync(file, accountLine("alice", "alice!").slice(0, 60))],
    ["a last line cut short", (file) => appendFileSync(file, accountLine("carol", "carol!").slice(0, 70))],
    ["not text", (file) => writeFileSync(file, Buffer.from([0, 1, 2, 0xff, 10]))],
    ["empty", (file) => writeFileSync(file, "")],
    ["a password as it is", (file) => appendFileSync(file, "carol:secret\n")],
  ]
  test.each(spoil)("users: %s", async (_name, change) => {
    const house = await Accounts.start({ users: users("alice") })
    const alice = await house.login(5, "alice")
    change(house.passwordFile)
    process.kill(house.broker.pid, "SIGHUP")
    await logged(house.broker, /"level":"error".*cannot be used, what was read before stays/)
    expect(house.broker.stderr).not.toContain("secret")
    expect(await alice.settled()).toEqual([])
    expect(await house.code(4, { userName: "alice", password: "alice!" })).toBe(0)
    expect(await house.code(4, { userName: "carol", password: "carol!" })).toBe(4)
  })

  test.each([
    ["missing", (file: string): void => rmSync(file)],
    ["an unknown word", (file: string): void => writeFileSync(file, "user alice\ntopic raed #\ntopic a\nallow #\n")],
    ["a filter that is none", (file: string): void => writeFileSync(file, "user alice\ntopic read a/#/b\n")],
  ])("rights: %s", async (_name, change) => {
    const house = await Accounts.start({ users: users("alice"), acl: ["user alice", "topic read a"] })
    change(house.aclFile)
    process.kill(house.broker.pid, "SIGHUP")
    await logged(house.broker, /"level":"error".*cannot be used, what was read before stays/)
    const alice = await house.login(5, "alice")
    expect(await alice.subscribe(["a", 1], ["b", 1])).toEqual([1, 0x87])
  })
})

describe("a file that cannot be used at start: nobody is let in, exit code 17, one sentence that names it", () => {
  const bad: [string, string | undefined, "--password-file" | "--acl-file"][] = [
    ["missing", undefined, "--password-file"],
    ["half-written", accountLine("alice", "alice!").slice(0, 60), "--password-file"],
    ["missing", undefined, "--acl-file"],
    ["half-written", "user alice\ntopi", "--acl-file"],
  ]
  test.each(bad)("%s: %s %s", async (_name, text, option) => {
    const file = join(temporaryFolder(), "the file")
    if (text !== undefined) writeFileSync(file, text)
    const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", "memory:", option, file])
    expect(await broker.waitForEnd()).toEqual({ code: 17, signal: null })
    expect(broker.stdout).toBe("")
    expect(broker.stderr).toContain("the file")
    expect(broker.stderr.trimEnd().split("\n").length).toBeLessThan(3)
  })

  test.each(["--password-file", "--acl-file"])("%s: a pipe, a device without end, a file too large for users", async (option) => {
    const dir = temporaryFolder()
    const [pipe, large] = [join(dir, "pipe"), join(dir, "large")]
    await runProcess("mkfifo", [pipe])
    await runProcess("truncate", ["-s", "1G", large])
    for (const path of [pipe, "/dev/zero", large]) {
      const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", "memory:", option, path])
      expect(await broker.waitForEnd()).toEqual({ code: 17, signal: null })
      expect(broker.stderr).toMatch(/it is not a regular file|it has more than 64 MB/)
    }
  })

  test("a folder, and a file that this user may not read", async () => {
    const dir = temporaryFolder()
    const file = join(dir, "closed")
    writeFileSync(file, "")
    chmodSync(file, 0)
    const root = process.getuid?.() === 0
    for (const path of root ? [dir] : [dir, file]) {
      const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", "memory:", "--password-file", path])
      expect((await broker.waitForEnd()).code).toBe(17)
    }
  })
})

test("SIGHUP over and over while clients come and go: nobody is disconnected, every login is answered", async () => {
  const house = await Accounts.start({ users: users("alice"), acl: ["user alice", "topic #"] })
  const alice = await house.login(5, "alice")
  await alice.subscribe(["a", 1])
  for (let n = 0; n < 30; n++) {
    process.kill(house.broker.pid, "SIGHUP")
    expect(await house.code(n % 2 ? 4 : 5, { userName: "alice", password: "alice!", clientId: randomId() })).toBe(0)
  }
  expect(await alice.settled()).toEqual([])
})

test("SIGHUP before the broker is ready does not end it", async () => {
  const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", "memory:", "--json"])
  await waitFor(() => handlesHangUp(broker.pid), { what: "that SIGHUP is handled" })
  process.kill(broker.pid, "SIGHUP")
  await broker.waitForLine('"event":"ready"')
  process.kill(broker.pid, "SIGHUP")
  expect(await broker.stop()).toEqual({ code: 0, signal: null })
})

test("SIGHUP without files: the log says that there is nothing to read again; with one it does not", async () => {
  const [without, house] = await Promise.all([Accounts.start({}), Accounts.start({ users: users("alice") })])
  process.kill(without.broker.pid, "SIGHUP")
  await logged(without.broker, "there is nothing to read again")
  await house.change({ users: users("alice", "bob") })
  expect(house.broker.stderr).not.toContain("nothing to read again")
})

test("when its terminal is closed, the broker stops in order", async () => {
  const dir = temporaryFolder()
  const [socket, log] = [join(dir, "tmux"), join(dir, "log")]
  const tmux = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await runProcess("tmux", ["-S", socket, "-f", "/dev/null", ...args])
    if (code !== 0) throw new Error(stderr)
  }
  const command = `${process.execPath} ${cliPath("mqtt-broker")} start --port 0 --store memory: --json | tee ${log}`
  await tmux("new-session", "-d", "-x", "80", "-y", "24", command)
  await waitFor(() => existsSync(log) && readFileSync(log, "utf8").includes('"event":"ready"'), { what: "the broker" })
  const { pid }: { pid: number } = JSON.parse(readFileSync(log, "utf8"))
  await tmux("kill-server")
  await waitFor(() => !alive(pid), { what: "the end of the broker" })
})

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Whether a process handles SIGHUP, as the system tells. */
function handlesHangUp(pid: number): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0"
  return (BigInt(`0x${caught}`) & 1n) === 1n
}
