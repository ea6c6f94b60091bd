import { createPrivateKey, X509Certificate } from "node:crypto"
import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { runCli, runProcess, spawnCli, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"

const WHOLE = ["ca.crt", "ca.key", "server.crt", "server.key"]
const isRoot = process.getuid?.() === 0

async function made(...args: string[]): Promise<string> {
  const cwd = temporaryFolder()
  expect(await runCli("mqtt-broker", ["cert", "a.home", ...args], { cwd })).toMatchObject({ code: 0, stderr: "" })
  return join(cwd, "certs")
}

const again = async (folder: string, ...args: string[]): Promise<string> => {
  const result = await runCli("mqtt-broker", ["cert", "--dir", folder, ...args])
  expect(result).toMatchObject({ code: 0, stderr: "" })
  return result.stdout
}

const content = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]))

/** Each certificate with its key, and of the authority. */
function isWhole(folder: string, name: string): boolean {
  const read = (file: string): Buffer => readFileSync(join(folder, file))
  const [cert, ca] = [new X509Certificate(read(`${name}.crt`)), new X509Certificate(read("ca.crt"))]
  return cert.checkPrivateKey(createPrivateKey(read(`${name}.key`))) && cert.verify(ca.publicKey)
}

describe("keys", () => {
  test("stay when their certificates are renewed: the broker's and a client's, of other kinds too", async () => {
    const folder = await made("--client", "c")
    const before = content(folder)
    await again(folder)
    await again(folder, "--client", "c")
    const after = content(folder)
    for (const name of ["ca.crt", "ca.key", "server.key", "client-c.key"]) expect(after[name]).toBe(before[name])
    for (const name of ["server.crt", "client-c.crt"]) expect(after[name]).not.toBe(before[name])
    expect(["server", "client-c"].map((name) => isWhole(folder, name))).toEqual([true, true])

    const rsa = join(folder, "server.key")
    expect(await runProcess("openssl", ["genrsa", "-out", rsa, "2048"])).toMatchObject({ code: 0 })
    await again(folder)
    expect([createPrivateKey(readFileSync(rsa)).asymmetricKeyType, isWhole(folder, "server")]).toEqual(["rsa", true])
  })

  test("without their certificates are taken up", async () => {
    const folder = await made()
    const before = content(folder)
    for (const name of ["ca.crt", "server.crt"]) rmSync(join(folder, name))
    const stdout = await again(folder, "b.home")
    expect(stdout).toContain(`ca.crt: a new authority for the key "${join(folder, "ca.key")}" that was there, until `)
    expect(stdout).toContain(`server.crt: new for the key "${join(folder, "server.key")}" that was there, until `)
    const after = content(folder)
    for (const name of ["ca.key", "server.key"]) expect(after[name]).toBe(before[name])
    expect(["ca", "server"].map((name) => isWhole(folder, name))).toEqual([true, true])
  })

  test("that are lost are made, also when only a client is asked for", async () => {
    const folder = await made()
    rmSync(join(folder, "server.key"))
    await again(folder, "--client", "c")
    expect(["server", "client-c"].map((name) => isWhole(folder, name))).toEqual([true, true])
  })

  test("that cannot be read stay, and nothing is changed", async () => {
    const folder = await made()
    writeFileSync(join(folder, "server.key"), "text")
    const before = content(folder)
    expect(await runCli("mqtt-broker", ["cert", "--client", "c", "--dir", folder])).toMatchObject({ code: 16 })
    expect(content(folder)).toEqual(before)
  })
})

test("mode, owner and links stay", async () => {
  const folder = await made()
  const real = join(temporaryFolder(), "real.crt")
  renameSync(join(folder, "server.crt"), real)
  symlinkSync(real, join(folder, "server.crt"))
  chmodSync(join(folder, "server.key"), 0o640)
  chmodSync(real, 0o640)
  const group = isRoot ? 65_534 : statSync(real).gid
  for (const file of [join(folder, "server.key"), real]) chownSync(file, statSync(file).uid, group)
  const before = readFileSync(real, "utf8")
  await again(folder)
  expect(readFileSync(real, "utf8")).not.toBe(before)
  for (const file of [join(folder, "server.key"), join(folder, "server.crt"), real])
    expect([statSync(file).mode & 0o777, statSync(file).gid]).toEqual([0o640, group])
  expect(readdirSync(folder)).toEqual(WHOLE)
})

test("many at once make one set, that belongs together", async () => {
  const cwd = temporaryFolder()
  const names = ["a.home", "b.home", "c.home", "d.home"]
  const results = await Promise.all(names.map((name) => runCli("mqtt-broker", ["cert", name, "--client", name], { cwd })))
  expect(results.map(({ code }) => code)).toEqual([0, 0, 0, 0])
  expect(results.filter(({ stdout }) => stdout.includes("a new authority"))).toHaveLength(1)
  const folder = join(cwd, "certs")
  for (const name of ["server", ...names.map((one) => `client-${one}`)]) expect(isWhole(folder, name)).toBe(true)
})

describe("a signal", () => {
  const signals = [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 143],
  ] as const

  test.each(signals)("%s while it waits for another command ends it, and the other's lock stays", async (signal, code) => {
    const folder = await made()
    writeFileSync(join(folder, "cert.lock"), "")
    const before = content(folder)
    const waiting = spawnCli("mqtt-broker", ["cert", "--dir", folder])
    await waitFor(() => catchesHangup(waiting.pid), { what: "it handles signals" })
    waiting.child.kill(signal)
    expect(await waiting.waitForEnd()).toMatchObject({ code })
    expect([waiting.stderr, content(folder)]).toEqual([`error: ${signal} came before anything was changed\n`, before])
  })

  test.each(signals)("%s, several times, while it works: nothing is changed, and nothing stays behind", async (signal, code) => {
    const folder = await made()
    const before = content(folder)
    const pipe = join(folder, "ca.key")
    rmSync(pipe)
    expect(await runProcess("mkfifo", [pipe])).toMatchObject({ code: 0 })
    const working = spawnCli("mqtt-broker", ["cert", "--dir", folder, "--client", "c"])
    await waitFor(() => existsSync(join(folder, "cert.lock")), { what: "it has the folder" })
    for (let sent = 0; sent < 3; sent++) working.child.kill(signal)
    writeFileSync(pipe, before["ca.key"] ?? "") // it waits for this
    expect(await working.waitForEnd()).toMatchObject({ code })
    expect(working.stderr).toBe(`error: ${signal} came before anything was changed\n`)
    rmSync(pipe)
    writeFileSync(pipe, before["ca.key"] ?? "")
    expect(content(folder)).toEqual(before)
  })
})

test("a lock that stays: after a while it says what to do", async () => {
  const folder = await made()
  const lock = join(folder, "cert.lock")
  writeFileSync(lock, "")
  const { code, stderr } = await runCli("mqtt-broker", ["cert", "--dir", folder], { timeoutMs: 30_000 })
  const message = `another command is changing ${JSON.stringify(folder)}, or was killed while it did`
  expect([code, stderr]).toEqual([16, `error: ${message}\nhint: if none runs, remove ${JSON.stringify(lock)}\n`])
})

test("one file that cannot be written: nothing is changed, and nothing stays behind", async () => {
  const folder = await made()
  const before = content(folder)
  const nowhere = join(folder, "client-c.crt") // the last one to be written
  symlinkSync(join(folder, "none/c.crt"), nowhere)
  const { code, stderr } = await runCli("mqtt-broker", ["cert", "b.home", "--client", "c", "--dir", folder])
  expect([code, stderr]).toEqual([7, expect.stringContaining(`error: cannot write ${JSON.stringify(nowhere)}: ENOENT`)])
  rmSync(nowhere)
  expect(content(folder)).toEqual(before)
})

/** Whether it handles SIGHUP, which Node.js itself does not. */
function catchesHangup(pid: number): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0"
  return (BigInt(`0x${caught}`) & 1n) === 1n
}
