import { chmodSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cliPath, freePort, runCli, runProcess, spawnCli, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { publish } from "../support/wire.js"

const QUOTES = 'hint: a text stands in quotes: max-queue = "1GB"\n'
const KEYS = "hint: keys are the long options of --help, without the dashes\n"

const TABLES = KEYS.replace("hint: ", "hint: there are no tables here: ")

/** What stands in the file, and what stderr says: all of it. */
const REFUSED: [content: string | Buffer, stderr: string][] = [
  ["max-qeue = 1", 'error: unknown key "max-qeue" in "b.toml"\nhint: Did you mean max-queue?\n'],
  ["max_queue = 1", 'error: unknown key "max_queue" in "b.toml"\nhint: Did you mean max-queue?\n'],
  ["maxQueue = 1", 'error: unknown key "maxQueue" in "b.toml"\nhint: Did you mean max-queue?\n'],
  ["[limits]\nport = 1", `error: unknown key "limits" in "b.toml"\n${TABLES}`],
  ["[listener]\nport = 1", `error: unknown key "listener" in "b.toml"\n${TABLES}`],
  ["[[listener]]\nport = 1", `error: unknown key "listener" in "b.toml"\n${TABLES}`],
  ["listener = 1", 'error: unknown key "listener" in "b.toml"\nhint: Did you mean listen?\n'],
  [
    'listen = ["mqtt://0.0.0.0:1"]',
    'error: listen in "b.toml" "mqtt://0.0.0.0:1" opens the broker to other machines\nhint: add --password-file FILE (mqtt-broker user add NAME --password-file FILE makes it), or --anonymous if everybody who reaches it may connect\n',
  ],
  [
    'listen = ["wss://127.0.0.1:1"]',
    'error: listen in "b.toml" "wss://127.0.0.1:1/mqtt" needs a certificate and its key\nhint: add --tls-cert FILE and --tls-key FILE\n',
  ],
  [
    'ws-origin = ["https://a.example"]',
    'error: ws-origin in "b.toml" is given, and nothing listens for WebSocket\nhint: add --listen ws://127.0.0.1:8080/mqtt\n',
  ],
  ['config = "other.toml"', `error: unknown key "config" in "b.toml"\n${KEYS}`],
  ["__proto__ = 1", `error: unknown key "__proto__" in "b.toml"\n${KEYS}`],
  ['"a\\nb" = 1', `error: unknown key "a\\nb" in "b.toml"\n${KEYS}`],
  ["port = 99999", 'error: port in "b.toml": port "99999" is not a whole number from 0 to 65535\n'],
  ['port = "x"', 'error: port in "b.toml": port "x" is not a whole number from 0 to 65535\n'],
  ["port = 1.5", 'error: port in "b.toml": port "1.5" is not a whole number from 0 to 65535\n'],
  [
    "max-inflight = 99999999999999999999",
    'error: max-inflight in "b.toml": the number of messages in flight "99999999999999999999" is not a whole number from 1 to 4096\n',
  ],
  [
    'store = "mysql://x"',
    'error: store in "b.toml": store "mysql://x" is not a store\'s URL\nhint: use file:DIR, mongodb://HOST:PORT/DATABASE, or memory:\n',
  ],
  ["host = true", 'error: host in "b.toml": the value is "true", not a number or a text\n'],
  ['host = ""', 'error: host in "b.toml": the value is empty\nhint: leave it out for the default\n'],
  ["port = [1883]", 'error: port in "b.toml": the value is an array, not one number or text\n'],
  ["port.tcp = 1", 'error: port in "b.toml": the value is a table or a date, not a number or a text\nhint: put a text in quotes\n'],
  ["json = 5", 'error: json in "b.toml": "5" is neither true nor false\n'],
  ["port = 1\nmax-queue = 1GB", `error: "b.toml" is not TOML in line 2, column 14: illegal character in numeric literal\n${QUOTES}`],
  ["store = memory:", `error: "b.toml" is not TOML in line 1, column 9: invalid value\n${QUOTES}`],
  ["port = 1\nport = 2", 'error: "b.toml" is not TOML in line 2, column 1: trying to redefine an already defined table or value\n'],
  ["port 1883", 'error: "b.toml" is not TOML in line 1, column 6: illegal character in key\n'],
  [Buffer.from([0xff]), 'error: the configuration file "b.toml" cannot be read: it is not UTF-8 text\n'],
  [
    'host = "0.0.0.0"',
    'error: host in "b.toml" "0.0.0.0" opens the broker to other machines\nhint: add --password-file FILE (mqtt-broker user add NAME --password-file FILE makes it), or --anonymous if everybody who reaches it may connect\n',
  ],
]

function fileWith(content: string | Buffer): { cwd: string } {
  const cwd = temporaryFolder()
  writeFileSync(join(cwd, "b.toml"), content)
  return { cwd }
}

describe("a wrong file: exit code 2", () => {
  test.each(REFUSED)("%j", async (content, stderr) => {
    const result = await runCli("mqtt-broker", ["start", "--config", "b.toml"], fileWith(content))
    expect(result).toMatchObject({ code: 2, stderr, stdout: "" })
  })

  test("a wrong value is one, whatever the command line and the environment say", async () => {
    const { cwd } = fileWith('port = "x"\n')
    const stderr = 'error: port in "b.toml": port "x" is not a whole number from 0 to 65535\n'
    const env = { MQTT_BROKER_PORT: "0" }
    for (const flags of [["--port", "0"], []])
      expect(await runCli("mqtt-broker", ["check", "--config", "b.toml", ...flags], { cwd, env })).toMatchObject({
        code: 2,
        stderr,
        stdout: "",
      })
  })

  test("no file, and a folder", async () => {
    const { cwd } = fileWith("")
    const env = { MQTT_BROKER_CONFIG: "none.toml" }
    const missing = 'error: the configuration file "none.toml" cannot be read: there is no such file\n'
    expect(await runCli("mqtt-broker", ["start"], { cwd, env })).toMatchObject({ code: 2, stderr: missing, stdout: "" })
    mkdirSync(join(cwd, "folder"))
    const folder = 'error: the configuration file "folder" cannot be read: it is a folder\n'
    expect(await runCli("mqtt-broker", ["start", "--config", "folder"], { cwd })).toMatchObject({ code: 2, stderr: folder, stdout: "" })
  })

  test.runIf(process.getuid?.() === 0)("a file that this user may not read", async () => {
    const { cwd } = fileWith("port = 1")
    const file = join(cwd, "b.toml")
    chmodSync(cwd, 0o755)
    chmodSync(file, 0o600)
    const other = ["--reuid", "65534", "--clear-groups", process.execPath, cliPath("mqtt-broker"), "start", "--config", file]
    const stderr = `error: the configuration file "${file}" cannot be read: this user may not read it\n`
    expect(await runProcess("setpriv", other)).toMatchObject({ code: 2, stderr, stdout: "" })
  })

  test("what else stands in the file is not shown, wherever it breaks", async () => {
    const bare = ["TOKEN=s3cret", "root:s3cret:0", "port = s3cret", "s3cret\nport = x\ns3cret", '# s3cret\nport = "1\n# s3cret']
    for (const content of [...bare, 'TOKEN = "s3cret"', 'port = 1\nTOKEN = "s3cret"', 'port = ["s3cret"]', 'max-qeue = "s3cret"']) {
      const { code, stderr } = await runCli("mqtt-broker", ["start", "--config", "b.toml"], fileWith(content))
      expect(code).toBe(2)
      expect(stderr).toContain('"b.toml"')
      expect(stderr).not.toContain("s3cret")
    }
  })
})

/** What a broker says when it is ready. */
async function ready(args: readonly string[], env: Record<string, string>, cwd: string): Promise<unknown> {
  const broker = spawnCli("mqtt-broker", ["start", ...args], { cwd, env })
  const line: unknown = JSON.parse(await broker.waitForLine("ready"))
  await broker.stop()
  return line
}

describe("the broker does what stands in the file", () => {
  test("numbers, texts, switches and comments; what it does not say is the default", async () => {
    const port = await freePort()
    const { cwd } = fileWith(
      `\uFEFF# a broker\r\nport = ${port}\r\nstore = 'memory:' # nothing kept\r\nmax-packet = "1KB"\r\nlog-level = "warn"\r\n`,
    )
    const broker = spawnCli("mqtt-broker", ["start", "--config", join(cwd, "b.toml")])
    const line = `mqtt-broker ready at mqtt://127.0.0.1:${port} · data in memory: · open to this machine, without a password`
    expect(await broker.waitForLine("ready")).toBe(line)
    const peer = await Peer.connected(port, 4)
    peer.send(publish(4, { topic: "x", payload: Buffer.alloc(1100) }))
    await peer.ended()
    await broker.waitForLine("1024", { stream: "stderr" })
  })

  test("flag, then environment, then file", async () => {
    const { cwd } = fileWith('port = 1\nhost = "127.0.0.2"\nstore = "file:./kept"\njson = true\n')
    const flags = ["--config", "b.toml", "--port", "0", "--store", "memory:"]
    expect(await ready(flags, {}, cwd)).toMatchObject({ host: "127.0.0.2", store: "memory:" })
    expect(await ready(flags, { MQTT_BROKER_HOST: "127.0.0.3", MQTT_BROKER_PORT: "2" }, cwd)).toMatchObject({ host: "127.0.0.3" })
    const env = { MQTT_BROKER_CONFIG: "b.toml", MQTT_BROKER_PORT: "0" }
    expect(await ready([], env, cwd)).toMatchObject({ host: "127.0.0.2", store: `file:${join(cwd, "kept")}` })
    const plain = spawnCli("mqtt-broker", ["start"], { cwd, env: { ...env, MQTT_BROKER_STORE: "memory:", MQTT_BROKER_JSON: "false" } })
    expect(await plain.waitForLine("ready")).toMatch(/^mqtt-broker ready at/)
  })
})
