import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { freePort, hasMosquitto, makeCertificates, runCli, RunningProcess, runProcess, spawnCli, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"

const files = temporaryFolder()
const { ca, clientCert, clientKey } = makeCertificates(files)
/** Lines that belong together. */
const these = (...lines: string[]): string[] => lines
const TLS = ["certfile server.crt", "keyfile server.key"]

interface Case {
  readonly what: string
  /** `A`, `B` and `C` are ports. */
  readonly conf: readonly string[]
  readonly urls: readonly string[]
  /** For each URL whether each of ATTEMPTS succeeds, 1 or 0. */
  readonly succeeds: readonly string[]
}

const CERTIFICATE = ["--cert", clientCert, "--key", clientKey]
/** What a client tries: a right name and password, at a topic that is its own and at another, a wrong password, none, a certificate. */
const ATTEMPTS: string[][] = [
  ["-t", "u/x", "-u", "u", "-P", "secret"],
  ["-t", "other", "-u", "u", "-P", "secret"],
  ["-t", "u/x", "-u", "u", "-P", "wrong"],
  ["-t", "u/x"],
  ["-t", "u/x", ...CERTIFICATE],
]

const CASES: Case[] = [
  {
    what: "open, MQTT and WebSocket, as in its Docker image",
    conf: ["persistence false", "listener A", "listener B", "protocol websockets", "allow_anonymous true"],
    urls: ["mqtt://127.0.0.1:A", "ws://127.0.0.1:B/mqtt"],
    succeeds: ["1111", "1111"],
  },
  {
    what: "users, TLS for other machines, as in tutorials",
    conf: [
      ...these("allow_anonymous false", "password_file pw", "listener A localhost", "listener B", ...TLS, "cafile ca.crt"),
      ...these("listener C", "protocol websockets", ...TLS, "cafile ca.crt"),
    ],
    urls: ["mqtt://localhost:A", "mqtts://localhost:B", "wss://localhost:C/mqtt"],
    succeeds: ["1100", "11000", "11000"],
  },
  {
    what: "users and everybody else, rights of both",
    conf: ["allow_anonymous true", "password_file pw", "acl_file acl", "listener A 127.0.0.1", "listener 0 {dir}/m.sock"],
    urls: ["mqtt://127.0.0.1:A", "mqtt+unix://{dir}/m.sock"],
    succeeds: ["1000", "1000"],
  },
  {
    what: "certificates of clients",
    conf: ["allow_anonymous true", "listener A", ...TLS, "cafile ca.crt", "require_certificate true", "listener B 127.0.0.1"],
    urls: ["mqtts://localhost:A", "mqtt://127.0.0.1:B"],
    succeeds: ["00001", "1111"],
  },
  {
    what: "names from certificates, with rights",
    conf: [...these("listener A", ...TLS, "cafile ca.crt", "require_certificate true", "use_identity_as_username true"), "acl_file client"],
    urls: ["mqtts://localhost:A"],
    succeeds: ["00001"],
  },
  {
    what: "nobody",
    conf: ["listener A", "password_file empty"],
    urls: ["mqtt://127.0.0.1:A"],
    succeeds: ["0000"],
  },
]

/** Which attempts succeed, for each URL; the one with a certificate where TLS is. */
async function outcomes(urls: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const url of urls) {
    const secure = /^(mqtts|wss):/.test(url)
    const tries = ATTEMPTS.filter((args) => secure || !args.includes("--cert")).map(async (args) => {
      const { code } = await runCli("mqtt-pub", [
        "-L",
        url,
        "-m",
        "x",
        "-q",
        "1",
        "--no-reconnect",
        ...(secure ? ["--cafile", ca] : []),
        ...args,
      ])
      return code === 0 ? "1" : "0"
    })
    found.push((await Promise.all(tries)).join(""))
  }
  return found
}

/** mosquitto with a configuration on free ports, and what fills them in; on others where somebody was faster. */
async function startWith(conf: readonly string[], tries = 3): Promise<{ mosquitto: RunningProcess; filled: (text: string) => string }> {
  const ports = { A: await freePort(), B: await freePort(), C: await freePort() }
  const filled = (text: string): string => text.replaceAll("{dir}", files).replace(/\b[ABC]\b/, (name) => String(Object(ports)[name]))
  writeFileSync(join(files, "m.conf"), ["user root", ...conf].map((line) => `${filled(line)}\n`).join(""))
  const mosquitto = new RunningProcess("mosquitto", ["-c", "m.conf"], { cwd: files })
  try {
    await mosquitto.waitForLine("running", { stream: "stderr" })
    return { mosquitto, filled }
  } catch (error) {
    if (tries === 0 || !mosquitto.stderr.includes("already in use")) throw error
    return startWith(conf, tries - 1)
  }
}

describe.runIf(hasMosquitto())("who gets in at mosquitto gets in at what its file is turned into, and nobody else", () => {
  test.each(CASES)("$what", async ({ conf, urls, succeeds }) => {
    writeFileSync(join(files, "acl"), "user u\ntopic readwrite u/#\n")
    writeFileSync(join(files, "client"), "user client\ntopic readwrite u/#\n")
    writeFileSync(join(files, "empty"), "# nobody\n")
    await runProcess("mosquitto_passwd", ["-c", "-b", "pw", "u", "secret"], { cwd: files })
    const { mosquitto, filled } = await startWith(conf)
    const places = urls.map(filled)
    expect(await outcomes(places)).toEqual(succeeds)
    await mosquitto.stop()
    const { stdout } = await runCli("mqtt-broker", ["config", "from-mosquitto", "m.conf"], { cwd: files })
    writeFileSync(join(files, "b.toml"), stdout)
    expect(await runCli("mqtt-broker", ["check", "--config", "b.toml"], { cwd: files })).toMatchObject({ code: 0 })
    const ours = spawnCli("mqtt-broker", ["start", "--config", "b.toml"], { cwd: files })
    await ours.waitForLine("ready")
    expect(await outcomes(places)).toEqual(succeeds)
  })
})
