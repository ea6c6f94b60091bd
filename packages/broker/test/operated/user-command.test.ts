import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import {
  cliPath,
  hasMosquitto,
  runCli,
  RunningProcess,
  runProcess,
  type RunResult,
  startMosquitto,
  temporaryFolder,
  waitFor,
} from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { PasswordChecks } from "../../src/access/users/password-checks.js"
import { readPasswordFile } from "../../src/access/users/password-file.js"
import { builtHasher } from "../support/threads.js"

const checks = new PasswordChecks(builtHasher())

function newPath(): string {
  return join(temporaryFolder(), "passwords")
}

function user(path: string, args: string[], stdin = ""): Promise<RunResult> {
  return runCli("mqtt-broker", ["user", ...args, "--password-file", path], { stdin })
}

function text(path: string): string {
  return readFileSync(path, "utf8")
}

/** Whether the file lets the user in, as the broker reads it. */
function lets(path: string, name: string, password: string): Promise<boolean> {
  return readPasswordFile(path, checks).verify(name, Buffer.from(password))
}

describe("add, passwd, remove, list", () => {
  test("the first user makes the file, which nobody else can read", async () => {
    const path = newPath()
    const added = await user(path, ["add", "alice"], "secret\nnot this line\n")
    expect(added).toMatchObject({ code: 0, stdout: "", stderr: `user "alice" was added to ${JSON.stringify(path)}\n` })
    expect(text(path)).toMatch(/^alice:\$7\$10000\$[\w+/]{16}\$[\w+/]{86}==\n$/)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect([await lets(path, "alice", "secret"), await lets(path, "alice", "secret\n")]).toEqual([true, false])
    expect(readdirSync(join(path, ".."))).toEqual(["passwords"])
  })

  test("a new password is another line in the same place, removing takes it out", async () => {
    const path = newPath()
    for (const name of ["alice", "bob", "carl"])
      expect(await user(path, ["add", name, "--iterations", "7"], name)).toMatchObject({ code: 0 })
    const [alice, bob, carl] = text(path).split("\n")
    expect(await user(path, ["passwd", "bob"], "new\r\n")).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('user "bob" has a new password in'),
    })
    const lines = text(path).split("\n")
    expect([lines[0], lines[2], lines.length]).toEqual([alice, carl, 4])
    expect(lines[1]).not.toBe(bob)
    expect([await lets(path, "bob", "new"), await lets(path, "bob", "bob")]).toEqual([true, false])
    expect(await user(path, ["remove", "alice"])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('user "alice" was removed from'),
    })
    expect(text(path)).toBe(lines.slice(1).join("\n"))
  })

  test("list: names, or objects without what is secret", async () => {
    const path = newPath()
    await user(path, ["add", "bob the 2nd"], "x")
    await user(path, ["add", "älice", "--iterations", "7"], "x")
    expect(await user(path, ["list"])).toMatchObject({ code: 0, stdout: "bob the 2nd\nälice\n", stderr: "" })
    const objects = [
      { user: "bob the 2nd", hash: "pbkdf2-sha512", iterations: 10_000 },
      { user: "älice", hash: "pbkdf2-sha512", iterations: 7 },
    ]
    expect((await user(path, ["list", "--json"])).stdout).toBe(objects.map((one) => `${JSON.stringify(one)}\n`).join(""))
  })

  test("the file may be named by the environment", async () => {
    const path = newPath()
    const env = { MQTT_BROKER_PASSWORD_FILE: path }
    expect(await runCli("mqtt-broker", ["user", "add", "alice"], { stdin: "x", env })).toMatchObject({ code: 0 })
    expect(await runCli("mqtt-broker", ["user", "list"], { env })).toMatchObject({ code: 0, stdout: "alice\n" })
  })

  test("what stands in the file otherwise stays, byte for byte, and so do mode and owner", async () => {
    const path = newPath()
    const before = Buffer.from("# \xfc: comment\r\n\nbob : $6$AAECAwQFBgcICQoL$x \r\n#alice:x", "latin1")
    writeFileSync(path, before)
    chmodSync(path, 0o640)
    const isRoot = process.getuid?.() === 0
    if (isRoot) chownSync(path, 65_534, 65_533)
    expect(await user(path, ["add", "alice"], "x")).toMatchObject({ code: 0 })
    expect(readFileSync(path).subarray(0, before.length)).toEqual(before)
    expect(text(path).slice(before.toString().length)).toMatch(/^\nalice:\S+\n$/)
    const { mode, uid, gid } = statSync(path)
    expect([mode & 0o777, uid, gid]).toEqual([0o640, ...(isRoot ? [65_534, 65_533] : [process.getuid?.(), process.getgid?.()])])
    expect(await user(path, ["remove", "alice"])).toMatchObject({ code: 0 })
    expect(readFileSync(path)).toEqual(Buffer.concat([before, Buffer.from("\n")]))
  })

  test("a byte order mark, before a user, a comment or nothing, is passed over", async () => {
    const path = newPath()
    await user(path, ["add", "alice"], "x")
    const line = text(path)
    for (const content of [`\uFEFF${line}`, `\uFEFF# users\n${line}`, `\uFEFF\n${line}`, `\uFEFF\r\n${line}`]) {
      writeFileSync(path, content)
      expect(await user(path, ["list"])).toMatchObject({ code: 0, stdout: "alice\n" })
      expect(await user(path, ["add", "bob"], "y")).toMatchObject({ code: 0, stderr: expect.not.stringContaining("warning") })
      expect(text(path).startsWith(content)).toBe(true)
      expect([await lets(path, "alice", "x"), await lets(path, "bob", "y")]).toEqual([true, true])
      expect(await user(path, ["passwd", "alice"], "z")).toMatchObject({ code: 0 })
      expect([await lets(path, "alice", "z"), await lets(path, "bob", "y")]).toEqual([true, true])
    }
    writeFileSync(path, `# users\n\uFEFF${line}`)
    expect(await user(path, ["list"])).toMatchObject({ code: 17, stderr: expect.stringContaining("line 2: ") })
  })

  test("a link stays one", async () => {
    const [path, folder] = [newPath(), temporaryFolder()]
    const link = join(folder, "link")
    symlinkSync(path, link)
    expect(await user(link, ["add", "alice"], "x")).toMatchObject({ code: 17 })
    writeFileSync(path, "")
    expect(await user(link, ["add", "alice"], "x")).toMatchObject({ code: 0 })
    expect([lstatSync(link).isSymbolicLink(), text(path).startsWith("alice:"), readdirSync(folder)]).toEqual([true, true, ["link"]])
  })
})

describe("what is refused changes nothing", () => {
  const LINE = "alice:$6$AAECAwQFBgcICQoL$"

  test.each([
    [["add", "alice"], 19, 'has a user "alice" already\nhint: mqtt-broker user passwd changes the password\n'],
    [["passwd", "bob"], 18, 'has no user "bob"\n'],
    [["remove", "bob"], 18, 'has no user "bob"\n'],
    [["add", ""], 2, 'error: "": the user\'s name is empty\n'],
    [["add", "a:b"], 2, 'error: "a:b": a user\'s name cannot have a colon\n'],
    [["add", "#a"], 2, 'error: "#a": a user\'s name that begins with # would be a comment\n'],
    [["add", " a"], 2, 'error: " a": a user\'s name cannot begin or end with a blank\n'],
    [["add", "a\nb"], 2, 'error: "a\\nb": a user\'s name cannot have control characters\n'],
    [["add", "a\u0085b"], 2, "a user's name cannot have control characters\n"],
    [["list"], 17, 'line 1: the user "alice" is of no use: its hash is malformed or cut off\n'],
  ] as const)("%j", async (args, code, stderr) => {
    const path = newPath()
    writeFileSync(path, LINE)
    const result = await user(path, [...args], "secret")
    expect([result.code, result.stdout]).toEqual([code, ""])
    expect(result.stderr).toContain(stderr)
    expect([text(path), readdirSync(join(path, ".."))]).toEqual([LINE, ["passwords"]])
  })

  test.each(["passwd", "remove", "list"])("%s without a file", async (action) => {
    const path = newPath()
    const args = action === "list" ? [action] : [action, "alice"]
    expect(await user(path, args, "x")).toMatchObject({ code: 17, stderr: expect.stringContaining("cannot be read: ENOENT") })
    expect(existsSync(path)).toBe(false)
  })

  test.each(["", "\n", "\nsecret\n"])("no password: stdin is %j", async (stdin) => {
    const path = newPath()
    expect(await user(path, ["add", "alice"], stdin)).toMatchObject({ code: 2, stderr: expect.stringContaining("the password is empty") })
    expect(existsSync(path)).toBe(false)
  })

  test("a folder that is none, a file that is none", async () => {
    const path = newPath()
    expect(await user(join(path, "x"), ["add", "alice"], "x")).toMatchObject({
      code: 17,
      stderr: expect.stringContaining("cannot be written: ENOENT"),
    })
    mkdirSync(path)
    expect(await user(path, ["add", "alice"], "x")).toMatchObject({ code: 17, stdout: "" })
    expect(readdirSync(join(path, ".."))).toEqual(["passwords"])
  })
})

test("a file with other wrong lines is mended line by line, and each time it is said what a broker would not take", async () => {
  const path = newPath()
  writeFileSync(path, "alice:plain\nbob:plain\nbob:again\n")
  const first = await user(path, ["passwd", "alice"], "x")
  expect([first.code, first.stderr.split("\n")[1]]).toEqual([
    0,
    `warning: no broker would start with it yet: ${JSON.stringify(path)}, line 2: the user "bob" is of no use: its password is not hashed`,
  ])
  const second = await user(path, ["passwd", "bob"], "x")
  expect(second).toMatchObject({ code: 0, stderr: `user "bob" has a new password in ${JSON.stringify(path)}\n` })
  expect((await user(path, ["list"])).stdout).toBe("alice\nbob\n")
})

test.each([
  ["add \"$(printf 'bad\\377')\" --password-file F", 'the argument "bad\\xff" is not UTF-8 text'],
  ["add alice --password-file \"$(printf 'F\\377')\"", 'the argument "F\\xff" is not UTF-8 text'],
])("bytes that are not UTF-8 make no other name: user %s", async (args, message) => {
  const cwd = temporaryFolder()
  const command = `echo x | '${process.execPath}' '${cliPath("mqtt-broker")}' user ${args}`
  expect(await runProcess("sh", ["-c", command], { cwd })).toMatchObject({ code: 2, stderr: `error: ${message}\n` })
  const variable = `export MQTT_BROKER_PASSWORD_FILE="$(printf 'F\\377')"; '${process.execPath}' '${cliPath("mqtt-broker")}' user list`
  const named = 'error: MQTT_BROKER_PASSWORD_FILE: "F\\xff" is not UTF-8 text\n'
  expect(await runProcess("sh", ["-c", variable], { cwd })).toMatchObject({ code: 2, stderr: named })
  expect(readdirSync(cwd)).toEqual([])
})

describe("several at once", () => {
  test("no user is lost, and who reads meanwhile sees a whole file", async () => {
    const path = newPath()
    await user(path, ["add", "first"], "x")
    const names = Array.from({ length: 8 }, (_, n) => `user${n}`)
    const adding = Promise.all(names.map((name) => user(path, ["add", name], "x")))
    let over = false
    void adding.then(() => (over = true))
    const sizes = new Set<number>()
    await waitFor(
      () => {
        sizes.add(text(path).split("\n").length)
        readPasswordFile(path, checks)
        return over
      },
      { what: "all users to be added", timeoutMs: 30_000 },
    )
    expect((await adding).map(({ code }) => code)).toEqual(names.map(() => 0))
    expect((await user(path, ["list"])).stdout.trimEnd().split("\n").toSorted()).toEqual(["first", ...names])
    expect(sizes.size).toBeGreaterThan(1)
  })

  test("one that was killed while it changed the file: the next one waits for it, then says what to remove", async () => {
    const path = newPath()
    await user(path, ["add", "alice"], "x")
    writeFileSync(`${path}.lock`, "half")
    const result = await user(path, ["remove", "alice"])
    expect(result).toMatchObject({
      code: 17,
      stderr: `error: another command is changing ${JSON.stringify(path)}, or was killed while it did\nhint: if none runs, remove ${JSON.stringify(`${path}.lock`)}\n`,
    })
    expect([text(path).startsWith("alice:"), text(`${path}.lock`)]).toEqual([true, "half"])
  })
})

describe.runIf(hasMosquitto())("with mosquitto", () => {
  test("its broker lets our users in, with their passwords", async () => {
    const path = newPath()
    await user(path, ["add", "bob the 2nd"], "pässwörd:$7$\n")
    const mosquitto = await startMosquitto(["allow_anonymous false", `password_file ${path}`])
    const publish = (name: string, password: string): Promise<RunResult> =>
      runProcess("mosquitto_pub", ["-p", String(mosquitto.port), "-u", name, "-P", password, "-t", "x", "-n"])
    expect(await publish("bob the 2nd", "pässwörd:$7$")).toMatchObject({ code: 0 })
    expect(await publish("bob the 2nd", "pässwörd:$7")).toMatchObject({ code: 5 })
  })

  test("mosquitto_passwd changes and removes our users, and we change its", async () => {
    const path = newPath()
    await user(path, ["add", "alice"], "ours")
    await user(path, ["add", "bob"], "ours")
    expect(await runProcess("mosquitto_passwd", ["-b", path, "alice", "theirs"])).toMatchObject({ code: 0 })
    expect(await runProcess("mosquitto_passwd", ["-D", path, "bob"])).toMatchObject({ code: 0 })
    expect([await lets(path, "alice", "theirs"), (await user(path, ["list"])).stdout]).toEqual([true, "alice\n"])
    expect(await user(path, ["passwd", "alice"], "ours again")).toMatchObject({ code: 0 })
    expect([await lets(path, "alice", "ours again"), await lets(path, "alice", "theirs")]).toEqual([true, false])
  })
})

/** `mqtt-broker user add alice` on a terminal of its own; stdout has what the terminal got. */
function onTerminal(path: string): RunningProcess {
  const command = `${process.execPath} ${cliPath("mqtt-broker")} user add alice --password-file ${path}`
  return new RunningProcess("script", ["-qec", command, "/dev/null"], { env: { TERM: "dumb" } })
}

/** Types `keys` when the terminal shows the question. */
async function answer(terminal: RunningProcess, question: string, keys: string): Promise<void> {
  await waitFor(() => terminal.stdout.includes(question), { what: `${question} from ${terminal.stdout}` })
  terminal.child.stdin.write(keys)
}

describe("on a terminal the password is asked for twice, and not shown", () => {
  const FIRST = 'new password for "alice": '
  const SECOND = "the same again: "

  test("twice the same", async () => {
    const path = newPath()
    const terminal = onTerminal(path)
    await answer(terminal, FIRST, "sex\u007fcret\r")
    await answer(terminal, SECOND, "secret\r")
    expect(await terminal.waitForEnd()).toMatchObject({ code: 0 })
    expect(terminal.stdout).toBe(`${FIRST}\r\n${SECOND}\r\nuser "alice" was added to ${JSON.stringify(path)}\r\n`)
    expect(await lets(path, "alice", "secret")).toBe(true)
  })

  test.each([
    ["Ctrl-U takes all back", "wrong one\u0015right\r", "right"],
    ["Ctrl-W takes a word back", "two wrong  \u0017words\r", "two words"],
    ["Ctrl-W at the beginning", "wrong\u0017\u0017right\r", "right"],
  ])("%s", async (_, keys, password) => {
    const path = newPath()
    const terminal = onTerminal(path)
    await answer(terminal, FIRST, keys)
    await answer(terminal, SECOND, `${password}\r`)
    expect(await terminal.waitForEnd()).toMatchObject({ code: 0 })
    expect(await lets(path, "alice", password)).toBe(true)
  })

  test("both pasted at once", async () => {
    const path = newPath()
    const terminal = onTerminal(path)
    await answer(terminal, FIRST, "secret\rsecret\r")
    expect(await terminal.waitForEnd()).toMatchObject({ code: 0 })
    expect([await lets(path, "alice", "secret"), terminal.stdout.includes("secret")]).toEqual([true, false])
  })

  test("two that differ, none, and Ctrl-C: no user", async () => {
    const ends = [
      ["secret\r", "secrex\r", 2, "the two passwords are not the same"],
      ["\r", "", 2, "the password is empty"],
      ["secret\r", "sec\u0003", 130, "interrupted"],
    ] as const
    for (const [first, second, code, message] of ends) {
      const path = newPath()
      const terminal = onTerminal(path)
      await answer(terminal, FIRST, first)
      if (second !== "") await answer(terminal, SECOND, second)
      expect(await terminal.waitForEnd()).toMatchObject({ code })
      expect([terminal.stdout.includes(message), terminal.stdout.includes("sec\r"), existsSync(path)]).toEqual([true, false, false])
    }
  })
})
