import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { checkNumbers } from "@mqtt-trio/torture"
import { beforeAll, describe, expect, it } from "vitest"
import { runCli, spawnCli, startBroker, temporaryFolder, waitFor, type RunningProcess, type TestBroker } from "@mqtt-trio/testing"

let broker: TestBroker
beforeAll(async () => {
  broker = await startBroker()
})

function at(...args: string[]): string[] {
  return ["-L", broker.url, ...args]
}

/** A subscriber that is ready: what the broker acknowledges from now on reaches it. */
async function subscriber(topic: string, ...args: string[]): Promise<RunningProcess> {
  const client = `sub-${topic}`
  const options = ["--client", client, "--persistent", "--quiet"]
  expect((await runCli("mqtt-sub", at(topic, ...options, "-E"))).code).toBe(0)
  return spawnCli("mqtt-sub", at(topic, ...options, ...args))
}

/** The payloads that arrive for the messages which `publish` sends to its topic. */
async function payloads(topic: string, count: number, publish: () => Promise<unknown>): Promise<Buffer[]> {
  const running = await subscriber(topic, "-C", String(count), "-F", "%x")
  await publish()
  await running.waitForEnd()
  return running.stdout
    .trimEnd()
    .split("\n")
    .map((line) => Buffer.from(line, "hex"))
}

describe("one message", () => {
  it("prints nothing and exits 0 when it is acknowledged", async () => {
    expect(await runCli("mqtt-pub", at("quiet", "Hello"))).toMatchObject({ code: 0, stdout: "", stderr: "" })
  })

  it.each([
    ["an argument", ["a b  c"], undefined, "a b  c"],
    ["-m", ["-m", "--dashes"], undefined, "--dashes"],
    ["-n", ["-n"], undefined, ""],
    ["-s", ["-s"], "all\nof\nit\n", "all\nof\nit\n"],
    ["-f -", ["-f", "-"], "\0\u00ff", "\0\u00ff"],
    ["an empty argument", [""], undefined, ""],
    ["non-ASCII", ["ä€😀"], undefined, "ä€😀"],
  ] as const)("takes the payload from %s, byte for byte", async (_name, args, stdin, expected) => {
    const topic = `bytes${Math.random()}`
    const [payload] = await payloads(topic, 1, () => runCli("mqtt-pub", at(topic, ...args), { stdin: stdin ?? "" }))
    expect(payload?.toString()).toBe(expected)
  })

  it("takes the payload from a file, all 256 bytes of it, and 900 kB of them", async () => {
    const file = join(temporaryFolder(), "payload")
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
    writeFileSync(file, bytes)
    expect(await payloads("file", 1, () => runCli("mqtt-pub", at("file", "-f", file)))).toEqual([bytes])
    const large = Buffer.alloc(900_000, bytes)
    writeFileSync(file, large)
    const [payload] = await payloads("large", 1, () => runCli("mqtt-pub", at("large", "-f", file)))
    expect(payload?.equals(large)).toBe(true)
  })

  it("says no with exit 2 to a file that is not there, before it connects", async () => {
    const result = await runCli("mqtt-pub", ["-p", "1", "t", "-f", "/does/not/exist"])
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot read "/does/not/exist"') })
  })
})

describe("lines of stdin (-l)", () => {
  it("keeps NUL, any byte, empty lines, long lines, and a last line without a line feed", async () => {
    const long = Buffer.alloc(300_000, "x")
    const lines = [Buffer.from("a\0b"), Buffer.from([0xff, 0x0d, 0x80]), Buffer.alloc(0), long, Buffer.from("last")]
    const stdin = Buffer.concat(lines.flatMap((line, index) => (index === 0 ? [line] : [Buffer.from("\n"), line])))
    expect(await payloads("lines", 5, () => runCli("mqtt-pub", at("lines", "-l"), { stdin }))).toEqual(lines)
  })

  it("sends a line as soon as it is there", async () => {
    const running = await subscriber("live", "-F", "%p")
    const publisher = spawnCli("mqtt-pub", at("live", "-l"))
    publisher.child.stdin.write("first\nsec")
    await running.waitForLine("first")
    publisher.child.stdin.end("ond")
    await running.waitForLine("second")
    expect(await publisher.waitForEnd()).toEqual({ code: 0, signal: null })
  })

  it("20,000 lines arrive in order, none missing", async () => {
    const count = 20_000
    const running = await subscriber("many", "-C", String(count), "-F", "%p")
    const stdin = Array.from({ length: count }, (_, index) => `${index}\n`).join("")
    expect((await runCli("mqtt-pub", at("many", "-l"), { stdin })).code).toBe(0)
    await running.waitForEnd()
    expect(running.stdout).toBe(stdin)
  })
})

describe("pace", () => {
  it("--interval publishes exactly the text each interval and prints the running number until it is stopped", async () => {
    const running = await subscriber("beat", "-F", "%p")
    const publisher = spawnCli("mqtt-pub", at("beat", "Hello", "--interval", "20"))
    await publisher.waitForLine(/^5$/)
    expect(await publisher.stop("SIGINT")).toEqual({ code: 0, signal: null })
    const numbers = publisher.stdout.trimEnd().split("\n")
    expect(numbers).toEqual(numbers.map((_, index) => String(index + 1)))
    const lines = (): string[] => running.stdout.split("\n").filter((line) => line !== "")
    await waitFor(() => lines().length === numbers.length, { what: `${numbers.length} messages` })
    expect(new Set(lines())).toEqual(new Set(["Hello"]))
  })

  it("keeps a steady clock: 20 messages at 25 ms take 475 ms, not more for the time they take themselves", async () => {
    const publisher = spawnCli("mqtt-pub", at("steady", "x", "--interval", "25", "--count", "20"))
    await publisher.waitForLine(/^1$/)
    const start = performance.now()
    await publisher.waitForLine(/^20$/)
    const took = performance.now() - start
    expect(took).toBeGreaterThan(400)
    expect(took).toBeLessThan(900)
    expect((await publisher.waitForEnd()).code).toBe(0)
  })

  it("--repeat sends so many and prints nothing", async () => {
    const received = await payloads("rep", 3, async () => {
      expect(await runCli("mqtt-pub", at("rep", "x", "--repeat", "3"))).toMatchObject({ code: 0, stdout: "" })
    })
    expect(received.map(String)).toEqual(["x", "x", "x"])
  })

  it("a signal before --count is reached is exit 130 or 143", async () => {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      const publisher = spawnCli("mqtt-pub", at("cut", "x", "--interval", "50", "--count", "1000"))
      await publisher.waitForLine(/^2$/)
      expect((await publisher.stop(signal)).code).toBe(code)
    }
  })
})

describe("--template", () => {
  it("is the article's publisher", async () => {
    const received = await payloads("hello", 3, () =>
      runCli("mqtt-pub", at("hello", "Hello mqtt {{n}}", "--template", "--interval", "10", "--count", "3")),
    )
    expect(received.map(String)).toEqual(["Hello mqtt 1", "Hello mqtt 2", "Hello mqtt 3"])
  })

  it("fills payload and topic; without --template nothing is filled in", async () => {
    const running = await subscriber("tpl/+", "-C", "3", "-F", "%t %p")
    await runCli("mqtt-pub", at("tpl/{{n}}", "{{line}}:{{env LANGUAGE_X}}:{{randInt 7 7}}:{{unix}}:{{iso}}:{{uuid}}", "--template", "-l"), {
      stdin: "one\ntwo",
      env: { LANGUAGE_X: "de" },
    })
    await runCli("mqtt-pub", at("tpl/2", "{{n}}"))
    await running.waitForEnd()
    const [first, second, third] = running.stdout.split("\n")
    expect(first).toMatch(/^tpl\/1 one:de:7:\d{10}:\d{4}-\d\d-\d\dT[\d:.]+Z:[0-9a-f-]{36}$/)
    expect(second).toMatch(/^tpl\/2 two:de:7:/)
    expect(third).toBe("tpl/2 {{n}}")
  })
})

it("survives a broker that is killed: what was not acknowledged is sent again, in order", async () => {
  const own = await startBroker()
  const url = ["-L", own.url]
  const session = ["gone", "--client", "gone", "--persistent", "--quiet"]
  await runCli("mqtt-sub", [...url, ...session, "-E"])
  const publisher = spawnCli("mqtt-pub", [...url, "gone", "-l", "--reconnect-period", "100ms", "-d"])
  publisher.child.stdin.write("1\n2\n3\n")
  await publisher.waitForLine("received PUBACK", { stream: "stderr" })
  await own.kill9()
  publisher.child.stdin.write("4\n5\n")
  await publisher.waitForLine(/connection lost/, { stream: "stderr" })
  await own.restart()
  publisher.child.stdin.end("6\n")
  expect((await publisher.waitForEnd()).code).toBe(0)
  const received = await runCli("mqtt-sub", [...url, ...session, "-W", "2"])
  const numbers = received.stdout.trimEnd().split("\n").map(Number)
  expect(checkNumbers({ qos: 1, published: 6, received: numbers })).toMatchObject({ clean: true, firstCopies: 6 })
})
