import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { freePort, runCli, spawnCli, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"

interface Row {
  readonly what: string
  readonly conf: readonly string[]
  /** All of stdout, a line each. */
  readonly toml: readonly string[]
  /** All of stderr, a line each, without the name of the file. */
  readonly left?: readonly string[]
  /** Exit code of `check` for it: 2 where only a decision of the user lets somebody in. */
  readonly check?: number
}

const LOCAL = ["port = 1883", 'host = "127.0.0.1"']
const OPEN = ["port = 1883", 'host = "::"', "anonymous = true"]
const MEMORY = 'store = "memory:"'
const MACHINE = "no counterpart: everybody on this machine may connect and do everything"
const ONE_LISTENER = "only one listener without TLS and WebSocket has a counterpart"
const DEFAULT_STAYS = "the default stays"

const TABLE: Row[] = [
  { what: "an empty file: this machine only", conf: ["", "# nothing", "   "], toml: [...LOCAL, MEMORY] },
  { what: "open to everybody", conf: ["listener 1883", "allow_anonymous true"], toml: [...OPEN, MEMORY] },
  { what: "open by an old line", conf: ["allow_anonymous true", "port 1884"], toml: ["port = 1884", ...OPEN.slice(1), MEMORY] },
  {
    what: "IPv4 only",
    conf: ["listener 1883", "socket_domain ipv4", "allow_anonymous true"],
    toml: ["port = 1883", 'host = "0.0.0.0"', "anonymous = true", MEMORY],
  },
  { what: "an address", conf: ["bind_address 127.0.0.5", "allow_anonymous true"], toml: ["port = 1883", 'host = "127.0.0.5"', MEMORY] },
  { what: "closed stays closed", conf: ["listener 1883"], toml: [...OPEN.slice(0, 2), MEMORY], check: 2 },
  {
    what: "closed on this machine cannot be kept",
    conf: ["listener 1883 localhost", "allow_anonymous false"],
    toml: ["port = 1883", 'host = "localhost"', MEMORY],
    left: [`2: allow_anonymous: ${MACHINE}`],
  },
  {
    what: "closed by default on this machine cannot be kept",
    conf: ["listener 1883 127.0.0.1"],
    toml: [...LOCAL, MEMORY],
    left: [`1: listener: ${MACHINE}`],
  },
  {
    what: "users",
    conf: ["listener 1883", "password_file /etc/s3cret"],
    toml: [...OPEN.slice(0, 2), MEMORY],
    left: ["2: password_file: no counterpart"],
    check: 2,
  },
  {
    what: "rights of everybody: not open without them",
    conf: ["listener 1883", "allow_anonymous true", "acl_file /etc/s3cret"],
    toml: [...OPEN.slice(0, 2), MEMORY],
    left: ["3: acl_file: no counterpart: without it nobody is let in; see anonymous"],
    check: 2,
  },
  {
    what: "listeners that are none here; TLS does not become plain",
    conf: [
      "listener 8883",
      "certfile /a",
      "keyfile /b",
      "listener 9001",
      "protocol websockets",
      "listener 0 /run/x.sock",
      "listener 1883",
      "allow_anonymous true",
      "listener 1884",
    ],
    toml: [...OPEN, MEMORY],
    left: [
      `1: listener: ${ONE_LISTENER}`,
      "2: certfile: its listener has no counterpart",
      "3: keyfile: its listener has no counterpart",
      `4: listener: ${ONE_LISTENER}`,
      "5: protocol: its listener has no counterpart",
      `6: listener: ${ONE_LISTENER}`,
      `9: listener: ${ONE_LISTENER}`,
    ],
  },
  {
    what: "only TLS: no port",
    conf: ["listener 8883", "allow_anonymous true", "certfile /a", "bind_interface eth0"],
    toml: [MEMORY],
    left: [
      `1: listener: ${ONE_LISTENER}`,
      "3: certfile: its listener has no counterpart",
      "4: bind_interface: its listener has no counterpart",
    ],
  },
  {
    what: "settings of each listener",
    conf: ["per_listener_settings true", "allow_anonymous true", "listener 1883", "protocol mqtt", "max_connections 7"],
    toml: [...OPEN.slice(0, 2), MEMORY, "max-connections = 7"],
    left: ["2: allow_anonymous: its listener has no counterpart"],
    check: 2,
  },
  {
    what: "limits",
    conf: [
      "max_packet_size 4096",
      "max_inflight_messages 20",
      "max_queued_bytes 1000000",
      "max_connections 500",
      "persistence true",
      "persistence_location /var/lib/mosquitto/",
    ],
    toml: [
      ...LOCAL,
      'store = "file:/var/lib/mosquitto/mqtt-broker"',
      "max-connections = 500",
      "max-packet = 4096",
      "max-inflight = 20",
      "max-queue = 1000000",
    ],
  },
  {
    what: "limits that are none",
    conf: ["max_packet_size 100", "max_inflight_messages 0", "max_queued_bytes 0", "max_connections -1", "persistence true"],
    toml: LOCAL,
    left: [
      `1: max_packet_size: max-packet does not take its value; ${DEFAULT_STAYS}`,
      ...["2: max_inflight_messages", "3: max_queued_bytes", "4: max_connections"].map(
        (line) => `${line}: no limit is not possible; ${DEFAULT_STAYS}`,
      ),
    ],
  },
  {
    what: "the log",
    conf: ["log_type error", "log_type warning", "log_type subscribe", "log_dest stderr", "log_dest syslog"],
    toml: [...LOCAL, MEMORY, 'log-level = "warn"'],
    left: ["3: log_type: no counterpart", "5: log_dest: no counterpart"],
  },
  {
    what: "bridges, and what nobody knows",
    conf: ["connection x", "remote_password s3cret", "s3cret_\u001b[31m 1"],
    toml: [...LOCAL, MEMORY],
    left: ["1: connection: no counterpart", "2: remote_password: no counterpart", "3: s3cret_\\x1b[31m: no counterpart"],
  },
]

describe("mqtt-broker config from-mosquitto", () => {
  test.each(TABLE)("$what", async ({ conf, toml, left = [], check = 0 }) => {
    const cwd = temporaryFolder()
    writeFileSync(join(cwd, "m.conf"), conf.join("\n"))
    const result = await runCli("mqtt-broker", ["config", "from-mosquitto", "m.conf"], { cwd })
    expect(result).toMatchObject({ code: 0, stdout: toml.map((line) => `${line}\n`).join("") })
    expect(result.stderr).toBe(left.map((line) => `m.conf:${line}\n`).join(""))
    writeFileSync(join(cwd, "b.toml"), result.stdout)
    expect(await runCli("mqtt-broker", ["check", "--config", "b.toml"], { cwd })).toMatchObject({ code: check })
  })

  test("included folders, in the order of their files, once", async () => {
    const cwd = temporaryFolder()
    mkdirSync(join(cwd, "conf.d"))
    writeFileSync(join(cwd, "m.conf"), "listener 1\r\ninclude_dir conf.d\r\nuser x\r\n")
    writeFileSync(join(cwd, "conf.d", "b.conf"), "listener 2\nmax_connections 8\n")
    writeFileSync(join(cwd, "conf.d", "a.conf"), "max_connections 7\ninclude_dir conf.d\n")
    writeFileSync(join(cwd, "conf.d", "c.txt"), "max_connections 9\n")
    const { stdout, stderr } = await runCli("mqtt-broker", ["config", "from-mosquitto", "m.conf"], { cwd })
    expect(stdout).toBe(`port = 1\nhost = "::"\n${MEMORY}\nmax-connections = 7\n`)
    const left = ["conf.d/a.conf:2: include_dir: no counterpart", `conf.d/b.conf:1: listener: ${ONE_LISTENER}`]
    expect(stderr.split("\n")).toEqual([
      ...left,
      "conf.d/b.conf:2: max_connections: its listener has no counterpart",
      "m.conf:3: user: no counterpart",
      "",
    ])
  })

  test("a broker with the result serves where mosquitto did", async () => {
    const cwd = temporaryFolder()
    const port = await freePort()
    writeFileSync(join(cwd, "m.conf"), `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location .\n`)
    const { stdout, stderr } = await runCli("mqtt-broker", ["config", "from-mosquitto", "m.conf"], { cwd })
    expect(stderr).toBe("")
    writeFileSync(join(cwd, "b.toml"), stdout)
    const broker = spawnCli("mqtt-broker", ["start", "--config", "b.toml"], { cwd })
    expect(await broker.waitForLine("ready")).toContain(`data in file:${join(cwd, "mqtt-broker")}`)
    await (await Peer.connected(port, 4)).settled()
  })

  test.each([
    ["m.conf", 'error: the configuration file "m.conf" cannot be read: there is no such file\n'],
    [".", 'error: the configuration file "." cannot be read: it is a folder\n'],
  ])("a file that cannot be read: %s", async (file, stderr) => {
    expect(await runCli("mqtt-broker", ["config", "from-mosquitto", file], { cwd: temporaryFolder() })).toMatchObject({
      code: 2,
      stdout: "",
      stderr,
    })
  })
})
