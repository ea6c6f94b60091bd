import { runCli, spawnCli } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"

function examples(why: string): string {
  return `error: --listen: ${why}\nhint: for example mqtts://0.0.0.0:8883, ws://127.0.0.1:8080/mqtt, mqtt+unix:///run/mqtt.sock\n`
}

function listener(why: string): string {
  return examples(`listener ${why}`)
}

function commas(option: string, text: string): string {
  return `error: ${option}: "${text}" has a comma between URLs\nhint: several have spaces between them, or the option is given several times\n`
}

function same(one: string, other: string): string {
  const hint = "each needs a port or a path of its own; beside --listen, --port and --host are one more listener"
  return `error: two listeners want the same place: "${one}" and "${other}"\nhint: ${hint}\n`
}

/** Arguments, exit code, what stderr says: all of it. */
const REFUSED: [args: string, code: number, stderr: string][] = [
  [
    "start --host 0.0.0.0",
    2,
    'error: --host "0.0.0.0" opens the broker to other machines\nhint: add --password-file FILE (mqtt-broker user add NAME --password-file FILE makes it), or --anonymous if everybody who reaches it may connect\n',
  ],
  [
    "start --host ::",
    2,
    'error: --host "::" opens the broker to other machines\nhint: add --password-file FILE (mqtt-broker user add NAME --password-file FILE makes it), or --anonymous if everybody who reaches it may connect\n',
  ],
  [
    "start --listen ws://0.0.0.0:0",
    2,
    'error: --listen "ws://0.0.0.0:0/mqtt" opens the broker to other machines\nhint: add --password-file FILE (mqtt-broker user add NAME --password-file FILE makes it), or --anonymous if everybody who reaches it may connect\n',
  ],
  [
    "start --listen mqtts://[::]:0 --listen mqtt://127.0.0.1:0 --tls-cert a --tls-key b",
    2,
    'error: --listen "mqtts://[::]:0" opens the broker to other machines\nhint: add --password-file FILE (mqtt-broker user add NAME --password-file FILE makes it), or --anonymous if everybody who reaches it may connect\n',
  ],
  [
    "start --listen mqtt://127.evil.example:0",
    2,
    'error: --listen "mqtt://127.evil.example:0" opens the broker to other machines\nhint: add --password-file FILE (mqtt-broker user add NAME --password-file FILE makes it), or --anonymous if everybody who reaches it may connect\n',
  ],
  ["start --listen tcp://127.0.0.1", 2, listener('"tcp://127.0.0.1" is none of mqtt: mqtts: ws: wss: mqtt+unix:')],
  ["start --listen 1883", 2, listener('"1883" is none of mqtt: mqtts: ws: wss: mqtt+unix:')],
  ["start --listen mqtt://", 2, examples('URL "mqtt://" is not understood')],
  ["start --listen mqtt://127.0.0.1:99999", 2, examples('URL "mqtt://127.0.0.1:99999" is not understood')],
  ["start --listen mqtt://a%20b:1", 2, examples('host "a b" is neither a name nor an address')],
  ["start --listen mqtt://127.0.0.1:%1", 2, examples('URL "mqtt://127.0.0.1:%1" is not understood')],
  ["start --listen mqtt+unix://", 2, examples('URL "mqtt+unix://" has no path')],
  ["start --listen mqtt://127.0.0.1:1,ws://127.0.0.1:2", 2, commas("--listen", "mqtt://127.0.0.1:1,ws://127.0.0.1:2")],
  ["start --ws-origin https://a.example,https://b.example", 2, commas("--ws-origin", "https://a.example,https://b.example")],
  ["start --listen mqtt://127.0.0.1:4301 --listen mqtt://127.0.0.1:4301", 2, same("mqtt://127.0.0.1:4301", "mqtt://127.0.0.1:4301")],
  ["start --port 1883 --listen mqtt://127.0.0.1:1883", 2, same("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1883")],
  ["start --listen ws://LOCALHOST:1 --listen mqtt://localhost:1", 2, same("ws://localhost:1/mqtt", "mqtt://localhost:1")],
  ["start --listen mqtt://127.0.0.1:1 --listen mqtt://0.0.0.0:1 --anonymous", 2, same("mqtt://127.0.0.1:1", "mqtt://0.0.0.0:1")],
  ["start --listen mqtt://[::]:1 --listen mqtt://127.0.0.1:1 --anonymous", 2, same("mqtt://[::]:1", "mqtt://127.0.0.1:1")],
  ["start --listen mqtt+unix:///a/b --listen mqtt+unix:///a/./b", 2, same("mqtt+unix:///a/b", "mqtt+unix:///a/b")],
  ["start --listen mqtt://127.0.0.1/topic", 2, listener('"mqtt://127.0.0.1/topic" has a path')],
  ["start --listen mqtt://a@127.0.0.1", 2, listener('"mqtt://a@127.0.0.1" has a user or password')],
  ["start --listen ws://127.0.0.1/a?b", 2, listener('"ws://127.0.0.1/a?b" has a query')],
  [
    "start --listen wss://127.0.0.1:0 --tls-cert a",
    2,
    'error: --listen "wss://127.0.0.1:0/mqtt" needs a certificate and its key\nhint: add --tls-cert FILE and --tls-key FILE\n',
  ],
  [
    "start --tls-cert a --tls-key b",
    2,
    "error: options of TLS are given, and nothing listens with TLS\nhint: add --listen mqtts://127.0.0.1:8883\n",
  ],
  [
    "start --listen mqtts://127.0.0.1:0 --tls-cert a --tls-key b --tls-require-cert",
    2,
    "error: --tls-require-cert needs the authority of the clients' certificates\nhint: add --tls-ca FILE\n",
  ],
  [
    "start --listen mqtts://127.0.0.1:0 --tls-cert a --tls-key b --tls-ca c",
    2,
    "error: --tls-ca is given, and clients are asked for no certificate\nhint: add --tls-require-cert\n",
  ],
  [
    "start --ws-origin https://a.example",
    2,
    "error: --ws-origin is given, and nothing listens for WebSocket\nhint: add --listen ws://127.0.0.1:8080/mqtt\n",
  ],
  [
    "start --ws-origin a.example",
    2,
    'error: --ws-origin: origin "a.example" is not that of a page\nhint: for example https://example.org or http://localhost:3000\n',
  ],
  ["start --port 99999", 2, 'error: --port: port "99999" is not a whole number from 0 to 65535\n'],
  ["start --port x", 2, 'error: --port: port "x" is not a whole number from 0 to 65535\n'],
  [
    "start --store mysql://x",
    2,
    'error: --store: store "mysql://x" is not a store\'s URL\nhint: use file:DIR, mongodb://HOST:PORT/DATABASE, or memory:\n',
  ],
  ["start --log-level loud", 2, 'error: --log-level: log level "loud" is not one of error, warn, info, debug, silent\n'],
  ["start --max-inflight 0", 2, 'error: --max-inflight: the number of messages in flight "0" is not a whole number from 1 to 4096\n'],
  ["start --max-packet 1", 2, 'error: --max-packet: packet size "1" is not between 1KB and 256MB\n'],
  ["start --max-rate 1000", 2, 'error: --max-rate: rate "1000" is not one such as 100/s, 30/m or 10/h\n'],
  ["start --max-rate 9/day", 2, 'error: --max-rate: rate "9/day" is not one such as 100/s, 30/m or 10/h\n'],
  ["start --max-rate 1.5/s", 2, 'error: --max-rate: the number of messages "1.5" is not a whole number from 1 to 1000000000\n'],
  ["start --max-rate 1MB/s", 2, 'error: --max-rate: the number of messages "1MB" is not a whole number from 1 to 1000000000\n'],
  ["start --max-byte-rate 1MB", 2, 'error: --max-byte-rate: rate "1MB" is not one such as 64KB/s, 1MB/m or 10MB/h\n'],
  ["start --max-byte-rate 8Mbit/s", 2, 'error: --max-byte-rate: size "8Mbit" is not a size such as 512, 64KB or 16MB\n'],
  ["start --max-byte-rate 0/s", 2, 'error: --max-byte-rate: rate "0/s" lets nothing through\nhint: leave it out for no limit\n'],
  ["start --connect-timeout 0", 2, 'error: --connect-timeout: connect timeout "0" is too short\nhint: give at least 1ms\n'],
  [
    "start --host 127.0.0.1:6801",
    2,
    'error: --host: host "127.0.0.1:6801" is neither a name nor an address\nhint: give the port by itself: -p 6801\n',
  ],
  ["st\nx", 2, "error: unknown command 'st\\nx'\nhint: see mqtt-broker --help\n"],
  ["start extra", 2, "error: too many arguments for 'start'. Expected 0 arguments but got 1.\nhint: see mqtt-broker start --help\n"],
  ["nothing", 2, "error: unknown command 'nothing'\nhint: see mqtt-broker --help\n"],
  ["config", 2, "error: missing required argument 'from-mosquitto'\nhint: see mqtt-broker config --help\n"],
  ["config from-nowhere x", 2, 'error: what config does "from-nowhere" is not one of from-mosquitto\n'],
  ["user", 2, "error: missing required argument 'add|passwd|remove|list'\nhint: see mqtt-broker user --help\n"],
  ["user rename a", 2, 'error: what user does "rename" is not one of add, passwd, remove, list\n'],
  ["user add a", 2, "error: user add needs a password file\nhint: add --password-file FILE\n"],
  [
    "user remove --password-file x",
    2,
    "error: user remove needs the name of a user\nhint: mqtt-broker user remove NAME --password-file FILE\n",
  ],
  ["user list a --password-file x", 2, "error: user list takes no name\nhint: it lists all users\n"],
  ["user add a --json --password-file x", 2, "error: --json does not belong to user add\n"],
  ["user list --iterations 1 --password-file x", 2, "error: --iterations does not belong to user list\n"],
  ["user add a:b --password-file x", 2, 'error: "a:b": a user\'s name cannot have a colon\n'],
  ["user add a\u001b --password-file x", 2, 'error: "a\\u001b": a user\'s name cannot have control characters\n'],
  ["user add a --password-file x", 2, "error: the password is empty\nhint: it is the first line of stdin, or asked for on a terminal\n"],
  ["queue", 2, "error: missing required argument 'client'\nhint: see mqtt-broker queue --help\n"],
  [
    "queue x --store memory:",
    2,
    "error: --store: a memory: store has no place to find its broker in\nhint: use --store file:DIR or mongodb://…\n",
  ],
]

describe("a wrong command line", () => {
  test.each(REFUSED)("mqtt-broker %s", async (args, code, stderr) => {
    expect(await runCli("mqtt-broker", args.split(" "))).toMatchObject({ code, stderr, stdout: "" })
  })

  test("an IPv6 address may stand in brackets: [::1] is loopback, [::] is not", async () => {
    expect((await runCli("mqtt-broker", ["start", "--host", "[::]"])).stderr).toContain('--host "::" opens the broker to other machines')
    const broker = spawnCli("mqtt-broker", ["start", "--host", "[::1]", "--port", "0", "--store", "memory:"])
    await broker.waitForLine("mqtt://[::1]:")
    expect(await broker.stop()).toMatchObject({ code: 0 })
  })

  test("a wrong environment variable is named", async () => {
    const result = await runCli("mqtt-broker", ["start"], { env: { MQTT_BROKER_PORT: "many" } })
    expect(result).toMatchObject({ code: 2, stdout: "" })
    expect(result.stderr).toContain("MQTT_BROKER_PORT")
  })

  test("queue does not offer memory:, which has no folder", async () => {
    const { stdout } = await runCli("mqtt-broker", ["queue", "--help"])
    expect(stdout).toContain("file:DIR")
    expect(stdout).not.toContain("memory:")
  })

  test("no command: the help", async () => {
    const { stdout, stderr } = await runCli("mqtt-broker", [])
    expect(stdout + stderr).toContain("mqtt-broker start")
    expect(stdout + stderr).not.toContain("outputHelp")
  })
})

describe("help and version go to stdout and exit 0", () => {
  const HELP = ["", "start", "check", "config", "user", "queue", "torture"].flatMap((command) =>
    ["-h", "--help"].map((flag) => [[command, flag].filter(Boolean)]),
  )

  test.each([...HELP, [["help"]], [["help", "start"]], [["--version"]]])("%j", async (args) => {
    const { code, stdout, stderr } = await runCli("mqtt-broker", args)
    expect([code, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(args[0] === "--version" ? /^\d+\.\d+\.\d+\n$/ : /mqtt-broker/)
  })
})
