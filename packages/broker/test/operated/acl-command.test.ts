import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { runCli, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"

const cwd = temporaryFolder()
const LINES = [
  "topic read news/#",
  "user joe",
  "topic readwrite a/#",
  "topic deny a/secret",
  "topic a/b/+",
  "user ä b",
  "topic write  with space",
  "topic #",
  "topic $SYS/#",
  "pattern read dev/%c/#",
  "pattern deny dev/%u/x",
  "user \u001b[31m",
  "topic \u202e",
]
writeFileSync(join(cwd, "acl"), `${LINES.join("\n")}\n`)
writeFileSync(join(cwd, "plain"), "user joe\ntopic a\n")

/** Arguments in front of `--acl-file acl`, exit code, the line on stdout. */
const ANSWERS: [args: string[], code: number, stdout: string][] = [
  [["joe", "write", "a/b"], 0, "allowed by acl:3: topic readwrite a/#"],
  [["joe", "read", "a/b/c"], 0, "allowed by acl:3: topic readwrite a/#"],
  [["joe", "read", "a/secret"], 5, "refused by acl:4: topic deny a/secret"],
  [["joe", "write", "a/secret"], 5, "refused by acl:4: topic deny a/secret"],
  [["joe", "read", "a/secret/+"], 0, "allowed by acl:3: topic readwrite a/#"],
  [["joe", "read", "+/secret"], 5, "refused by acl:4: topic deny a/secret"],
  [["joe", "read", "#"], 0, "allowed by acl:3: topic readwrite a/#"],
  [["joe", "read", "$share/group/a/secret"], 5, "refused by acl:4: topic deny a/secret"],
  [["joe", "read", "$share/group/a/b"], 0, "allowed by acl:3: topic readwrite a/#"],
  [["joe", "read", "news/x", "--client", "c"], 5, "refused: no line of acl allows it"],
  [["--anonymous", "read", "news/x"], 0, "allowed by acl:1: topic read news/#"],
  [["--anonymous", "write", "news/x", "--client", "c"], 5, "refused: no line of acl allows it"],
  [["-", "read", "news/x", "--client", "c"], 5, "refused: no line of acl allows it"],
  [["ä b", "write", "with space"], 0, "allowed by acl:7: topic write  with space"],
  [["ä b", "read", "with space"], 0, "allowed by acl:8: topic #"],
  [["joe", "read", "dev/phone/x", "--client", "phone"], 0, "allowed by acl:10: pattern read dev/%c/#"],
  [["joe", "read", "dev/+/y", "--client", "phone"], 0, "allowed by acl:10: pattern read dev/%c/#"],
  [["joe", "read", "dev/joe/x", "--client", "joe"], 5, "refused by acl:11: pattern deny dev/%u/x"],
  [["joe", "read", "dev/pc/x", "--client", "phone"], 5, "refused: no line of acl allows it"],
  [["joe", "read", "dev/+/x", "--client", "+"], 5, "refused: no line of acl allows it; patterns are not for names with + or #"],
  [["ä b", "write", "$SYS/broker/x"], 5, "refused: clients may not publish below $SYS, whatever the file says"],
  [["ä b", "write", "$SYS/broker/connection/x/state"], 0, "allowed by acl:9: topic $SYS/#"],
  [["\u001b[31m", "read", "\u202e"], 0, "allowed by acl:13: topic \\u202e"],
  [["ä b", "read", "$SYS/broker/x"], 0, "allowed by acl:9: topic $SYS/#"],
]

const HINT = "hint: for clients without a user: --anonymous read|write TOPIC\n"

/** Arguments, exit code, what stderr says: all of it. */
const REFUSED: [args: string[], code: number, stderr: string][] = [
  [["acl", "explain", "joe", "read", "a"], 2, "error: no ACL file is given\nhint: add --acl-file FILE, or set MQTT_BROKER_ACL_FILE\n"],
  [["acl", "explain", "read", "a", "--acl-file", "acl"], 2, `error: the question is: USER read|write TOPIC\n${HINT}`],
  [["acl", "explain", "joe", "read", "a", "b", "--acl-file", "acl"], 2, `error: the question is: USER read|write TOPIC\n${HINT}`],
  [
    ["acl", "explain", "joe", "read", "a", "--anonymous", "--acl-file", "acl"],
    2,
    "error: with --anonymous the question is: read|write TOPIC\nhint: for example: mqtt-broker acl explain --anonymous read a/b\n",
  ],
  [["acl", "explain", "joe", "reads", "a", "--acl-file", "acl"], 2, 'error: what the client does "reads" is not one of read, write\n'],
  [["acl", "explain", "joe", "write", "a/#"], 2, 'error: topic "a/#" is not valid: wildcards (+ and #) are for subscribing only\n'],
  [["acl", "explain", "joe", "read", "a#"], 2, 'error: topic filter "a#" is not valid: # must be the whole last level\n'],
  [["acl", "check"], 2, 'error: what acl does "check" is not one of explain\n'],
  [
    ["acl", "explain", "joe", "read", "a", "--acl-file", "none"],
    17,
    'error: the ACL file "none" cannot be read: no such file or directory\nhint: give another one with --acl-file FILE, or none for no rules\n',
  ],
]

function joeReads(...args: string[]): ReturnType<typeof runCli> {
  return runCli("mqtt-broker", ["acl", "explain", "joe", "read", ...args], { cwd })
}

describe("mqtt-broker acl explain", () => {
  test.each(ANSWERS)("%j: exit code %i, %s", async (args, code, stdout) => {
    const result = await runCli("mqtt-broker", ["acl", "explain", ...args, "--acl-file", "acl"], { cwd })
    expect(result).toMatchObject({ code, stdout: `${stdout}\n`, stderr: "" })
  })

  test.each(REFUSED)("%j: exit code %i, one sentence", async (args, code, stderr) => {
    expect(await runCli("mqtt-broker", args, { cwd })).toMatchObject({ code, stderr, stdout: "" })
  })

  test("without --client it says that patterns with %c were left out, where they could decide", async () => {
    const note = "patterns with %c were left out; --client ID says whom they are about\n"
    expect(await joeReads("dev/phone/y", "--acl-file", "acl")).toMatchObject({
      code: 5,
      stdout: "refused: no line of acl allows it\n",
      stderr: note,
    })
    expect(await joeReads("a/b", "--acl-file", "acl")).toMatchObject({ code: 0, stderr: "" })
    expect(await joeReads("b", "--acl-file", "plain")).toMatchObject({ code: 5, stderr: "" })
  })

  test("--json, and the file from the environment", async () => {
    const env = { MQTT_BROKER_ACL_FILE: "acl" }
    const json = async (...args: string[]): Promise<unknown> => {
      const { stdout } = await runCli("mqtt-broker", ["acl", "explain", ...args, "--json", "--client", "c"], { cwd, env })
      expect(stdout).toMatch(/^[^\n]+\n$/)
      return JSON.parse(stdout)
    }
    const none = { file: "acl", line: null, rule: null }
    expect(await json("joe", "read", "a/b")).toEqual({ allowed: true, file: "acl", line: 3, rule: "topic readwrite a/#", reason: null })
    expect(await json("joe", "read", "a/secret")).toEqual({
      allowed: false,
      file: "acl",
      line: 4,
      rule: "topic deny a/secret",
      reason: null,
    })
    expect(await json("joe", "read", "b")).toEqual({ ...none, allowed: false, reason: "no line of acl allows it" })
    const reason = "clients may not publish below $SYS, whatever the file says"
    expect(await json("joe", "write", "$SYS/x")).toEqual({ ...none, allowed: false, reason })
  })

  test("a wrong line: exit code 17, the file, the number, and what to do; nothing of it reaches the terminal as it is", async () => {
    writeFileSync(join(cwd, "wrong"), "topic a\nx\u001b[31m\u202e b\n")
    const { code, stdout, stderr } = await runCli("mqtt-broker", ["acl", "explain", "joe", "read", "a", "--acl-file", "wrong"], { cwd })
    expect([code, stdout]).toEqual([17, ""])
    expect(stderr).toBe(
      'error: wrong:2: unknown word "x\\u001b[31m\\u202e"\nhint: a line is: user NAME, topic [read|write|readwrite|deny] TOPIC, the same with pattern, or a comment that begins with #\n',
    )
  })
})
