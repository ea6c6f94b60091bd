import { readdirSync, readFileSync } from "node:fs"
import { stat } from "node:fs/promises"
import { runProcess, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { hashPassword, parseHash, type PasswordHash } from "../../src/access/users/password-hash.js"
import { builtHasher } from "../support/threads.js"

const RIGHT = Buffer.from("right")

function hash(iterations: number): PasswordHash {
  const parsed = parseHash(hashPassword(RIGHT, iterations))
  if (typeof parsed === "string") throw new Error(parsed)
  return parsed
}

const cheap = hash(1)
const costly = hash(20_000)

describe("threads", () => {
  test("are there while there is work, at most two", async () => {
    const hasher = builtHasher({ idleMs: 50 })
    expect(hasher.threadCount).toBe(0)
    const first = hasher.check(cheap, RIGHT)
    expect(hasher.threadCount).toBe(1)
    const more = Array.from({ length: 20 }, () => hasher.check(cheap, RIGHT))
    expect(hasher.threadCount).toBe(2)
    expect(await Promise.all([first, ...more])).toEqual(Array<boolean>(21).fill(true))
    await waitFor(() => hasher.threadCount === 0, { what: "the threads to end" })
    expect(await hasher.check(cheap, Buffer.from("wrong"))).toBe(false)
  })

  test("each answer goes to the one who asked", async () => {
    const hasher = builtHasher()
    const asked = Array.from({ length: 200 }, (_, n) => n % 3 === 0)
    expect(await Promise.all(asked.map((right) => hasher.check(cheap, right ? RIGHT : Buffer.from("wrong"))))).toEqual(asked)
  })

  test("are not libuv's: a file is looked at while passwords wait to be hashed", async () => {
    const hasher = builtHasher()
    await hasher.check(cheap, RIGHT)
    let hashed = 0
    const checks = Array.from({ length: 40 }, async () => {
      await hasher.check(costly, RIGHT)
      hashed++
    })
    await stat(import.meta.filename)
    expect(hashed).toBeLessThan(20) // where they share the threads, nearly all of them come first
    await Promise.all(checks)
    expect(hashed).toBe(40)
  })

  test.runIf(process.platform === "linux")("come after the broker's other threads", async () => {
    await builtHasher().check(cheap, RIGHT)
    const folder = `/proc/${process.pid}/task`
    const niceness = readdirSync(folder).map((thread) => readFileSync(`${folder}/${thread}/stat`, "utf8").split(") ")[1]?.split(" ")[16])
    expect(niceness).toContain("5")
  })

  test("do not keep a process alive", async () => {
    const built = new URL("../../dist/access/users/", import.meta.url).href
    const program = `
      import { Hasher } from "${built}hasher.js"
      import { hashPassword, parseHash } from "${built}password-hash.js"
      const alive = setInterval(() => {}, 1000)
      const right = await new Hasher().check(parseHash(hashPassword(Buffer.from("a"), 1)), Buffer.from("a"))
      clearInterval(alive)
      console.log(right)`
    expect(await runProcess(process.execPath, ["--input-type=module", "-e", program])).toMatchObject({ code: 0, stdout: "true\n" })
  })
})

describe("what waits is bounded", () => {
  test("10,000 passwords; the next one is refused at once, and all others are answered", async () => {
    const hasher = builtHasher()
    const checks = Array.from({ length: 10_002 }, () => hasher.check(cheap, RIGHT))
    expect(hasher.busy).toBe(true)
    expect(await hasher.check(cheap, RIGHT)).toBe(false)
    expect((await Promise.all(checks)).every(Boolean)).toBe(true)
    expect(hasher.busy).toBe(false)
    expect(await hasher.check(cheap, RIGHT)).toBe(true)
  })

  test("16 MB of them", async () => {
    const hasher = builtHasher()
    const long = Buffer.alloc(65_535)
    const checks = Array.from({ length: 259 }, () => hasher.check(cheap, long))
    expect(hasher.busy).toBe(true)
    expect((await Promise.all(checks)).some(Boolean)).toBe(false)
    expect(hasher.busy).toBe(false)
  })
})

test("a thread that cannot work makes no password right, and says why", async () => {
  const problems: string[] = []
  const hasher = builtHasher({ program: new URL("file:///nowhere/hash-worker.js"), failed: (problem) => problems.push(problem) })
  expect(await Promise.all([1, 2, 3].map(() => hasher.check(cheap, RIGHT)))).toEqual([false, false, false])
  expect(problems).toEqual(Array<unknown>(3).fill(expect.stringContaining("/nowhere/hash-worker.js")))
})

test("a hash that cannot be computed makes no password right, and is told of; the thread goes on", async () => {
  const problems: string[] = []
  const hasher = builtHasher({ failed: (problem) => problems.push(problem) })
  const tooLarge: PasswordHash = {
    kind: "argon2id",
    memoryKib: 2 ** 23,
    iterations: 1,
    lanes: 1,
    salt: Buffer.alloc(8),
    digest: Buffer.alloc(32),
  }
  expect(await hasher.check(tooLarge, RIGHT)).toBe(false)
  expect(problems).toHaveLength(1)
  expect([await hasher.check(cheap, RIGHT), hasher.threadCount]).toEqual([true, 1])
})
