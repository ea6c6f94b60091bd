import { constantFrom, jsonValue, sample, tuple } from "fast-check"
import { beforeAll, describe, expect, it } from "vitest"
import { randomId, runCli, startBroker } from "@mqtt-trio/testing"

let url: string
beforeAll(async () => {
  url = (await startBroker({ store: "memory:" })).url
})

/** What mqtt-sub prints of a retained message with this payload. */
async function printed(payload: string | Uint8Array, ...args: string[]): Promise<string> {
  const topic = randomId("topic")
  expect((await runCli("mqtt-pub", ["-L", url, topic, "-s", "-r"], { stdin: payload })).code).toBe(0)
  const { code, stdout } = await runCli("mqtt-sub", ["-L", url, topic, "-C", "1", ...args])
  expect(code).toBe(0)
  return stdout
}

/** The payload in the line of `%J`, which must be one line of valid JSON. */
async function payloadIn(text: string): Promise<string> {
  const line = await printed(text, "-F", "%J")
  expect(line.split("\n")).toHaveLength(2)
  JSON.parse(line)
  return /"payload":(.*)\}\n$/s.exec(line)?.[1] ?? ""
}

describe("%J has the payload's own text", () => {
  it.each([
    "9007199254740993",
    "-1e400",
    "1.10",
    "-0",
    "1E+2",
    "123456789012345678901234567890.000",
    '{"b":1,"10":2,"9":3,"a":4}',
    '{"a":1,"a":2}',
    '{"__proto__":1}',
    String.raw`"\u00e9\/ \\\" \\"`,
    '" {  } : , [ ] "',
    '["\u2028","é😀"]',
    "null",
    "{}",
    "[]",
  ])("%s", async (text) => expect(await payloadIn(text)).toBe(text))

  it("on one line, however it is written", async () => {
    expect(await payloadIn('{\r\n\t"a": [1.0, 2 ,\n 3],\n  "b c": "d\\n: e"  }\n')).toBe('{"a":[1.0,2,3],"b c":"d\\n: e"}')
  })

  it("a large string is no trouble", async () => {
    const text = `["${String.raw`\"x\\`.repeat(100_000)}"]`
    expect((await payloadIn(text)) === text).toBe(true)
  })

  it("over several lines with --pretty", async () => {
    const text = await printed('{"n":1e400,"10":[1,{"a":[]},[2.0]],"9":{},"s":"{:,"}', "-F", "%J", "--pretty")
    const payload = text.slice(text.indexOf('\t"payload"'))
    expect(payload).toBe(
      '\t"payload":\t{\n\t\t"n":\t1e400,\n\t\t"10":\t[1, {\n\t\t\t\t"a":\t[]\n\t\t\t}, [2.0]],\n\t\t"9":\t{\n\t\t},\n\t\t"s":\t"{:,"\n\t}\n}\n',
    )
  })

  it("any JSON, with any white space", async () => {
    const cases = sample(tuple(jsonValue(), constantFrom("", " ", "\t", "\n  ")), { numRuns: 5, seed: 1 })
    for (const [value, space] of cases) {
      // oxlint-disable-next-line no-await-in-loop -- one process after the other
      expect(await payloadIn(JSON.stringify(value, undefined, space))).toBe(JSON.stringify(value))
    }
  })
})

it("%j and --json have it as a string, on one line", async () => {
  const text = '{"n": 9007199254740993,\n"10": 1}'
  for (const args of [["--json"], ["-F", "%j"]]) {
    // oxlint-disable-next-line no-await-in-loop -- one process after the other
    const line = await printed(text, ...args)
    expect(line.split("\n")).toHaveLength(2)
    expect(JSON.parse(line)).toMatchObject({ payload: text })
  }
})
