import { createHash, randomBytes } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { hasMosquitto, runProcess, startMosquitto, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { PasswordChecks } from "../../src/access/users/password-checks.js"
import { type PasswordFile, readPasswordFile } from "../../src/access/users/password-file.js"
import { hashPassword } from "../../src/access/users/password-hash.js"
import { BrokerError } from "../../src/errors.js"
import { builtHasher } from "../support/threads.js"

const checks = new PasswordChecks(builtHasher())

function fileWith(content: string | Uint8Array): string {
  const path = join(temporaryFolder(), "passwords")
  writeFileSync(path, content)
  return path
}

function read(content: string | Uint8Array): PasswordFile {
  return readPasswordFile(fileWith(content), checks)
}

function verify(users: PasswordFile, ...pairs: [user: string, password: string | Buffer][]): Promise<boolean[]> {
  return Promise.all(pairs.map(([user, password]) => users.verify(user, Buffer.from(password))))
}

/** SHA-512 as mosquitto 1 wrote it. */
function sha512(password: string, salt = randomBytes(12)): string {
  return `$6$${salt.toString("base64")}$${createHash("sha512").update(password).update(salt).digest("base64")}`
}

const hashed = (password: string | Buffer): string => hashPassword(Buffer.from(password), 10)

/** Made by argon2id_hash_encoded of libargon2 (20171227): with what mosquitto 2.1 gives it, and with a shorter hash and two lanes. */
const ARGON2ID = {
  "correct horse":
    "$argon2id$v=19$m=47104,t=1,p=1$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$aVo1St5PsxylF7NjjIPOOE5jxNbeUNweT/LEl8ONyxYqiqflWO7BotCdzcmTPqR4fg0oMZSzDQFY9PDfbH+biw",
  "p\0w": "$argon2id$v=19$m=64,t=2,p=2$AAECAwQFBgcICQoLDA0ODw$BX2M6+tgk8kiz3n7wc+viyOS1cL9AyjB7QSswzjLgq8",
}

describe.runIf(hasMosquitto())("files of mosquitto_passwd", () => {
  test.each(["sha512", "sha512-pbkdf2"])("-H %s: the passwords that it hashed, and no others", async (kind) => {
    const path = fileWith("")
    for (const [user, password] of [
      ["alice", "secret"],
      ["bob the 2nd", "pässwörd:with$signs"],
    ] as const)
      expect(await runProcess("mosquitto_passwd", ["-H", kind, "-b", path, user, password])).toMatchObject({ code: 0 })
    const users = readPasswordFile(path, checks)
    const right = await verify(users, ["alice", "secret"], ["bob the 2nd", "pässwörd:with$signs"])
    const wrong = await verify(users, ["alice", "secret "], ["alice", ""], ["bob the 2nd", "secret"], ["bob", "secret"], ["", ""])
    expect([right, wrong]).toEqual([
      [true, true],
      [false, false, false, false, false],
    ])
  })

  test("comments, empty lines, blanks around names and carriage returns: as mosquitto takes them", async () => {
    const path = fileWith(
      `# a comment: $7$\n\n  \t\nalice:${hashed("a")}\r\n#bob:${hashed("b")}\n  carl  :  ${sha512("c")}  \n\r\ndora:${sha512("d")}`,
    )
    const mosquitto = await startMosquitto(["allow_anonymous false", `password_file ${path}`])
    const users = readPasswordFile(path, checks)
    for (const [user, password] of [
      ["alice", "a"],
      ["bob", "b"],
      ["#bob", "b"],
      ["carl", "c"],
      ["  carl  ", "c"],
      ["dora", "d"],
      ["dora", "c"],
    ] as const) {
      const args = ["-p", String(mosquitto.port), "-u", user, "-P", password, "-t", "x", "-n"]
      const accepted = (await runProcess("mosquitto_pub", args)).code === 0
      expect([user, await verify(users, [user, password])]).toEqual([user, [accepted]])
    }
  })
})

describe("argon2id, as mosquitto 2.1 has it", () => {
  test.each(Object.entries(ARGON2ID))("%j", async (password, line) => {
    const users = read(`alice:${line}\n`)
    expect(await verify(users, ["alice", password], ["alice", `${password}x`], ["alice", ""])).toEqual([true, false, false])
  })
})

describe("passwords are bytes", () => {
  test.each([Buffer.from([0]), Buffer.from([0xff, 0, 0xfe]), Buffer.from("a\0b"), Buffer.alloc(65_535, "x")])("%#", async (password) => {
    const users = read(`alice:${hashed(password)}\nbob:${sha512("x")}\n`)
    // not one with a zero less at the end: to HMAC, and so to PBKDF2, that is the same
    const longer = Buffer.concat([password, Buffer.from("x")])
    expect(await verify(users, ["alice", password], ["alice", longer], ["bob", password])).toEqual([true, false, false])
  })
})

const SALT = "AAECAwQFBgcICQoL"
const HASH = randomBytes(64).toString("base64")
const CUT = "is of no use: its hash is malformed or cut off"
const UNKNOWN = "is of no use: its hash is of an unknown kind: $6$, $7$ and $argon2id$ are known"
const COSTLY = "is of no use: its hash takes too long to compute"
const NO_COLON = "it is no comment, and has no colon between a user's name and a hash"

/** Lines after a good one, and what is said of the last of them. */
const REFUSED: [lines: string, problem: string][] = [
  ["bob:secret", 'the user "bob" is of no use: its password is not hashed'],
  ["bob:", 'the user "bob" is of no use: it has no password'],
  ["bob", NO_COLON],
  [" # comment", NO_COLON],
  ["secret$7$101", NO_COLON],
  [`:${hashed("x")}`, "the user's name is empty"],
  [`b\0b:${hashed("x")}`, "a user's name cannot have control characters"],
  [`alice:${hashed("x")}`, 'the user "alice" stands in the file already'],
  [`# \n\nbob:${hashed("x")}\nbob:${hashed("x")}`, 'the user "bob" stands in the file already'],
  ["bob:$1$salt$secret", `the user "bob" ${UNKNOWN}`],
  ["bob:$2b$10$secret", `the user "bob" ${UNKNOWN}`],
  ["bob:$argon2i$v=19$m=64,t=2,p=2$secret", `the user "bob" ${UNKNOWN}`],
  ["bob:$7$secret", `the user "bob" ${CUT}`],
  [`bob:$6$${SALT}$${HASH}x`, `the user "bob" ${CUT}`],
  [`bob:$6$${SALT}$${HASH}:x`, `the user "bob" ${CUT}`],
  [`bob:$6$${SALT}$${randomBytes(63).toString("base64")}`, `the user "bob" ${CUT}`],
  [`bob:$6$$${HASH}`, `the user "bob" ${CUT}`],
  [`bob:$7$0$${SALT}$${HASH}`, `the user "bob" ${CUT}`],
  [`bob:$7$-1$${SALT}$${HASH}`, `the user "bob" ${CUT}`],
  [`bob:$7$1x$${SALT}$${HASH}`, `the user "bob" ${CUT}`],
  [`bob:$7$10000001$${SALT}$${HASH}`, `the user "bob" ${COSTLY}`],
  [`bob:${ARGON2ID["p\0w"].replace("m=64", "m=8388608")}`, `the user "bob" ${COSTLY}`],
  [`bob:${ARGON2ID["p\0w"].replace("v=19", "v=16")}`, `the user "bob" ${CUT}`],
  [`bob:${ARGON2ID["p\0w"].replace("m=64", "m=8")}`, `the user "bob" ${CUT}`],
  [`bob:${ARGON2ID["p\0w"].slice(0, -1)}`, `the user "bob" ${CUT}`],
]

/** What reading a file throws. */
function failure(content: string | Uint8Array): { message: string; code: string; exitCode: number } {
  try {
    read(content)
  } catch (error) {
    if (error instanceof BrokerError) return error
    throw error
  }
  throw new Error("the file was read")
}

describe("a line that is not understood is an error that names file and line, and shows no secret", () => {
  test.each(REFUSED)("%j", (lines, problem) => {
    const number = lines.split("\n").length + 1
    const { message, code, exitCode } = failure(`alice:${hashed("a")}\n${lines}\n`)
    expect(message).toMatch(/^".*\/passwords", line \d+: /)
    expect([message.replace(/^".*", /, ""), code, exitCode]).toEqual([`line ${number}: ${problem}`, "access-unusable", 17])
  })

  test("text that is not UTF-8", () => {
    expect(failure(Buffer.from(`\xfc:${hashed("x")}\n`, "latin1")).message).toContain("line 1: it is not UTF-8 text")
  })

  test("a file that is missing, or none", () => {
    const folder = temporaryFolder()
    for (const path of [folder, join(folder, "none")])
      expect(() => readPasswordFile(path)).toThrow(
        expect.objectContaining({ code: "access-unusable", message: expect.stringContaining(JSON.stringify(path)) }),
      )
  })
})

describe("a file whose end is missing is refused, wherever it was cut", () => {
  test.each([sha512("b"), hashed("b"), ...Object.values(ARGON2ID)])("%s", (hash) => {
    const first = `alice:${hashed("a")}\n`
    const last = `bob:${hash}`
    expect(read(`${first}${last}\n`).account("bob")).toBeDefined()
    const isWhole = !hash.endsWith("Lgq8") // a hash of another length than mosquitto's is whole with its line feed only
    const taken = Array.from({ length: last.length }, (_, index) => index + 1).filter((length) => {
      try {
        read(first + last.slice(0, length))
        return true
      } catch {
        return false
      }
    })
    expect(taken).toEqual(isWhole ? [last.length] : [])
  })
})

test("an account is known by what changes with its hash, and tells nothing of it", () => {
  const [first, second] = [hashed("same"), hashed("same")]
  const users = read(`alice:${first}\nbob:${first}\n`)
  const changed = read(`# moved\nalice:${second}\nbob: ${first}\n`)
  expect(users.account("alice")).toMatch(/^[\w+/]{43}=$/)
  expect(changed.account("bob")).toBe(users.account("bob"))
  expect(changed.account("alice")).not.toBe(users.account("alice"))
  expect([users.account("carl"), users.account("__proto__"), users.account("")]).toEqual([undefined, undefined, undefined])
})

describe("a password that was right is remembered", () => {
  test("without hashing again, until the account changes", async () => {
    const hasher = builtHasher({ idleMs: 1 })
    const own = new PasswordChecks(hasher)
    const path = fileWith(`alice:${hashed("a")}\nbob:${hashed("b")}\n`)
    const users = readPasswordFile(path, own)
    const [right, wrong] = [Buffer.from("a"), Buffer.from("b")]
    expect(users.remembers("alice", right)).toBe(false)
    expect(await users.verify("alice", right)).toBe(true)
    expect([users.remembers("alice", right), users.remembers("alice", wrong), users.remembers("bob", right)]).toEqual([true, false, false])
    await waitFor(() => hasher.threadCount === 0, { what: "the threads to end" })
    const again = readPasswordFile(path, own)
    expect(await again.verify("alice", right)).toBe(true)
    expect(hasher.threadCount).toBe(0)
    const verified = again.verify("alice", wrong)
    expect(hasher.threadCount).toBe(1)
    expect(await verified).toBe(false)
    expect(again.remembers("alice", right)).toBe(true)
    writeFileSync(path, readFileSync(path, "utf8").replace(/^alice:.*$/m, `alice:${hashed("a")}`))
    expect(readPasswordFile(path, own).remembers("alice", right)).toBe(false)
  })

  test("one that was wrong, or of nobody, is not", async () => {
    const users = read(`alice:${hashed("a")}\n`)
    expect(await verify(users, ["alice", "x"], ["nobody", "x"])).toEqual([false, false])
    expect([users.remembers("alice", Buffer.from("x")), users.remembers("nobody", Buffer.from("x"))]).toEqual([false, false])
  })

  test("10,000 devices that connect again cost no hash", async () => {
    const names = Array.from({ length: 10_000 }, (_, n) => `device${n}`)
    const line = hashPassword(Buffer.from("a"), 1)
    const hasher = builtHasher({ idleMs: 1 })
    const users = readPasswordFile(fileWith(names.map((name) => `${name}:${line}\n`).join("")), new PasswordChecks(hasher))
    const all = (): Promise<boolean[]> => Promise.all(names.map((name) => users.verify(name, Buffer.from("a"))))
    expect((await all()).every(Boolean)).toBe(true)
    await waitFor(() => hasher.threadCount === 0, { what: "the threads to end" })
    expect((await all()).every(Boolean)).toBe(true)
    expect(hasher.threadCount).toBe(0)
  })
})

test("a user that there is none of costs as much as the costliest of the file", async () => {
  const costly = hashPassword(Buffer.from("a"), 50_000)
  const users = read(`cheap:${hashed("a")}\ncostly:${costly}\nold:${sha512("a")}\n`)
  await verify(users, ["cheap", "a"]) // the thread has started
  /** In processor time of all threads: that of the clock depends on what else the machine does. */
  const cost = async (user: string): Promise<number> => {
    const before = process.cpuUsage()
    expect(await verify(users, [user, "wrong"])).toEqual([false])
    const { user: own, system } = process.cpuUsage(before)
    return own + system
  }
  const costs = { costly: 0, cheap: 0, nobody: 0 }
  for (let n = 0; n < 5; n++) {
    costs.costly += await cost("costly")
    costs.cheap += await cost("cheap")
    costs.nobody += await cost(`nobody${n}`)
  }
  expect(costs.nobody).toBeGreaterThan(costs.costly / 2)
  expect(costs.cheap).toBeLessThan(costs.costly / 2)
})

test("a file without users lets nobody in", async () => {
  expect(await verify(read("# nobody yet\n"), ["alice", "a"], ["", ""])).toEqual([false, false])
})
