import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { freePort, hasMosquitto, runProcess, startMosquitto, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { parseAcl, readAclFile } from "../../src/access/rights/acl-file.js"
import { BROKER_ERRORS, BrokerError } from "../../src/errors.js"

const LINES = "a line is: user NAME, topic [read|write|readwrite|deny] TOPIC, the same with pattern, or a comment that begins with #"
const WORDS = "topic [read|write|readwrite|deny] TOPIC, with spaces between"
const FILTERS = "see the wildcards + and # of Topic Filters"
const LONELY = (word: string): string => `${WORDS}; the topic of that name is: topic readwrite ${word}`

/** What stands in the file; what is wrong, behind the name of the file; the hint; whether mosquitto starts with it. */
const WRONG: [content: string | Buffer, message: string, hint: string, mosquitto: "starts" | "refuses"][] = [
  ["topc a", '1: unknown word "topc"', LINES, "refuses"],
  ["topic a\n\n# x\nTOPIC a", '4: unknown word "TOPIC"', LINES, "refuses"],
  ["topic\ta", '1: unknown word "topic\\ta"', LINES, "refuses"],
  ["x\u001b[31m", '1: unknown word "x\\u001b[31m"', LINES, "refuses"],
  ["user", '1: no name after "user"', "lines for clients without a user stand before the first user line", "refuses"],
  ["topic a\r\nuser \t \r\n", '2: no name after "user"', "lines for clients without a user stand before the first user line", "refuses"],
  ["topic", '1: no topic after "topic"', WORDS, "refuses"],
  ["pattern  ", '1: no topic after "pattern"', WORDS, "refuses"],
  [
    "topic reed a",
    '1: "reed" is none of read, write, readwrite, deny',
    "a topic with spaces needs one of them before it: topic readwrite reed a",
    "refuses",
  ],
  [
    "pattern a b",
    '1: "a" is none of read, write, readwrite, deny',
    "a topic with spaces needs one of them before it: pattern readwrite a b",
    "refuses",
  ],
  [
    "topic \tread a",
    '1: "\\tread" is none of read, write, readwrite, deny',
    "a topic with spaces needs one of them before it: topic readwrite \tread a",
    "refuses",
  ],
  ["topic read a/#/b", '1: topic "a/#/b" is not valid: # must be the whole last level', FILTERS, "refuses"],
  ["topic a/b+", '1: topic "a/b+" is not valid: + must be a whole level', FILTERS, "refuses"],
  ["pattern deny %u#", '1: topic "%u#" is not valid: # must be the whole last level', FILTERS, "refuses"],
  ["topic read $share/g/a+", '1: topic "$share/g/a+" is not valid: + must be a whole level', FILTERS, "refuses"],
  ["topic read a/# # comment", '1: topic "a/# # comment" is not valid: # must be the whole last level', FILTERS, "refuses"],
  ["topic read", '1: no topic after "read"', LONELY("read"), "starts"],
  ["topic deny \r", '1: no topic after "deny"', LONELY("deny"), "starts"],
  ["topic read\ta", '1: no topic after "read"', LONELY("read"), "starts"],
  [Buffer.from("topic a\xff", "latin1"), "1: the line is not UTF-8 text", "save the file as UTF-8", "starts"],
  ["topic a\0b", "1: the line is not UTF-8 text", "save the file as UTF-8", "starts"],
]

function written(content: string | Buffer): string {
  const file = join(temporaryFolder(), "acl")
  const bytes = Buffer.from(content)
  writeFileSync(file, bytes.length > 0 && bytes.at(-1) !== 0x0a ? Buffer.concat([bytes, Buffer.from("\n")]) : bytes)
  return file
}

function errorOf(file: string): BrokerError {
  try {
    readAclFile(file)
  } catch (error) {
    if (error instanceof BrokerError) return error
    throw error
  }
  throw new Error("no error")
}

/** Lines as the rules that they are. */
function rulesOf(text: string): unknown[] {
  return parseAcl("acl", text).map(({ line, text: shown, scope, access, levels }) => [line, shown, scope, access, levels.join("/")])
}

describe("a wrong file", () => {
  test.each(WRONG)("%j", (content, message, hint) => {
    const file = written(content)
    const { exitCode } = BROKER_ERRORS["access-unusable"]
    expect(errorOf(file)).toMatchObject({ code: "access-unusable", exitCode, message: `${file}:${message}`, hint })
  })

  test("one whose last line has no end: the file may be half-written, and half a line may allow more", () => {
    const file = written("topic a\n")
    for (const text of ["user a\ntopic readwrite #\ntopic deny secr", "topic rea", "topic a"]) {
      writeFileSync(file, text)
      expect(errorOf(file).message).toContain("the last line has no line feed at its end: the file may be half-written")
    }
    for (const text of ["", "\n", "topic a\n", "topic a\n  ", "topic a\r\n"]) {
      writeFileSync(file, text)
      expect(() => readAclFile(file)).not.toThrow()
    }
  })

  test("a missing one, and a folder", () => {
    const folder = temporaryFolder()
    const hint = "give another one with --acl-file FILE, or none for no rules"
    const missing = join(folder, "none")
    expect(errorOf(missing)).toMatchObject({
      message: `the ACL file ${JSON.stringify(missing)} cannot be read: no such file or directory`,
      hint,
    })
    mkdirSync(join(folder, "a"))
    expect(errorOf(join(folder, "a")).message).toContain("it is a folder")
  })
})

describe.runIf(hasMosquitto())("mosquitto with the same file", () => {
  test.each(WRONG.map(([content, , , mosquitto]) => [content, mosquitto] as const))("%j: %s", async (content, mosquitto) => {
    const file = written(content)
    if (mosquitto === "starts") return (await startMosquitto(["allow_anonymous true", `acl_file ${file}`])).stop()
    const conf = `${file}.conf`
    writeFileSync(conf, `user root\nlistener ${await freePort()} 127.0.0.1\nacl_file ${file}\n`)
    expect(await runProcess("mosquitto", ["-c", conf])).toMatchObject({ code: 3, stderr: expect.stringContaining("acl_file") })
  })
})

describe("what lines mean", () => {
  test("words, users, blanks, comments, ends of lines", () => {
    const text = [
      "\uFEFF# for everybody\r",
      "topic a/#",
      " topic  read   b c/d \t\r",
      "  # indented",
      "\t \v",
      "user   ä b  ",
      "topic write %u",
      "pattern deny %u/+",
      "user c",
      "user d # e\r",
      "topic readwrite read",
      "topic deny $SYS/#",
      "pattern a",
      "topic read $share/a",
    ].join("\n")
    expect(rulesOf(text)).toEqual([
      [2, "topic a/#", "anonymous", "readwrite", "a/#"],
      [3, "topic  read   b c/d", "anonymous", "read", "b c/d"],
      [7, "topic write %u", { user: "ä b" }, "write", "%u"],
      [8, "pattern deny %u/+", "pattern", "deny", "%u/+"],
      [11, "topic readwrite read", { user: "d # e" }, "readwrite", "read"],
      [12, "topic deny $SYS/#", { user: "d # e" }, "deny", "$SYS/#"],
      [13, "pattern a", "pattern", "readwrite", "a"],
      [14, "topic read $share/a", { user: "d # e" }, "read", "$share/a"],
    ])
  })

  test("comments may be no UTF-8", () => {
    const file = written(Buffer.from("# f\xfcr alle\ntopic a\n", "latin1"))
    expect(readAclFile(file).permissions({ user: undefined, clientId: "c" }).mayRead("a")).toBe(true)
  })

  test.each(["", "\n\n", "# topic #\n", "user a\nuser b\n"])("%j allows nothing", (content) => {
    const rules = readAclFile(written(content))
    for (const user of [undefined, "a", "b"]) {
      const permissions = rules.permissions({ user, clientId: "c" })
      expect([permissions.mayRead("a"), permissions.mayWrite("a"), permissions.maySubscribe("#"), permissions.maySubscribe("a")]).toEqual([
        false,
        false,
        false,
        false,
      ])
    }
  })
})
