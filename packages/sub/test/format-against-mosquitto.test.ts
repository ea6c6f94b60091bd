import { beforeAll, describe, expect, it } from "vitest"
import { hasMosquitto, randomId, runCli, runProcess, startMosquitto, type Mosquitto, type RunResult } from "@mqtt-trio/testing"

/** What is published: arguments of mosquitto_pub after the topic, and what it reads from stdin. */
const messages: readonly (readonly [args: readonly string[], stdin: string | Buffer])[] = [
  [["-q", "1", "-m", "hello"], ""],
  [["-q", "1", "-n"], ""],
  [["-q", "1", "-s"], "h\u00e9llo \u20ac w\u00f6rld"],
  [["-q", "1", "-s"], Buffer.from([0x61, 0x00, 0xff, 0x0a, 0x62])],
  [
    ["-q", "1", "-m", '{"a": [1, 2, {}], "b": {"c": null, "d": []}, "e": "\\u00e9\\n"}', "-V", "5"].concat(
      [
        "content-type",
        "application/json",
        "response-topic",
        "answer/here",
        "correlation-data",
        "corr",
        "message-expiry-interval",
        "3600",
      ].flatMap((text, index, all) => (index % 2 === 0 ? ["-D", "publish", text, all[index + 1] ?? ""] : [])),
      ["-D", "publish", "payload-format-indicator", "1"],
      ["-D", "publish", "user-property", "k1", "v 1", "-D", "publish", "user-property", "k2", "v2"],
    ),
    "",
  ],
]

const formats: readonly string[] = [
  "%t|%p|%q|%r|%l|%%|%m",
  "%10t|%-10t|%010t|%.1t|%5.2t|%-5.2t|%.0t|%1t",
  "%10p|%-10p|%010p|%-010p|%2p|%.2p|%5.2p",
  "%x|%X|%20x|%-20x|%020X|%3x|%4x|%.2x",
  "%l|%5l|%05l|%-5l|%-05l|%m|%4m|%04m|%-4m",
  "%q|%5q|%05q|%r|%4r|%-4r",
  "%C|%30C|%-30C|%.4C|%30.4C|%030C",
  "%R|%30R|%-30R|%.4R|%30.4R|%D|%8D|%P|%9P",
  "%E|%F|%4F|%04F|%-4F|%A|%4A|%04A|%S|%4S|%04S",
  "\\\\|\\0|\\a|\\e|\\n|\\r|\\t|\\v|@@|text with ümlaut",
]

const times = "@a @A @b @B @C @d @D @e @F @g @G @h @H @I @j @k @l @m @M|@n|@p @P @R|@t|@u @U @V @w @W @x @y @Y @z @Z @+ @E @q @% @1 %.13I"

describe.skipIf(!hasMosquitto())("the format language, output by output, against the real mosquitto_sub", () => {
  let broker: Mosquitto
  const topic = "top/ic"
  const theirs = randomId("theirs")
  const ours = randomId("ours")
  beforeAll(async () => {
    broker = await startMosquitto()
  })

  function subscribe(client: string, args: readonly string[], env: Record<string, string> = {}): Promise<RunResult> {
    const common = ["-p", String(broker.port), "-t", topic, "-q", "1", "-V", "5", "-c", "-i", client]
    return client === ours
      ? runCli("mqtt-sub", [...common, "--quiet", ...args], { env })
      : runProcess("mosquitto_sub", [...common, ...args], { env })
  }

  /** What both print for all messages, in a fresh session, so that packet identifiers are the same. */
  async function outputs(format: string, options: { env?: Record<string, string>; args?: string[] } = {}): Promise<[RunResult, RunResult]> {
    for (const client of [theirs, ours]) {
      await runProcess("mosquitto_sub", ["-p", String(broker.port), "-t", topic, "-V", "5", "-i", client, "-E"])
      await subscribe(client, ["-E"])
    }
    for (const [args, stdin] of messages) await runProcess("mosquitto_pub", ["-p", String(broker.port), "-t", topic, ...args], { stdin })
    const args = ["-C", String(messages.length), "-W", "5", "-F", format, ...(options.args ?? [])]
    return Promise.all([subscribe(theirs, args, options.env), subscribe(ours, args, options.env)])
  }

  it.each(formats)("%s", async (format) => {
    const [expected, actual] = await outputs(format)
    expect(unexpired(actual)).toBe(unexpired(expected))
    expect(expected.stdoutBytes.length).toBeGreaterThan(20)
  })

  it.each(["UTC", "Europe/Berlin", "America/St_Johns"])("times in %s", async (TZ) => {
    const bothIn = async (): Promise<[RunResult, RunResult]> => {
      const minute = new Date().getMinutes()
      const both = await outputs(times, { env: { TZ } })
      return new Date().getMinutes() === minute ? both : bothIn() // one may have come before the full minute, and one after
    }
    const [expected, actual] = await bothIn()
    expect(actual.stdout.split("\n")[0]).toBe(expected.stdout.split("\n")[0])
    expect(expected.stdout.length).toBeGreaterThan(100)
    // these differ by the moment: digit for digit they are alike
    const shapes = (await outputs("%U @s @S @T @X @r @c @N %I", { env: { TZ } })).map(({ stdout }) =>
      stdout.split("\n")[0]?.replaceAll(/\d/g, "0"),
    )
    expect(shapes[1]).toBe(shapes[0])
    expect(shapes[0]).toMatch(/^0{10}\.0{9} 0{10} 00 00:00:00 /)
  })

  it("%U, %I and @N are the time to the microsecond", async () => {
    const before = Date.now() / 1000
    const [, actual] = await outputs("%U %I @N @s @c")
    const [unix = "", iso = "", nanoseconds] = actual.stdout.split("\n")[0]?.split(" ") ?? []
    expect(Number(unix)).toBeGreaterThan(before)
    expect(Number(unix)).toBeLessThan(Date.now() / 1000)
    expect(unix).toMatch(/^\d{10}\.\d{9}$/)
    expect(nanoseconds).toBe(unix.split(".")[1])
    expect(Date.parse(iso)).toBe(Math.floor(Number(unix)) * 1000)
  })

  it.each([["%j"], ["%j", "--pretty"]])("%s %s is the same text where mosquitto prints valid JSON", async (format, ...args) => {
    const [expected, actual] = await outputs(format, { args })
    const [theirMessages, ourMessages] = [expected, actual].map(({ stdout }) => splitMessages(stdout))
    // The fourth has NUL and bytes that are not UTF-8: mosquitto_sub cuts it; see the test below.
    for (const index of [0, 1, 2, 4]) {
      if (ourMessages?.[index] === undefined) throw new Error(`no message ${index} in: ${actual.stdout}`)
      expect(comparable(ourMessages[index])).toEqual(comparable(theirMessages?.[index] ?? ""))
    }
  })

  it("%j keeps bytes that mosquitto_sub cuts at NUL or prints as invalid UTF-8; %J parses, and complains where it cannot", async () => {
    const [, text] = await outputs("%j")
    const binary: unknown = JSON.parse(splitMessages(text.stdout)[3] ?? "")
    expect(binary).toMatchObject({ payloadlen: 5, payloadEncoding: "base64", payload: "YQD/CmI=" })
    const [expected, actual] = await outputs("%J", { args: ["-C", "5"] })
    const parsed = [expected, actual].map(({ stdout }): unknown => JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "{}"))
    expect(parsed[1]).toMatchObject({ payload: { a: [1, 2, {}], b: { c: null, d: [] }, e: "é\n" } })
    expect(parsed[0]).toMatchObject({ payload: { a: [1, 2, {}] } })
  })
})

/** The exact bytes, but for the expiry of the fifth message, which counts down while it waits. */
function unexpired({ stdoutBytes }: RunResult): string {
  return stdoutBytes.toString("latin1").replaceAll(/3(600|59\d)/g, "3600")
}

/** One JSON text for each message; pretty ones go over several lines. */
function splitMessages(stdout: string): string[] {
  return stdout.split(/\n(?=\{)/).map((text) => text.trim())
}

/** Everything but the time, and but the order of properties, which mosquitto_sub prints as they came. */
function comparable(text: string): { layout: string[]; value: unknown } {
  const plain = text.replaceAll(/3(600|59\d)/g, "3600").replace(/"tst":\s*"[^"]*"/, '"tst":""')
  const value: unknown = JSON.parse(plain)
  return {
    layout: plain
      .split("\n")
      .map((line) => line.replace(/,$/, ""))
      .toSorted((a, b) => a.localeCompare(b))
      .slice(0, text.includes("\n") ? undefined : 0),
    value,
  }
}
