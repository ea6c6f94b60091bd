import { readFileSync } from "node:fs"
import { join } from "node:path"
import { hasMosquitto, runCli, startBroker, startMosquitto, temporaryFolder } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Peer } from "../support/peer.js"

/** About a minute is expected; other tests share the machine. */
const LIMIT_MS = 240_000

interface Verdict {
  clean: boolean
  published: number
  expected: number
  firstCopies: number
  overlapCopies: number
  repeats: number
  signals: number
  seed: number
  anomalies: Record<string, number>
  /** the first anomaly of each kind */
  histories: Record<string, string[]>
}

async function torture(...args: string[]): Promise<{ code: number | null; verdict: Verdict; stderr: string }> {
  const { code, stdout, stderr } = await runCli("mqtt-broker", ["torture", "--json", ...args], { timeoutMs: LIMIT_MS })
  expect(stdout, stderr).toContain('"event":"verdict"')
  const verdict: Verdict = JSON.parse(stdout)
  return { code, verdict, stderr }
}

test(
  "the broker is killed under load again and again and keeps the promise",
  async () => {
    const { code, verdict } = await torture("--rounds", "15", "--qos", "2")
    expect(verdict.histories, `seed ${verdict.seed}`).toEqual({})
    expect(verdict).toMatchObject({ clean: true, firstCopies: verdict.expected, overlapCopies: 0 })
    expect(verdict.signals).toBeGreaterThan(10)
    expect(verdict.published).toBeGreaterThan(20_000)
    expect(verdict.expected).toBeGreaterThan(200_000)
    expect(verdict.repeats).toBeGreaterThan(0)
    expect(code).toBe(0)
  },
  LIMIT_MS,
)

test(
  "over TLS: the broker is killed under load again and again and keeps the promise",
  async () => {
    const { code, verdict } = await torture("--tls", "--rounds", "4", "--qos", "2", "--sessions", "300")
    expect(verdict.histories, `seed ${verdict.seed}`).toEqual({})
    expect(verdict).toMatchObject({ clean: true, firstCopies: verdict.expected, overlapCopies: 0 })
    expect(verdict.signals).toBeGreaterThan(2)
    expect(verdict.published).toBeGreaterThan(2000)
    expect(verdict.expected).toBeGreaterThan(20_000)
    expect(code).toBe(0)
  },
  LIMIT_MS,
)

test(
  "clients come, go and take over while the broker lives, and it keeps the promise",
  async () => {
    const { code, verdict } = await torture("--rounds", "20", "--signal", "none", "--qos", "2", "--shape", "live")
    expect(verdict.histories, `seed ${verdict.seed}`).toEqual({})
    expect(verdict).toMatchObject({ clean: true, firstCopies: verdict.expected, overlapCopies: 0, signals: 0 })
    expect(verdict.published).toBeGreaterThan(10_000)
    expect(verdict.expected).toBeGreaterThan(100_000)
    expect(code).toBe(0)
  },
  LIMIT_MS,
)

test(
  "the broker is stopped with SIGTERM under load and keeps the promise",
  async () => {
    const { code, verdict } = await torture("--rounds", "10", "--signal", "TERM", "--qos", "2", "--shape", "live")
    expect(verdict.histories, `seed ${verdict.seed}`).toEqual({})
    expect(verdict).toMatchObject({ clean: true, firstCopies: verdict.expected, overlapCopies: 0 })
    expect(verdict.signals).toBeGreaterThan(0)
    expect(verdict.published).toBeGreaterThan(5000)
    expect(verdict.expected).toBeGreaterThan(50_000)
    expect(code).toBe(0)
  },
  LIMIT_MS,
)

test.runIf(hasMosquitto())(
  "the instrument finds what another broker does, and ends with 1",
  async () => {
    const mosquitto = await startMosquitto()
    await mosquitto.stop()
    const args = ["--target", mosquitto.url, "--start", `mosquitto -c ${mosquitto.dir}/mosquitto.conf`]
    const { code, verdict } = await torture("--rounds", "2", "--seed", "5", "--shape", "live", "--qos", "2", ...args)
    expect(verdict.clean).toBe(false)
    expect(verdict.anomalies["sessionLost"]).toBeGreaterThan(0)
    expect(verdict.anomalies["missing"]).toBeGreaterThan(0)
    expect(code).toBe(1)
  },
  LIMIT_MS,
)

test.runIf(hasMosquitto())(
  "a broker that somebody else runs is left alone and keeps no session of the torture",
  async () => {
    const log = join(temporaryFolder(), "log")
    const unbounded = ["max_queued_messages 0", "max_inflight_messages 0"]
    const mosquitto = await startMosquitto(["allow_anonymous true", ...unbounded, `log_dest file ${log}`])
    const args = ["--target", mosquitto.url, "--rounds", "1", "--sessions", "20"]
    const { verdict } = await torture(...args)
    expect(verdict).toMatchObject({ signals: 0 })
    expect(verdict.expected).toBeGreaterThan(1000)
    expect(verdict.anomalies["sessionLost"]).toBe(0)
    const clients = new Set(Array.from(readFileSync(log, "utf8").matchAll(/ connected from \S+ as (torture-\S+) \(/g), ([, id = ""]) => id))
    expect(clients.size).toBeGreaterThan(20)
    const kept: string[] = []
    for (const clientId of clients) {
      const [peer, connack] = await Peer.greeted(mosquitto.port, 4, { clientId, clean: false })
      if (connack[2] !== 0) kept.push(clientId)
      peer.cut()
    }
    expect(kept).toEqual([])
  },
  LIMIT_MS,
)

test(
  "a target over TLS, with the authority of its certificate",
  async () => {
    const { tls } = await startBroker({ tls: true })
    const target = ["--target", tls.url, "--cafile", tls.certificates.ca]
    const { code, verdict } = await torture(...target, "--rounds", "1", "--shape", "live")
    expect(verdict).toMatchObject({ clean: true, signals: 0, firstCopies: verdict.expected })
    expect([verdict.expected > 100, code]).toEqual([true, 0])
  },
  LIMIT_MS,
)

test.each([
  ["--start without --target", ["--start", "true"], "--start needs --target"],
  [
    "a signal for a broker that was not started here",
    ["--target", "mqtt://127.0.0.1:1", "--signal", "KILL"],
    "--signal KILL needs --start",
  ],
  ["a URL with a user", ["--target", "mqtt://me@127.0.0.1:1"], "torture speaks MQTT over TCP or TLS, without a user"],
  ["a WebSocket", ["--target", "ws://127.0.0.1:1"], "torture speaks MQTT over TCP or TLS, without a user"],
  ["--tls with a target", ["--target", "mqtts://127.0.0.1:1", "--tls"], "--tls is for a broker that is started here"],
  ["--cafile for no TLS", ["--target", "mqtt://127.0.0.1:1", "--cafile", "x"], "--cafile needs a target with TLS"],
  ["a --cafile that is not there", ["--target", "mqtts://127.0.0.1:1", "--cafile", "/no/ca"], '--cafile "/no/ca" cannot be read: ENOENT'],
  [
    "--store with a target",
    ["--target", "mqtt://127.0.0.1:1", "--store", "file:x"],
    "--store is for brokers that are started without --target",
  ],
  ["several brokers on a folder", ["--brokers", "2", "--store", "file:x"], "--brokers 2 needs a store in MongoDB"],
  ["several brokers without a store", ["--brokers", "2", "--signal", "STOP"], "--brokers 2 needs a store in MongoDB"],
  ["a lease without a database", ["--lease", "3s"], "--lease needs a store in MongoDB"],
  ["a server without a database", ["--store-server", "true"], "--store-server needs a store in MongoDB"],
  [
    "a server of several hosts",
    ["--store", "mongodb://a:1,b:2/db", "--store-server", "true"],
    "--store-server needs a store with one host",
  ],
  ["STOP without a broker that stands by", ["--signal", "STOP"], "--signal STOP needs a broker that stands by"],
  ["a store in memory", ["--store", "memory:"], "memory: keeps nothing over a KILL"],
  ["a lease that is too short", ["--lease", "1ms"], 'lease "1ms" is not between 1s and 1h'],
  ["an unknown shape", ["--shape", "round"], 'shape "round" is not one of live, sparse, all'],
  ["QoS 0", ["--qos", "0"], 'QoS "0" is not 1 or 2'],
])("%s is a usage error", async (_, args, message) => {
  const { code, stderr } = await runCli("mqtt-broker", ["torture", ...args])
  expect(stderr).toContain(message)
  expect(code).toBe(2)
})
