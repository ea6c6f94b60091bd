import {
  hasMosquitto,
  makeCertificates,
  randomId,
  runProcess,
  RunningProcess,
  startBroker,
  temporaryFolder,
  waitFor,
} from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { logged, startDoors } from "../support/doors.js"

/** mosquitto's clients of 2.0 speak no WebSocket: those of the browser do (browser.test.ts). */
const DOORS = ["mqtt", "mqtts", "mqtt+unix"] as const
const VERSIONS = ["mqttv31", "mqttv311", "mqttv5"] as const

const doors = await startDoors()
const { ca } = doors.certificates

/** The options of mosquitto's clients for a door. */
function address(kind: (typeof DOORS)[number]): string[] {
  if (kind === "mqtt+unix") return ["--unix", new URL(doors.url(kind)).pathname]
  const tcp = ["-h", "127.0.0.1", "-p", `${doors.port(kind)}`]
  return kind === "mqtts" ? [...tcp, "--cafile", ca] : tcp
}

/** A mosquitto_sub that has subscribed, as the broker confirmed. */
async function subscriber(...args: string[]): Promise<RunningProcess> {
  const running = new RunningProcess("stdbuf", ["-oL", "mosquitto_sub", "-d", ...args])
  await running.waitForLine(/^Subscribed/)
  return running
}

const messages = ({ stdout }: { stdout: string }): string[] => stdout.split("\n").filter((line) => line.startsWith("message "))

describe.runIf(hasMosquitto()).each(DOORS)("%s", (kind) => {
  describe.each(VERSIONS)("%s", (version) => {
    test.each(["0", "1", "2"])("QoS %s: mosquitto_pub to mosquitto_sub, all, in order", async (qos) => {
      const topic = randomId()
      const args = [...address(kind), "-V", version, "-q", qos, "-t", topic]
      const sub = await subscriber(...args)
      const lines = Array.from({ length: 100 }, (_, n) => `message ${n}`)
      const pub = await runProcess("mosquitto_pub", [...args, "-l"], { stdin: `${lines.join("\n")}\n` })
      expect([pub.code, pub.stderr]).toEqual([0, ""])
      await waitFor(() => messages(sub).length >= 100, { what: "100 messages" })
      expect(messages(sub)).toEqual(lines)
      expect(sub.stdout).toMatch(new RegExp(`^Subscribed \\(mid: \\d+\\): ${qos}$`, "m"))
    })
  })

  test("a session that is away: what was published meanwhile comes, in order", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const session = [...address(kind), "-i", clientId, "-c", "-q", "1", "-t", topic]
    await (await subscriber(...session)).stop("SIGINT")
    const lines = Array.from({ length: 50 }, (_, n) => `message ${n}`)
    await runProcess("mosquitto_pub", [...address(kind), "-t", topic, "-q", "1", "-l"], { stdin: `${lines.join("\n")}\n` })
    const back = await runProcess("mosquitto_sub", [...session, "-C", "50", "-W", "10"])
    expect([back.code, messages(back)]).toEqual([0, lines])
  })

  test("a payload of 900 kB comes as it is", async () => {
    const topic = randomId()
    const payload = Buffer.from(Array.from({ length: 900_000 }, (_, n) => 32 + ((n * 7) % 90)))
    const session = [...address(kind), "-t", topic, "-q", "1", "-i", topic, "-c"]
    expect((await runProcess("mosquitto_sub", [...session, "-E"])).code).toBe(0)
    const pub = await runProcess("mosquitto_pub", [...address(kind), "-t", topic, "-q", "1", "-s"], { stdin: payload })
    expect([pub.code, pub.stderr]).toEqual([0, ""])
    const sub = await runProcess("mosquitto_sub", [...session, "-C", "1", "-N", "-W", "20"])
    expect(sub.code).toBe(0)
    expect(sub.stdoutBytes.equals(payload)).toBe(true)
  })
})

function publish(port: number, ...tls: string[]): Promise<{ code: number | null; stderr: string }> {
  return runProcess("mosquitto_pub", ["-h", "127.0.0.1", "-p", `${port}`, "-t", "t", "-q", "1", "-m", "x", ...tls])
}

describe.runIf(hasMosquitto())("TLS as mosquitto_pub sees it", () => {
  test("an authority that did not sign the certificate: the client goes away", async () => {
    const other = makeCertificates(temporaryFolder())
    expect((await publish(doors.port("mqtts"), "--cafile", other.ca)).code).not.toBe(0)
  })

  test("--tls-require-cert: with a certificate of --tls-ca it may, without it or with a stranger's it may not", async () => {
    const own = makeCertificates(temporaryFolder())
    const strict = await startBroker({ store: "memory:", tls: true, args: ["--tls-require-cert", "--tls-ca", own.ca] })
    const { port, certificates } = strict.tls
    const trust = ["--cafile", certificates.ca]
    const shown = ["--cert", own.clientCert, "--key", own.clientKey]
    expect(await publish(port, ...trust, ...shown)).toMatchObject({ code: 0, stderr: "" })
    expect((await publish(port, ...trust)).code).not.toBe(0)
    expect((await publish(port, ...trust, "--cert", certificates.clientCert, "--key", certificates.clientKey)).code).not.toBe(0)
    await logged(strict, "it shows no certificate, and --tls-require-cert asks for one")
    await logged(strict, "its certificate is not accepted: ")
  })
})
