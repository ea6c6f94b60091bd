import { cpSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { freePort, makeCertificates, runCli, spawnCli, temporaryFolder } from "@mqtt-trio/testing"
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
const NO_LISTENER = "its listener has no counterpart"
const PATH = "clients have to use the path /mqtt, mosquitto takes every one"
const CLOSED = "no counterpart: without it nobody is let in; see anonymous"
const LEFT_OUT = "left out, because something else that limits its users has no counterpart"
const OTHER_USERS = "no counterpart: all listeners have the same users and rights here, and its are others"
const DEFAULT_STAYS = "the default stays"
/** Lines that belong together. */
const these = (...lines: string[]): string[] => lines
const TLS = ["certfile server.crt", "keyfile server.key"]
const TLS_TOML = ['tls-cert = "server.crt"', 'tls-key = "server.key"']

/** What the rows refer to: certificates, `pw` with the user u, `acl`. */
const files = temporaryFolder()
makeCertificates(files)
mkdirSync(join(files, "conf.d"))
writeFileSync(join(files, "acl"), "user u\ntopic readwrite u/#\n")
await runCli("mqtt-broker", ["user", "add", "u", "--password-file", "pw"], { cwd: files, stdin: "secret\n" })

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
    conf: ["listener 1883", "password_file pw"],
    toml: [...OPEN.slice(0, 2), 'password-file = "pw"', MEMORY],
  },
  {
    what: "users, and everybody else",
    conf: ["listener 1883 localhost", "password_file pw", "allow_anonymous true"],
    toml: ["port = 1883", 'host = "localhost"', "anonymous = true", 'password-file = "pw"', MEMORY],
  },
  {
    what: "rights of everybody",
    conf: ["listener 1883", "allow_anonymous true", "acl_file acl"],
    toml: [...OPEN, 'acl-file = "acl"', MEMORY],
  },
  {
    what: "rights that are none here: nobody is let in, no users either",
    conf: ["listener 1883", "allow_anonymous true", "password_file pw", "acl_file acl", "plugin /s3cret.so"],
    toml: [...OPEN.slice(0, 2), 'acl-file = "acl"', MEMORY],
    left: [`3: password_file: ${LEFT_OUT}`, `5: plugin: ${CLOSED}`],
    check: 2,
  },
  {
    what: "the same on this machine: users alone",
    conf: ["listener 1883 127.0.0.1", "allow_anonymous true", "password_file pw", "clientid_prefixes s3cret"],
    toml: [...LOCAL, 'password-file = "pw"', MEMORY],
    left: ["4: clientid_prefixes: no counterpart"],
  },
  {
    what: "the same on this machine without users: it cannot be kept",
    conf: ["listener 1883 127.0.0.1", "allow_anonymous true", "plugin /s3cret.so"],
    toml: [...LOCAL, MEMORY],
    left: [`3: plugin: ${MACHINE}`],
  },
  {
    what: "every kind of listener",
    conf: [
      ...these("listener 8883", ...TLS, "cafile ca.crt", "require_certificate false"),
      ...these("listener 9001 127.0.0.1", "protocol websockets", "websockets_origin https://a.example", "websockets_origin http://b:3000"),
      ...these("listener 9002 ::1", "protocol websockets", ...TLS, "tls_version tlsv1.2"),
      ...these("listener 0 /run/x y.sock", "listener 1883", "listener 1884 0.0.0.0", "protocol mqtt", "allow_anonymous true"),
    ],
    toml: [
      "port = 1883",
      'host = "::"',
      'listen = [ "mqtts://[::]:8883", "ws://127.0.0.1:9001/mqtt", "wss://[::1]:9002/mqtt", "mqtt+unix:///run/x", "mqtt://0.0.0.0:1884" ]',
      'ws-origin = [ "https://a.example", "http://b:3000" ]',
      ...TLS_TOML,
      "anonymous = true",
      MEMORY,
    ],
    left: ["4: cafile: no counterpart without require_certificate", `7: protocol: ${PATH}`, `11: protocol: ${PATH}`],
  },
  {
    what: "only TLS, with certificates of clients: no port",
    conf: ["listener 8883", "allow_anonymous true", ...TLS, "cafile ca.crt", "require_certificate true", "ciphers x"],
    toml: ['listen = [ "mqtts://[::]:8883" ]', ...TLS_TOML, 'tls-ca = "ca.crt"', "tls-require-cert = true", "anonymous = true", MEMORY],
    left: ["7: ciphers: no counterpart"],
  },
  {
    what: "listeners that are none here: nothing becomes plain, or open to more",
    conf: [
      ...these("listener 1", "bind_interface eth0", "listener 2", "psk_hint s3cret", "listener 3", "mount_point s3cret"),
      ...these("listener 4", ...TLS, "crlfile s3cret", "listener 5", "certfile server.crt", "listener 6", "protocol http_api"),
      ...these("listener 7", ...TLS, "capath s3cret", "require_certificate true", "listener 8", "socket_domain ipv6", "listener 0"),
      ...these("listener 99999", "listener 11", "protocol websockets", "websockets_origin s3cret", "listener x", "allow_anonymous true"),
    ],
    toml: [MEMORY],
    left: [
      ...these("1: listener: no counterpart: its bind_interface has none", `2: bind_interface: ${NO_LISTENER}`),
      ...these("3: listener: no counterpart: its psk_hint has none", `4: psk_hint: ${NO_LISTENER}`),
      ...these("5: listener: no counterpart: its mount_point has none", `6: mount_point: ${NO_LISTENER}`),
      ...these("7: listener: no counterpart: its crlfile has none", `8: certfile: ${NO_LISTENER}`, `9: keyfile: ${NO_LISTENER}`),
      ...these(`10: crlfile: ${NO_LISTENER}`, "11: listener: no counterpart: a certfile and a keyfile belong together"),
      ...these(`12: certfile: ${NO_LISTENER}`, "13: listener: no counterpart: its protocol has none", `14: protocol: ${NO_LISTENER}`),
      ...these("15: listener: no counterpart: its require_certificate has one with a cafile alone", `16: certfile: ${NO_LISTENER}`),
      ...these(`17: keyfile: ${NO_LISTENER}`, `18: capath: ${NO_LISTENER}`, `19: require_certificate: ${NO_LISTENER}`),
      ...these("20: listener: no counterpart: its socket_domain has none", `21: socket_domain: ${NO_LISTENER}`),
      ...these("22: listener: no counterpart: a socket has one for MQTT alone, without TLS and WebSocket"),
      ...these("23: listener: no counterpart: --listen does not take it"),
      ...these("24: listener: no counterpart: --ws-origin does not take its websockets_origin", `25: protocol: ${NO_LISTENER}`),
      ...these(`26: websockets_origin: ${NO_LISTENER}`, "27: listener: no counterpart: --listen does not take it"),
    ],
  },
  {
    what: "one set of TLS files, users and rights for all listeners: that of the first",
    conf: [
      ...these("per_listener_settings true", "listener 1", "allow_anonymous false", "password_file pw", "acl_file acl", ...TLS),
      ...these("listener 2", "password_file pw", "acl_file acl", "certfile other", "keyfile other"),
      ...these("listener 3", "allow_anonymous true", "listener 4", "password_file pw", "listener 5", "password_file pw", "acl_file acl"),
    ],
    toml: [
      ...these("port = 5", 'host = "::"', 'listen = [ "mqtts://[::]:1" ]', ...TLS_TOML),
      ...these('password-file = "pw"', 'acl-file = "acl"', MEMORY),
    ],
    left: [
      "8: listener: no counterpart: all listeners have the same TLS files here, and its are others",
      ...["9: password_file", "10: acl_file", "11: certfile", "12: keyfile"].map((line) => `${line}: ${NO_LISTENER}`),
      ...these(`13: listener: ${OTHER_USERS}`, `14: allow_anonymous: ${NO_LISTENER}`),
      ...these(`15: listener: ${OTHER_USERS}`, `16: password_file: ${NO_LISTENER}`),
    ],
  },
  {
    what: "who is anonymous at one listener",
    conf: ["listener 1", "listener_allow_anonymous false", "listener 2", "allow_anonymous true"],
    toml: ["port = 1", 'host = "::"', MEMORY],
    left: [`3: listener: ${OTHER_USERS}`],
    check: 2,
  },
  {
    what: "names from certificates; at another listener everybody on this machine is let in",
    conf: [
      ...these("allow_anonymous false", "listener 8883", ...TLS, "cafile ca.crt", "require_certificate true"),
      ...these("use_identity_as_username true", "acl_file acl", "listener 1883 127.0.0.1"),
    ],
    toml: [
      ...these(...LOCAL, 'listen = [ "mqtts://[::]:8883" ]', ...TLS_TOML, 'tls-ca = "ca.crt"', "tls-require-cert = true"),
      ...these("tls-user = true", 'acl-file = "acl"', MEMORY),
    ],
    left: [`1: allow_anonymous: ${MACHINE}`],
  },
  {
    what: "names from certificates that are none here: the rules about them let nobody in",
    conf: ["listener 8883", ...TLS, "cafile ca.crt", "require_certificate true", "use_subject_as_username true", "acl_file acl"],
    toml: [
      ...these('listen = [ "mqtts://[::]:8883" ]', ...TLS_TOML, 'tls-ca = "ca.crt"', "tls-require-cert = true"),
      ...these('acl-file = "acl"', MEMORY),
    ],
    left: [`6: use_subject_as_username: ${CLOSED}`],
    check: 2,
  },
  {
    what: "Debian's file",
    conf: [
      ...these(
        "# Place your local configuration in /etc/mosquitto/conf.d/",
        "",
        "pid_file /run/mosquitto/mosquitto.pid",
        "",
        "persistence true",
      ),
      ...these("persistence_location /var/lib/mosquitto/", "", "log_dest file /var/log/mosquitto/mosquitto.log", "", "include_dir conf.d"),
    ],
    toml: [...LOCAL, 'store = "file:/var/lib/mosquitto/mqtt-broker"'],
    left: ["3: pid_file: no counterpart", "8: log_dest: no counterpart"],
  },
  {
    what: "that of Home Assistant's add-on, whose users are in a plugin",
    conf: [
      ...these(
        "protocol mqtt",
        "user root",
        "log_dest stdout",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "persistence true",
      ),
      ...these("persistence_location /data/", "auth_plugin /usr/share/mosquitto/go-auth.so", "auth_opt_backends files,http"),
      ...these("listener 1883", "protocol mqtt", "listener 1884", "protocol websockets"),
      ...these("listener 8883", "protocol mqtt", "cafile ca.crt", ...TLS, "require_certificate false"),
      ...these("listener 8884", "protocol websockets", "cafile ca.crt", ...TLS, "require_certificate false"),
    ],
    toml: [
      ...these("port = 1883", 'host = "::"', 'listen = [ "ws://[::]:1884/mqtt", "mqtts://[::]:8883", "wss://[::]:8884/mqtt" ]'),
      ...these(...TLS_TOML, 'store = "file:/data/mqtt-broker"', 'log-level = "info"'),
    ],
    left: [
      ...these("2: user: no counterpart", "3: log_dest: no counterpart"),
      ...these(`9: auth_plugin: ${CLOSED}`, "10: auth_opt_backends: no counterpart", `14: protocol: ${PATH}`),
      ...these("17: cafile: no counterpart without require_certificate", `22: protocol: ${PATH}`),
      "23: cafile: no counterpart without require_certificate",
    ],
    check: 2,
  },
  {
    what: "connections of several listeners are counted together",
    conf: ["listener 1", "max_connections 7", "max_connections 3", "listener 2", "max_connections 4", "allow_anonymous true"],
    toml: ["port = 1", 'host = "::"', 'listen = [ "mqtt://[::]:2" ]', "anonymous = true", MEMORY, "max-connections = 7"],
  },
  {
    what: "connections of one of several listeners",
    conf: ["listener 1", "max_connections 7", "listener 2", "allow_anonymous true"],
    toml: ["port = 1", 'host = "::"', 'listen = [ "mqtt://[::]:2" ]', "anonymous = true", MEMORY],
    left: [`2: max_connections: all listeners are counted together; ${DEFAULT_STAYS}`],
  },
  {
    what: "settings of each listener",
    conf: ["per_listener_settings true", "allow_anonymous true", "listener 1883", "protocol mqtt", "max_connections 7"],
    toml: [...OPEN.slice(0, 2), MEMORY, "max-connections = 7"],
    left: [`2: allow_anonymous: ${NO_LISTENER}`],
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
    cpSync(files, cwd, { recursive: true })
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
    expect(stdout).toBe(`port = 1\nhost = "::"\nlisten = [ "mqtt://[::]:2" ]\n${MEMORY}\nmax-connections = 15\n`)
    expect(stderr.split("\n")).toEqual(["conf.d/a.conf:2: include_dir: no counterpart", "m.conf:3: user: no counterpart", ""])
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
