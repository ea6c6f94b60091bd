import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { compileDisk, diskEnvironment, hasCompiler, type DiskOptions } from "../support/misbehaving-disk.js"

/** What the scripts below use: the calls of the store, with short names. */
const CALLS = `
const fs = require("node:fs")
const put = (file, text, at) => fs.writeSync(file, Buffer.from(text), 0, text.length, at)
const open = (name, flags = "w+") => fs.openSync(name, flags)
const said = (task) => { try { task(); return "done" } catch (error) { return error.code } }
const sync = fs.fdatasyncSync
const syncNames = () => fs.fsyncSync(fs.openSync(".", "r"))
const here = process.cwd() + "/"
`

interface Ran {
  stdout: string
  signal: string | null
  /** The files of the image, by name. */
  image: Record<string, string>
  store: Record<string, string>
}

/** The bytes as text, a zero as a dot. */
const textOf = (file: string): string => readFileSync(file, "latin1").replaceAll("\0", ".")

function contents(folder: string): Record<string, string> {
  if (!existsSync(folder)) return {}
  const names = readdirSync(folder).filter((name) => /^(journal|mqtt-broker)\./.test(name))
  return Object.fromEntries(names.map((name) => [name, textOf(join(folder, name))]))
}

/** Runs a script on the disk in a folder of its own. */
function run(script: string, options: DiskOptions & { order?: string } = {}): Ran {
  const folder = temporaryFolder()
  const [store, image, orders] = [join(folder, "store"), join(folder, "image"), join(folder, "orders")]
  mkdirSync(store)
  const { order, ...disk } = options
  if (order !== undefined) writeFileSync(orders, order)
  const env = { ...process.env, ...diskEnvironment(library, { image, die: orders, fail: orders, ...disk }) }
  const { stdout, stderr, signal } = spawnSync(process.execPath, ["-e", CALLS + script], { cwd: store, env })
  expect(stderr.toString()).toBe("")
  return { stdout: stdout.toString(), signal, image: contents(image), store: contents(store) }
}

const library = hasCompiler() ? compileDisk() : ""

describe.runIf(library)("what a power cut leaves", () => {
  test("a write after the fdatasync behind it, each file by itself, a name after the fsync of the folder", () => {
    const { image } = run(`
      const [a, b, tables] = ["journal.0", "journal.1", "mqtt-broker.mdb"].map((name) => open(here + name))
      put(a, "aaaa", 0)
      put(b, "bb", 4)
      put(tables, "t", 0)
      sync(a); sync(tables); syncNames()
      put(a, "AA", 2)
      const late = open(here + "journal.2")
      put(late, "late", 0)
      sync(late)`)
    expect(image).toEqual({ "journal.0": "aaaa", "journal.1": "", "mqtt-broker.mdb": "t" })
  })

  test("a write through O_DSYNC at once, what writev and write wrote, a length that was cut", () => {
    const { image } = run(`
      const file = open(here + "journal.0")
      fs.writevSync(file, [Buffer.from("ab"), Buffer.from("cd")], 1)
      fs.writeSync(file, "x")
      fs.writevSync(file, [Buffer.from("y"), Buffer.from("z")])
      sync(file); syncNames()
      const direct = fs.openSync(here + "journal.0", fs.constants.O_WRONLY | fs.constants.O_DSYNC)
      put(direct, "D", 4)
      fs.ftruncateSync(file, 2)`)
    expect(image).toEqual({ "journal.0": "xyzcD" })
    const script = `const file = open(here + "journal.0"); put(file, "abc", 0); fs.ftruncateSync(file, 2); fs.fsyncSync(file); syncNames()`
    expect(run(script).image).toEqual({ "journal.0": "ab" })
  })

  test("nothing of what a failed sync covered, though the next one succeeds, nor what is written there again", () => {
    const { image, stdout, store } = run(
      `const file = open(here + "journal.0"); syncNames()
      put(file, "lost", 0)
      console.log(said(() => sync(file)), said(() => sync(file)))
      put(file, "lost+kept", 0)
      sync(file)`,
      { order: "journal-sync 5 1" },
    )
    expect([stdout, image, store]).toEqual(["EIO done\n", { "journal.0": "....+kept" }, { "journal.0": "lost+kept" }])
  })

  test("a failed sync loses what waits, and is told to each descriptor once", () => {
    const { image, stdout } = run(
      `const file = open(here + "journal.0"); syncNames()
      const other = fs.openSync(here + "journal.0", "r+")
      put(file, "\\0\\0\\0", 0)
      const results = [said(() => sync(other)), said(() => sync(other))]
      put(file, "kept", 4)
      console.log(...results, said(() => sync(file)), said(() => sync(file)))`,
      { order: "filling-sync 5 1" },
    )
    expect([stdout, image]).toEqual(["EIO done EIO done\n", { "journal.0": "....kept" }])
  })

  test("a removed or renamed file is gone when the folder was synced; one that was removed and made anew is not there before", () => {
    const begin = `for (const name of ["journal.0", "journal.1"]) { const file = open(here + name); put(file, name, 0); sync(file) } syncNames();`
    const change = `fs.unlinkSync(here + "journal.0"); fs.renameSync(here + "journal.1", here + "journal.9");`
    expect(run(`${begin} ${change} syncNames()`).image).toEqual({ "journal.9": "journal.1" })
    const images = Array.from(
      { length: 20 },
      () => run(`${begin} ${change} const file = open(here + "journal.0"); put(file, "new", 0); sync(file)`).image,
    )
    const texts = new Set(images.map((image) => JSON.stringify(image)))
    expect(texts).toEqual(new Set(['{"journal.0":"journal.0","journal.1":"journal.1"}', '{"journal.1":"journal.1"}']))
  })

  test.each(["half", "random"] as const)("torn: %s of what was not synced", (tear) => {
    const { image } = run(`const file = open(here + "journal.0"); syncNames(); put(file, "x".repeat(8192), 100)`, { tear })
    const text = image["journal.0"] ?? ""
    if (tear === "half") expect(text).toBe(".".repeat(100) + "x".repeat(4096))
    else {
      expect(text).toMatch(/^\.{100}(x{412}|\.{412})?((x{512})|(\.{512}))*(x{100})?$/)
      expect(text).toMatch(/x\.*x|^\.*$/)
    }
  })

  test("a disk that lies, and one that goes on with the image that is there", () => {
    const script = `const file = open(here + "journal.0"); syncNames(); for (const at of [0, 1, 2, 3]) { put(file, "x", at); sync(file) }`
    expect(run(script, { lieAfter: 2 }).image).toEqual({ "journal.0": "xx" })
    const again = `const file = open(here + "journal.0"); syncNames(); put(file, "one", 0); sync(file)
      require("node:child_process").spawnSync(process.execPath, ["-e", 'const fs = require("fs"); const file = fs.openSync(process.cwd() + "/journal.0", "r+"); fs.writeSync(file, "two", 3); fs.fdatasyncSync(file)'])`
    expect(run(again).image).toEqual({ "journal.0": "onetwo" })
  })

  test("a descriptor that was closed and is another file's", () => {
    const { image, stdout } = run(`
      fs.writeFileSync(here + "journal.0", "kept")
      const file = open(here + "journal.0", "r+"); sync(file); syncNames()
      fs.closeSync(file)
      const other = open(here + "other"); put(other, "other", 0); sync(other)
      console.log(file === other)`)
    expect([stdout, image]).toEqual(["true\n", { "journal.0": "kept" }])
  })

  test("only the folder in which a file was opened for writing first counts", () => {
    const { image } = run(`
      const file = open(here + "journal.0"); syncNames()
      fs.mkdirSync("other")
      const other = open(here + "other/journal.0"); put(other, "other", 0); sync(other)
      fs.fsyncSync(fs.openSync("other", "r"))
      put(open(here + "mqtt-broker.mdb-lock"), "x", 0); syncNames()`)
    expect(image).toEqual({ "journal.0": "" })
  })
})

/** Two records with filling between them, then a transaction of LMDB, then a second segment. */
const COMMITS = `
  const file = open(here + "journal.0"); syncNames()
  put(file, "1", 0); sync(file); console.log("1")
  put(file, "\\0\\0\\0", 8); sync(file)
  put(file, "22", 1); sync(file); console.log("2")
  const direct = fs.openSync(here + "mqtt-broker.mdb", fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_DSYNC)
  syncNames()
  put(direct, "m", 0); console.log("m")
  const next = open(here + "journal.1"); syncNames()
  put(next, "3", 0); sync(next); console.log("3")`

describe.runIf(library)("when it dies", () => {
  const first = { "journal.0": "1" }
  const both = { "journal.0": "122........" }
  test.each([
    ["before 1", "", { "journal.0": "" }],
    ["after 1", "", first],
    ["before 2", "1\n", { "journal.0": "1.........." }],
    ["after 2", "1\n", both],
    ["fold-before 1", "1\n2\n", { ...both, "mqtt-broker.mdb": "" }],
    ["fold-after 1", "1\n2\n", { ...both, "mqtt-broker.mdb": "m" }],
    ["switch-before 1", "", { "journal.0": "" }],
    ["switch-before 2", "1\n2\nm\n", { ...both, "mqtt-broker.mdb": "m", "journal.1": "" }],
    ["switch-after 2", "1\n2\nm\n", { ...both, "mqtt-broker.mdb": "m", "journal.1": "" }],
  ])("%s", (order, stdout, image) => {
    const ran = run(COMMITS, { order })
    expect([ran.signal, ran.stdout, ran.image]).toEqual(["SIGKILL", stdout, image])
  })

  test("torn 2: half of the record is written", () => {
    const ran = run(COMMITS, { order: "torn 2" })
    expect([ran.signal, ran.stdout, ran.store]).toEqual(["SIGKILL", "1\n", { "journal.0": "12........." }])
  })

  test("not at a point that is not reached", () =>
    expect(run(COMMITS, { order: "before 4" })).toMatchObject({ signal: null, stdout: "1\n2\nm\n3\n" }))
})

describe.runIf(library)("when it fails", () => {
  const ALL = `
    const file = open(here + "journal.0")
    const tables = open(here + "mqtt-broker.mdb")
    const direct = fs.openSync(here + "mqtt-broker.mdb", fs.constants.O_WRONLY | fs.constants.O_DSYNC)
    fs.writeFileSync("../orders", "ORDER")
    const results = [
      () => put(file, "record", 0), () => put(file, "\\0\\0", 0), () => sync(file),
      () => put(tables, "page", 0), () => sync(tables), () => put(direct, "meta", 0),
      () => open(here + "journal.1"), () => fs.openSync(here + "mqtt-broker.mdb", "r"), syncNames].map(said)
    console.log(results.join(" "))`

  test.each([
    ["sync 5", "done done EIO done EIO done done done done"],
    ["journal-sync 5", "done done EIO done done done done done done"],
    ["table-sync 5", "done done done done EIO done done done done"],
    ["filling-sync 5", "done done EIO done done done done done done"],
    ["folder-sync 5", "done done done done done done done done EIO"],
    ["commit 28", "ENOSPC done done done done done done done done"],
    ["journal-write 28", "ENOSPC ENOSPC done done done done done done done"],
    ["table-write 28", "done done done ENOSPC done ENOSPC done done done"],
    ["fold 28", "done done done done done ENOSPC done done done"],
    ["open 5", "done done done done done done EIO EIO done"],
    ["table-open 5", "done done done done done done done EIO done"],
    ["commit,fold,journal-open 5", "EIO done done done done EIO EIO done done"],
    ["journal-write 28 1", "ENOSPC done done done done done done done done"],
  ])("%s", (order, results) => {
    expect(run(ALL.replace("ORDER", order)).stdout).toBe(`${results}\n`)
  })
})
