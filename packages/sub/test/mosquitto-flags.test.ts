import { beforeAll, describe, expect, it } from "vitest"
import { longFlag, shortFlag } from "@mqtt-trio/common"
import { hasMosquitto, randomId, runCli, runProcess, spawnCli, startMosquitto, type Mosquitto } from "@mqtt-trio/testing"
import { subOptions } from "../src/options.js"

const flags = new Set(Object.values(subOptions).flatMap((spec) => [longFlag(spec), shortFlag(spec), ...(spec.aliases ?? [])]))

describe.skipIf(!hasMosquitto())("every flag of mosquitto_sub", () => {
  let broker: Mosquitto
  const retained = randomId("retained")
  beforeAll(async () => {
    broker = await startMosquitto()
    for (const [topic, text] of [
      ["a", "one"],
      ["b", "two"],
      ["c/d", "three"],
    ] as const) {
      await runProcess("mosquitto_pub", ["-p", String(broker.port), "-t", `${retained}/${topic}`, "-m", text, "-r", "-q", "1"])
    }
  })

  it("is known: all that its --help names, and the long names of its source", async () => {
    const help = (await runProcess("mosquitto_sub", ["--help"])).stdout
    const named = [...help.matchAll(/^ (--?[\w-]+) :/gm)].map((match) => match[1])
    expect(named.length).toBeGreaterThan(50)
    const long =
      "--filter-out --unsubscribe --verbose --retain-as-published --retain-handling --random-filter --remove-retained --retained-only --topic --debug --disable-clean-session --property --session-expiry-interval"
    expect([...named, ...long.split(" ")].filter((name) => !flags.has(name) && name !== "--help")).toEqual([])
  })

  /** Arguments after `-p PORT` and what is printed of the three retained messages; R is their common topic. */
  it.each<[args: string[], expected: string | RegExp]>([
    [["-t", "R/a", "-C", "1"], "one\n"],
    [["--topic", "R/a", "-C", "1"], "one\n"],
    [["-h", "localhost", "-t", "R/a", "-C", "1"], "one\n"],
    [["-t", "R/a", "-t", "R/b", "-C", "2"], "one\ntwo\n"],
    [["-t", "R/#", "-T", "R/a", "-C", "2"], "two\nthree\n"],
    [["-t", "R/#", "--filter-out", "R/+", "-C", "1"], "three\n"],
    [["-t", "R/a", "-v", "-C", "1"], "R/a one\n"],
    [["-t", "R/a", "--verbose", "-C", "1"], "R/a one\n"],
    [["-t", "R/a", "-N", "-C", "1"], "one"],
    [["-t", "R/a", "-F", "%r %q %p", "-C", "1"], "1 1 one\n"],
    [["-t", "R/a", "-q", "0", "-F", "%q", "-C", "1"], "0\n"],
    [["-t", "R/#", "--retained-only", "-W", "1"], "one\ntwo\nthree\n"],
    [["-t", "R/#", "-R", "-W", "1"], ""],
    [["-t", "R/a", "-E"], ""],
    [["-t", "R/a", "-V", "mqttv311", "-C", "1"], "one\n"],
    [["-t", "R/a", "-V", "mqttv31", "-C", "1"], "one\n"],
    [["-t", "R/a", "-V", "mqttv5", "-D", "subscribe", "subscription-identifier", "7", "-F", "%S", "-C", "1"], "7\n"],
    [["-t", "R/a", "--retain-handling", "never", "-W", "1"], ""],
    [["-t", "R/a", "--retain-as-published", "-F", "%r", "-C", "1"], "1\n"],
    [["-t", "R/a", "-i", "sub1", "-c", "-C", "1"], "one\n"],
    [["-t", "R/a", "--id", "sub2", "--disable-clean-session", "-x", "10", "-C", "1"], "one\n"],
    [["-t", "R/a", "-I", "pre", "-C", "1"], "one\n"],
    [["-t", "R/a", "-k", "5", "--nodelay", "--quiet", "-A", "127.0.0.1", "-C", "1"], "one\n"],
    [["-t", "R/a", "-u", "u", "-P", "p", "-C", "1"], "one\n"],
    [["-t", "R/a", "-U", "R/b", "-C", "1"], "one\n"],
    [["-t", "R/a", "--random-filter", "100", "-C", "1"], "one\n"],
    [["-t", "R/a", "--will-topic", "w", "--will-payload", "x", "--will-qos", "1", "--will-retain", "-C", "1"], "one\n"],
    [["-t", "R/a", "-d", "-C", "1"], "one\n"],
    [["-t", "R/a", "-F", "%j", "--pretty", "-C", "1"], /^\{\n\t"tst":\t"/],
  ])("%j prints %j", async (args, expected) => {
    const result = await runCli("mqtt-sub", ["-p", String(broker.port), ...args.map((arg) => arg.replace(/^R\//, `${retained}/`))])
    if (typeof expected === "string") expect(result.stdout).toBe(expected.replace("R/", `${retained}/`))
    else expect(result.stdout).toMatch(expected)
    expect(result.code).toBe(expected === "" && args.includes("-W") ? 27 : 0)
  })

  it("--remove-retained removes what it printed", async () => {
    const topic = randomId("remove")
    await runProcess("mosquitto_pub", ["-p", String(broker.port), "-t", topic, "-m", "old", "-r", "-q", "1"])
    const args = ["-p", String(broker.port), "-t", topic, "-W", "1"]
    expect(await runCli("mqtt-sub", [...args, "--remove-retained"])).toMatchObject({ code: 0, stdout: "old\n" })
    expect(await runCli("mqtt-sub", args)).toMatchObject({ code: 27, stdout: "" })
  })

  it("the will is published when the process is killed", async () => {
    const topic = randomId("will")
    const watcher = ["-p", String(broker.port), "-t", topic, "-i", topic, "-c", "-q", "1"]
    await runProcess("mosquitto_sub", [...watcher, "-E"])
    const doomed = spawnCli("mqtt-sub", [
      "-p",
      String(broker.port),
      "x",
      "--will-topic",
      topic,
      "--will-payload",
      "gone",
      "--will-qos",
      "1",
      "-d",
    ])
    await doomed.waitForLine("SUBACK", { stream: "stderr" })
    await doomed.kill9()
    expect((await runProcess("mosquitto_sub", [...watcher, "-C", "1", "-W", "5"])).stdout).toBe("gone\n")
  })
})
