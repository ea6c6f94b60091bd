import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { longFlag, shortFlag } from "@mqtt-trio/common"
import { hasMosquitto, randomId, runCli, runProcess, startMosquitto, temporaryFolder, type Mosquitto } from "@mqtt-trio/testing"
import { pubOptions } from "../src/options.js"

const flags = new Set(Object.values(pubOptions).flatMap((spec) => [longFlag(spec), shortFlag(spec), ...(spec.aliases ?? [])]))

describe.skipIf(!hasMosquitto())("every flag of mosquitto_pub", () => {
  let broker: Mosquitto
  const file = join(temporaryFolder(), "payload")
  beforeAll(async () => {
    broker = await startMosquitto()
    writeFileSync(file, "from file")
  })

  it("is known: all that its --help names, and the long names of its source", async () => {
    const help = (await runProcess("mosquitto_pub", ["--help"])).stdout
    const named = [...help.matchAll(/^ (--?[\w-]+) :/gm)].map((match) => match[1])
    expect(named.length).toBeGreaterThan(45)
    const long =
      "--bind --debug --disable-clean-session --file --host --id --id-prefix --keepalive --stdin-line --url --message --max-inflight --null-message --port --pw --property --protocol-version --qos --retain --stdin-file --topic --username --session-expiry-interval --psk --psk-identity"
    expect([...named, ...long.split(" ")].filter((name) => !flags.has(name) && name !== "--help")).toEqual([])
  })

  /** Arguments after `-p PORT`, what an observer sees as "QoS retain payload|content type|user properties", and stdin. */
  it.each<[args: string[], expected: string, stdin?: string]>([
    [["-t", "T", "-m", "x"], "1 0 x||"],
    [["--topic", "T", "--message", "x"], "1 0 x||"],
    [["-h", "localhost", "-t", "T", "-m", "x"], "1 0 x||"],
    [["--host", "127.0.0.1", "-t", "T", "-m", "x"], "1 0 x||"],
    [["-t", "T", "-f", file], "1 0 from file||"],
    [["-t", "T", "--file", file], "1 0 from file||"],
    [["-t", "T", "-l"], "1 0 line||", "line\n"],
    [["-t", "T", "--stdin-line"], "1 0 line||", "line"],
    [["-t", "T", "-s"], "1 0 all||", "all"],
    [["-t", "T", "--stdin-file"], "1 0 all||", "all"],
    [["-t", "T", "-n"], "1 0 ||"],
    [["-t", "T", "--null-message"], "1 0 ||"],
    [["-t", "T", "-m", "x", "-q", "2"], "2 0 x||"],
    [["-t", "T", "-m", "x", "--qos", "1"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-r"], "1 1 x||"],
    [["-t", "T", "-m", "x", "--retain"], "1 1 x||"],
    [["-t", "T", "-m", "x", "-V", "mqttv311"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--protocol-version", "mqttv31"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-V", "mqttv5", "-D", "publish", "content-type", "ct"], "1 0 x|ct|"],
    [["-t", "T", "-m", "x", "--property", "publish", "user-property", "k", "v"], "1 0 x||k:v"],
    [["-t", "T", "-m", "x", "-c", "-i", "id1"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--disable-clean-session", "--id", "id2"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-I", "prefix"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--id-prefix", "prefix"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-k", "20"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--keepalive", "20"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-x", "60"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-c", "-i", "id3", "-x", "-1"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--session-expiry-interval", "∞"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-M", "5"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--max-inflight", "5"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-A", "127.0.0.1"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--bind", "127.0.0.1"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--nodelay", "--quiet"], "1 0 x||"],
    [["-t", "T", "-m", "x", "-u", "me", "-P", "pw"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--username", "me", "--pw", "pw"], "1 0 x||"],
    [["-t", "T", "-m", "x", "--repeat", "2", "--repeat-delay", "0.01"], "1 0 x||\n1 0 x||"],
    [["-t", "T", "-m", "x", "--will-topic", "w", "--will-payload", "gone", "--will-qos", "1", "--will-retain"], "1 0 x||"],
    [["-d", "-t", "T", "-m", "x"], "1 0 x||"],
  ])("%j publishes %s", async (args, expected, stdin = "") => {
    const topic = randomId("flag")
    const lines = expected.split("\n").length
    const observer = ["-p", String(broker.port), "-t", topic, "-i", topic, "-c", "-V", "5", "-q", "2"]
    await runProcess("mosquitto_sub", [...observer, "-E", "-D", "subscribe", "subscription-identifier", "1"])
    const published = await runCli("mqtt-pub", ["-p", String(broker.port), ...args.map((arg) => (arg === "T" ? topic : arg))], { stdin })
    expect({ code: published.code, stdout: published.stdout }).toEqual({ code: 0, stdout: "" })
    // A retained message that waits in a queue has lost the flag; a new subscriber gets it.
    const late = expected.includes("1 1")
    const seen = await runProcess("mosquitto_sub", [
      ...(late ? observer.slice(0, 4).concat("-V", "5", "-q", "1") : observer),
      "-C",
      String(lines),
      "-W",
      "3",
      "-F",
      "%q %r %p|%C|%P",
    ])
    expect(seen.stdout.trimEnd()).toBe(expected)
  })

  it("-d prints packets on stderr, never on stdout", async () => {
    const { stdout, stderr } = await runCli("mqtt-pub", ["-p", String(broker.port), "-t", "t", "-m", "x", "-d"])
    expect(stdout).toBe("")
    expect(stderr).toMatch(/sent CONNECT\n[^]*received CONNACK\n[^]*sent PUBLISH id \d+\n[^]*received PUBACK id \d+\n[^]*sent DISCONNECT/)
  })

  it("-L takes the topic from the URL", async () => {
    const topic = randomId("url")
    const session = ["-L", `${broker.url}/${topic}`, "-c", "-i", topic, "--quiet"]
    await runCli("mqtt-sub", [...session, "-E"])
    expect((await runCli("mqtt-pub", ["-L", `${broker.url}/${topic}`, "-m", "x"])).code).toBe(0)
    expect((await runCli("mqtt-sub", [...session, "-C", "1", "-W", "3", "-v"])).stdout).toBe(`${topic} x\n`)
  })
})
