import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { runCli, spawnCli, startBroker, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { timedCertificate } from "../support/timed-certificate.js"

function folderWith(content: string): string {
  const cwd = temporaryFolder()
  writeFileSync(join(cwd, "b.toml"), content)
  return cwd
}

test("each value and where it came from: flag, variable, file, default", async () => {
  const cwd = folderWith('port = 1883\nmax-queue = "2GB"\njson = true\nmax-packet = 2048\n')
  const env = { MQTT_BROKER_CONNECT_TIMEOUT: "5s", MQTT_BROKER_MAX_PACKET: "4KB", MQTT_BROKER_JSON: "" }
  const result = await runCli("mqtt-broker", ["check", "--config", "b.toml", "--port", "1884", "--store", "file:./kept"], { cwd, env })
  const store = `file:${join(cwd, "kept")}`
  const rows = [
    ["config", "b.toml", "--config"],
    ["port", "1884", "--port"],
    ["host", "127.0.0.1", "default"],
    ["listen", "none", "default"],
    ["ws-origin", "none", "default"],
    ["proxy-protocol", "none", "default"],
    ["tls-cert", "none", "default"],
    ["tls-key", "none", "default"],
    ["tls-ca", "none", "default"],
    ["tls-require-cert", "false", "default"],
    ["tls-user", "false", "default"],
    ["password-file", "none", "default"],
    ["acl-file", "none", "default"],
    ["anonymous", "false", "default"],
    ["store", store, "--store"],
    ["lease", "10s", "default"],
    ["max-packet", "4KB", "MQTT_BROKER_MAX_PACKET"],
    ["max-inflight", "100", "default"],
    ["max-connections", "10000", "default"],
    ["max-connections-per-address", "none", "default"],
    ["connect-timeout", "5s", "MQTT_BROKER_CONNECT_TIMEOUT"],
    ["max-sessions", "100000", "default"],
    ["max-subscriptions", "10000", "default"],
    ["max-topic-levels", "100", "default"],
    ["max-rate", "none", "default"],
    ["max-byte-rate", "none", "default"],
    ["max-queue", "2GB", "b.toml"],
    ["max-retained", "1000000", "default"],
    ["max-retained-size", "256MB", "default"],
    ["max-memory", "half of what the machine or container has", "default"],
    ["max-store", "none", "default"],
    ["log-level", "info", "default"],
    ["json", "true", "b.toml"],
  ]
  expect(result).toMatchObject({ code: 0, stderr: "" })
  expect(result.stdout.split("\n").map((line) => line.split(/ {2,}/))).toEqual([...rows, [""]])
})

test("--json: one object, with what the broker understood, and nothing on stderr", async () => {
  const cwd = folderWith('max-queue = "2KB"\nport = 0\n')
  const result = await runCli("mqtt-broker", ["check", "--json", "--store", "memory:"], { cwd, env: { MQTT_BROKER_CONFIG: "b.toml" } })
  expect(result).toMatchObject({ code: 0, stderr: "" })
  const { options, warnings }: { options: { option: string }[]; warnings: string[] } = JSON.parse(result.stdout)
  const row = (name: string): unknown => options.find(({ option }) => option === name)
  expect(row("max-queue")).toEqual({ option: "max-queue", value: 2048, source: "file", from: "b.toml", text: "2KB" })
  expect(row("config")).toEqual({ option: "config", value: "b.toml", source: "env", from: "MQTT_BROKER_CONFIG", text: "b.toml" })
  expect(row("store")).toEqual({ option: "store", value: "memory:", source: "flag", from: "--store", text: "memory:" })
  expect(row("json")).toEqual({ option: "json", value: false, source: "default", from: null, text: "false" })
  expect(warnings).toHaveLength(3)
})

/** Arguments, and what is odd about them: all of stderr. */
const ODD: [args: string, stderr: string][] = [
  ["", ""],
  ["--max-queue 1MB --max-retained-size 1MB --max-sessions 10000 --log-level error", ""],
  ["--max-packet 2MB --max-retained 0 --max-retained-size 0", ""],
  ["--host 0.0.0.0 --anonymous", 'warning: everybody who reaches "0.0.0.0" may connect, read and publish, without a password\n'],
  ["--anonymous", 'warning: anonymous changes nothing: only this machine reaches "127.0.0.1"\n'],
  ["--port 0", "warning: port 0: at each start another one, that clients have to be told\n"],
  ["--store memory:", "warning: store memory: nothing survives the broker\n"],
  ["--max-queue 1KB", "warning: max-queue is less than max-packet: a message that is accepted may find no room in any queue\n"],
  ["--max-retained-size 1KB", "warning: max-retained-size is less than max-packet: a message that is accepted may never be retained\n"],
  ["--max-sessions 9999", "warning: max-sessions is less than max-connections: each connection needs a session, so fewer can connect\n"],
  ["--max-connections-per-address 9999 --proxy-protocol 127.0.0.1", ""],
  [
    "--max-connections-per-address 10000",
    "warning: max-connections-per-address is not less than max-connections: one address may take them all\n",
  ],
  ["--proxy-protocol ::/0", "warning: proxy-protocol of 0 bits: whoever connects may say that it comes from anywhere\n"],
  [
    "--proxy-protocol 10.0.0.0/8",
    "warning: proxy-protocol changes nothing: none of its addresses is this machine's, which alone reaches the broker\n",
  ],
  ["--max-rate 1/s --max-byte-rate 103KB/s", ""],
  [
    "--max-rate 59/m",
    "warning: max-rate is less than one message a second: a client that sends two waits longer for the answer than most do\n",
  ],
  [
    "--max-byte-rate 64KB/s",
    "warning: max-byte-rate is little for max-packet: behind the largest packet a client is not read for 16 s, its pings included\n",
  ],
  ["--log-level silent", "warning: log-level silent: nobody learns what was dropped\n"],
]

test.each(ODD)("what is odd is said, and no error: %s", async (args, stderr) => {
  expect(await runCli("mqtt-broker", ["check", ...args.split(" ").filter(Boolean)])).toMatchObject({ code: 0, stderr })
})

const TIMES: [from: number, to: number, problem: string][] = [
  [-1, 14.1, ""],
  [-1, 13.9, "expires soon, "],
  [-2, -1, "has expired, "],
  [1, 30, "is not valid before "],
]

test.each(TIMES)("a certificate from day %d to day %d: %j", async (from, to, problem) => {
  const { cert, key } = timedCertificate(from, to)
  const args = ["--listen", "mqtts://localhost:8883", "--tls-cert", cert, "--tls-key", key]
  const own = [`the certificate "${cert}" ${problem}`]
  const cases: [more: string[], said: string[]][] = [
    [[], own],
    [
      ["--tls-ca", cert, "--tls-require-cert"],
      [...own, `an authority in "${cert}" ${problem}`],
    ],
  ]
  for (const [more, said] of cases) {
    const { code, stderr } = await runCli("mqtt-broker", ["check", ...args, ...more])
    const lines = problem === "" ? [] : said.map((text): unknown => expect.stringContaining(`warning: ${text}`))
    expect([code, stderr.split("\n").filter(Boolean)]).toEqual([0, lines])
  }
})

test("%u and %c in lines of an ACL file that are no patterns", async () => {
  const cwd = temporaryFolder()
  writeFileSync(join(cwd, "acl"), "topic read home/%u\nuser alice\ntopic write %%c/x\ntopic 100%/u\npattern read home/%u/%c\n")
  writeFileSync(join(cwd, "passwords"), "# nobody\n")
  const { code, stderr } = await runCli("mqtt-broker", ["check", "--acl-file", "acl", "--password-file", "passwords"], { cwd })
  const why = "%u and %c name the client only in lines that begin with pattern, here they are text"
  expect([code, stderr]).toEqual([0, `warning: acl:1: ${why}: topic read home/%u\nwarning: acl:3: ${why}: topic write %%c/x\n`])
})

describe("what check accepts, starts; what it refuses, does not, with the same words", () => {
  const common = 'port = 0\nstore = "memory:"\n'

  test.each([
    common,
    `${common}max-packet = "256MB"\nmax-inflight = 4096\nmax-topic-levels = 1\nmax-retained = 0\nconnect-timeout = "1.5m"`,
    `${common}host = "0.0.0.0"\nanonymous = true\nlog-level = "silent"`,
    'port = 0\nstore = "file:./kept"\nmax-queue = "0"\nmax-sessions = 1\njson = "no"',
  ])("%j", async (content) => {
    const cwd = folderWith(content)
    expect(await runCli("mqtt-broker", ["check", "--config", "b.toml"], { cwd })).toMatchObject({ code: 0 })
    expect(existsSync(join(cwd, "kept"))).toBe(false)
    await spawnCli("mqtt-broker", ["start", "--config", "b.toml"], { cwd }).waitForLine("ready")
  })

  test.each(["max-packet = 1", "host = '::'", "max-sessions = 0", "connect-timeout = 'soon'", "log-level = 1", "x = 1", "=", "port = []"])(
    "%j",
    async (content) => {
      const cwd = folderWith(content)
      const [checked, started] = await Promise.all(
        ["check", "start"].map((command) => runCli("mqtt-broker", [command, "--config", "b.toml"], { cwd })),
      )
      expect(checked).toMatchObject({ code: 2, stdout: "" })
      expect(checked).toEqual(started)
    },
  )

  test.each([
    ["mqtt://127.0.0.1:4301", "mqtt://127.0.0.1:4301"],
    ["mqtt://127.0.0.1:4301", "ws://127.0.0.1:4301"],
  ])("--listen %s --listen %s", async (...urls) => {
    const args = urls.flatMap((url) => ["--listen", url])
    const [checked, started] = await Promise.all(["check", "start"].map((command) => runCli("mqtt-broker", [command, ...args])))
    expect(checked).toMatchObject({ code: 2, stdout: "" })
    expect(checked).toEqual(started)
  })

  test.each([
    ["one port on two addresses", ["mqtt://127.0.0.1:4301", "mqtt://127.0.0.2:4301"]],
    ["any free ports", ["mqtt://127.0.0.1:0", "ws://127.0.0.1:0"]],
  ])("%s are two places", async (_, urls) => {
    expect(await runCli("mqtt-broker", ["check", ...urls.flatMap((url) => ["--listen", url])])).toMatchObject({ code: 0 })
  })

  test("the exit codes of --help are those of a file of TLS, of users and of rights", async () => {
    const { stdout } = await runCli("mqtt-broker", ["check", "--help"])
    expect(stdout.replaceAll(/\s+/g, " ")).toContain("2 for the options, 16 for a file of TLS, 17 for the password file or the ACL file.")
    const tls = ["--listen", "mqtts://127.0.0.1:0", "--tls-cert", "none", "--tls-key", "none"]
    for (const [code, args] of [
      [16, tls],
      [17, ["--password-file", "none"]],
      [17, ["--acl-file", "none"]],
    ] as const)
      expect(await runCli("mqtt-broker", ["check", ...args], { cwd: temporaryFolder() })).toMatchObject({ code, stdout: "" })
  })

  test("the README's file", async () => {
    const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8")
    const cwd = folderWith(/^```toml\n(.*?)^```$/ms.exec(readme)?.[1] ?? "=")
    const { code, stdout } = await runCli("mqtt-broker", ["check", "--config", "b.toml"], { cwd })
    expect([code, stdout.match(/b\.toml$/gm)?.length]).toEqual([0, 4])
  })
})

test("it opens nothing: beside a broker on the same port and store", async () => {
  const broker = await startBroker()
  const store = `file:${join(broker.dir, "store")}`
  const args = ["check", "--port", String(broker.port), "--store", store]
  expect(await runCli("mqtt-broker", args)).toMatchObject({ code: 0, stderr: "" })
  expect(broker.running).toBe(true)
})
