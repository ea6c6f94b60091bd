import { beforeAll, describe, expect, it } from "vitest"
import { randomId, runCli, runProcess, spawnCli, startBroker, cliPath, waitFor, type RunResult, type TestBroker } from "@mqtt-trio/testing"

let broker: TestBroker
beforeAll(async () => {
  broker = await startBroker()
})

function at(...args: string[]): string[] {
  return ["-L", broker.url, ...args]
}

function sub(...args: string[]): Promise<RunResult> {
  return runCli("mqtt-sub", at(...args))
}

async function pub(...args: string[]): Promise<void> {
  expect(await runCli("mqtt-pub", at(...args))).toMatchObject({ code: 0, stderr: "" })
}

/** A persistent session on a topic of its own, in which these messages wait. */
async function waiting(...messages: string[]): Promise<{ topic: string; session: string[] }> {
  const topic = randomId("topic")
  const session = [topic, "--client", randomId("client"), "--persistent"]
  expect((await sub(...session, "-E")).code).toBe(0)
  if (messages.length > 0) expect((await runCli("mqtt-pub", at(topic, "-l"), { stdin: messages.join("\n") })).code).toBe(0)
  return { topic, session }
}

describe("what it prints", () => {
  it("the payload alone, a line each; -v adds the topic; -N leaves out the line feed", async () => {
    const { topic, session } = await waiting("a", "b")
    expect((await sub(...session, "-C", "2")).stdout).toBe("a\nb\n")
    await pub(topic, "c")
    expect((await sub(...session, "-C", "1", "-v")).stdout).toBe(`${topic} c\n`)
    await pub(topic, "d")
    expect((await sub(...session, "-C", "1", "-N")).stdout).toBe("d")
    await pub(topic, "-n")
    expect((await sub(...session, "-C", "1", "-v")).stdout).toBe(`${topic} (null)\n`)
    await pub(topic, "-n")
    expect((await sub(...session, "-C", "1")).stdout).toBe("")
  })

  it("exact bytes into a pipe", async () => {
    const { topic, session } = await waiting()
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
    await runCli("mqtt-pub", at(topic, "-s"), { stdin: bytes })
    expect((await sub(...session, "-C", "1")).stdoutBytes).toEqual(Buffer.concat([bytes, Buffer.from("\n")]))
  })

  it("--json: one object a line with mosquitto's keys, text where it is text, base64 where it is not", async () => {
    const { topic, session } = await waiting()
    await pub(
      topic,
      "héllo\u0001",
      "--content-type",
      "text/plain",
      "--user-property",
      "a=1",
      "--user-property",
      "a=2",
      "--expiry",
      "1h",
      "--payload-format",
      "--correlation-data",
      "cd",
      "--response-topic",
      "r",
    )
    await runCli("mqtt-pub", at(topic, "-s"), { stdin: Buffer.from([0x61, 0, 0xff]) })
    const lines = (await sub(...session, "-C", "2", "--json")).stdout.trimEnd().split("\n")
    const [text, binary]: unknown[] = lines.map((line): unknown => JSON.parse(line))
    expect(text).toEqual({
      tst: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z[+-]\d{4}$/),
      topic,
      qos: 1,
      retain: 0,
      payloadlen: 7,
      mid: expect.any(Number),
      properties: {
        "content-type": "text/plain",
        "user-properties": [{ a: "1" }, { a: "2" }],
        "message-expiry-interval": expect.any(Number),
        "payload-format-indicator": 1,
        "correlation-data": "cd",
        "response-topic": "r",
      },
      payloadEncoding: "utf8",
      payload: "héllo\u0001",
    })
    expect(binary).toMatchObject({ payloadEncoding: "base64", payload: "YQD/", payloadlen: 3 })
    await pub(topic, "xyz")
    expect(JSON.parse((await sub(...session, "-C", "1", "--json", "--hex")).stdout)).toMatchObject({
      payloadEncoding: "hex",
      payload: "78797a",
    })
    await pub(topic, "xyz")
    expect((await sub(...session, "-C", "1", "--base64")).stdout).toBe("eHl6\n")
  })

  it("shows control characters on a terminal instead of obeying them, but not with --raw", async () => {
    const { topic, session } = await waiting("red \u001b[31m\u0007 text", "raw \u001b[31m")
    const terminal = (...args: string[]): Promise<RunResult> => {
      const words = [process.execPath, cliPath("mqtt-sub"), ...at(...session, "-C", "1", ...args)]
      return runProcess("script", ["-qec", words.map((word) => `'${word}'`).join(" "), "/dev/null"])
    }
    expect(topic).toBe(session[0])
    expect((await terminal("--quiet")).stdout).toContain("red \\x1b[31m\\x07 text")
    expect((await terminal("--raw", "--quiet")).stdout).toContain("raw \u001b[31m")
  })
})

describe("sessions", () => {
  it("says on stderr whether the session is new or resumed, and what was waiting", async () => {
    const topic = randomId("topic")
    const client = randomId("client")
    const session = [topic, "--client", client, "--persistent"]
    expect((await sub(...session, "-E")).stderr).toBe("new session\n")
    await runCli("mqtt-pub", at(topic, "-l"), { stdin: "1\n2\n3" })
    const back = await sub(...session, "-W", "1")
    expect(back).toMatchObject({ code: 0, stdout: "1\n2\n3\n", stderr: `session ${client} resumed: 3 messages were waiting\n` })
    const json = await sub(...session, "--json", "-E")
    expect(JSON.parse(json.stderr)).toEqual({ event: "session", client, resumed: true, waiting: 0, complete: true })
    expect((await sub(topic, "-E")).stderr).toBe("")
  })

  it("says what was waiting, and not how much of it came, when the broker tells", async () => {
    const { session } = await waiting("1", "2", "3")
    const first = await sub(...session, "-C", "1")
    expect(first).toMatchObject({ stdout: "1\n", stderr: `session ${session[2]} resumed: 3 messages were waiting\n` })
    expect((await sub(...session, "-C", "2")).stderr).toContain("2 messages were waiting")
    const { session: old } = await waiting("1", "2", "3")
    expect((await sub(...old, "-C", "1", "-V", "311")).stderr).toBe(`session ${old[2]} resumed: 1 message was waiting\n`)
  })

  it("does not count new messages as waiting ones when they never pause", async () => {
    const { topic, session } = await waiting("1", "2")
    const publisher = spawnCli("mqtt-pub", at(topic, "live", "--interval", "5"))
    await publisher.waitForLine(/^1$/)
    const back = spawnCli("mqtt-sub", at(...session, "-V", "311"))
    await back.waitForLine(/resumed: \d+ messages so far, waiting and new ones$/, { stream: "stderr" })
    expect(back.stdout.startsWith("1\n2\nlive\n")).toBe(true)
  })

  it("warns that QoS 0 does not wait", async () => {
    const result = await sub("t", "--client", randomId(), "--persistent", "-q", "0", "-E")
    expect(result.stderr).toContain("QoS 0 messages are not queued while you are away")
  })

  it("subscribes to several filters, each with its QoS; 3.1.1 as well", async () => {
    for (const version of ["5", "3.1.1"]) {
      const topic = randomId("multi")
      const running = spawnCli(
        "mqtt-sub",
        at("-t", `${topic}/0`, "-q", "0", "-t", `${topic}/1`, "-q", "1", "-F", "%t %q", "-C", "2", "-V", version, "-d"),
      )
      await running.waitForLine("SUBACK", { stream: "stderr" })
      await pub(`${topic}/0`, "x")
      await pub(`${topic}/1`, "x")
      await running.waitForEnd()
      expect(running.stdout).toBe(`${topic}/0 0\n${topic}/1 1\n`)
    }
  })

  it("subscribes to filters that are names of something in JavaScript, and numbers, each with its QoS", async () => {
    const filters = ["resubscribe", "7", "__proto__", "constructor", "10"]
    const args = filters.flatMap((filter, index) => ["-t", filter, "-q", String(index % 2)])
    const running = spawnCli("mqtt-sub", at(...args, "-F", "%t %q", "-C", "5", "-d"))
    await running.waitForLine(/SUBACK[^]*/, { stream: "stderr" })
    await waitFor(() => running.stderr.split("received SUBACK").length === 3, { what: "both SUBACKs" })
    for (const filter of filters) await pub(filter, "x")
    await running.waitForEnd()
    expect(running.stdout).toBe(filters.map((filter, index) => `${filter} ${index % 2}\n`).join(""))
  })

  it("-U ends a subscription of the session", async () => {
    const { topic, session } = await waiting()
    const client = session.slice(1)
    expect((await sub(...client, "-U", topic, "-E")).code).toBe(0)
    await pub(topic, "x")
    expect((await sub(`${topic}/other`, ...client, "-W", "500ms")).stdout).toBe("")
  })

  it("subscribes again when a broker without its session comes back", async () => {
    const own = await startBroker({ store: "memory:" })
    const running = spawnCli("mqtt-sub", ["-L", own.url, "again", "--reconnect-period", "100ms", "-d"])
    await running.waitForLine("SUBACK", { stream: "stderr" })
    await own.kill9()
    await running.waitForLine("connection lost", { stream: "stderr" })
    await own.restart()
    await running.waitForLine("connected again", { stream: "stderr" })
    await runCli("mqtt-pub", ["-L", own.url, "again", "x", "--repeat", "3", "--repeat-delay", "200ms"])
    await running.waitForLine("x")
    expect((await running.stop("SIGTERM")).code).toBe(0)
  })
})

describe("how it ends", () => {
  it("-C ends with exit 0 after so many, and leaves the others in the session", async () => {
    const { session } = await waiting("1", "2", "3", "4")
    expect(await sub(...session, "-C", "2")).toMatchObject({ code: 0, stdout: "1\n2\n" })
    expect(await sub(...session, "-C", "2")).toMatchObject({ code: 0, stdout: "3\n4\n" })
  })

  it("-W is exit 27 only when nothing came, or less than -C", async () => {
    const { session } = await waiting("1", "2")
    expect(await sub(...session, "-W", "1", "-C", "3")).toMatchObject({
      code: 27,
      stdout: "1\n2\n",
      stderr: expect.stringContaining("2 of 3 messages came"),
    })
    expect(await sub(...session, "-W", "300ms")).toMatchObject({ code: 27, stderr: expect.stringContaining("no message came") })
  })

  it("a signal ends an endless run with 0, and with 130 or 143 before -C", async () => {
    for (const [signal, args, code] of [
      ["SIGINT", [], 0],
      ["SIGTERM", [], 0],
      ["SIGINT", ["-C", "5"], 130],
      ["SIGTERM", ["-C", "5"], 143],
    ] as const) {
      const running = spawnCli("mqtt-sub", at("sig", "-d", ...args))
      await running.waitForLine("SUBACK", { stream: "stderr" })
      expect((await running.stop(signal)).code).toBe(code)
      expect(running.stderr).toContain("sent DISCONNECT")
    }
  })
})

it("--check-order follows the counters of --seq: in order is 0, a gap is 8", async () => {
  for (const version of ["5", "3.1.1"]) {
    const { topic, session } = await waiting()
    await pub(topic, "x", "--seq", "--repeat", "20", "-V", version)
    const good = await sub(...session, "--check-order", "-C", "20")
    expect(good).toMatchObject({
      code: 0,
      stdout: "x\n".repeat(20),
      stderr: expect.stringContaining("20 checked, 0 missing, 0 out of order"),
    })
    for (const n of [1, 2, 5, 4]) await pub(topic, `[mqtt-seq abcd ${n}] m${n}`)
    const bad = await sub(...session, "--check-order", "-C", "4")
    expect(bad).toMatchObject({
      code: 8,
      stdout: "m1\nm2\nm5\nm4\n",
      stderr: expect.stringContaining("4 checked, 1 missing, 1 out of order"),
    })
  }
})
