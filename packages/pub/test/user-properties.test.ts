import { beforeAll, describe, expect, it } from "vitest"
import { randomId, runCli, startBroker, startRecordingProxy, type TestBroker } from "@mqtt-trio/testing"

const PAIRS = [
  ["b", "1"],
  ["a", "2"],
  ["b", "3"],
  ["2", "x"],
  ["1", "y"],
  ["__proto__", ""],
] as const

/** The pairs as User Properties (38) on the wire. */
const WIRE = Buffer.concat(
  PAIRS.flatMap((pair) => [Buffer.from([38]), ...pair.flatMap((text) => [Buffer.from([0, text.length]), Buffer.from(text)])]),
)
const OPTIONS = PAIRS.flatMap(([name, text]) => ["--user-property", `${name}=${text}`])

function given(packet: string): string[] {
  return PAIRS.flatMap((pair) => ["-D", packet, "user-property", ...pair])
}

function mixed(packet: string): string[] {
  return PAIRS.flatMap((pair, index) => (index % 2 === 0 ? ["--user-property", pair.join("=")] : ["-D", packet, "user-property", ...pair]))
}

let broker: TestBroker
beforeAll(async () => {
  broker = await startBroker({ store: "memory:" })
})

describe("User Properties keep their order and come as often as they were given", () => {
  it.each([
    ["mqtt-pub", "PUBLISH", OPTIONS],
    ["mqtt-pub", "PUBLISH of -D", given("publish")],
    ["mqtt-pub", "PUBLISH of both", mixed("publish")],
    ["mqtt-sub", "SUBSCRIBE of both", mixed("subscribe")],
    ["mqtt-pub", "CONNECT", given("connect")],
    ["mqtt-pub", "Will", ["--will-topic", "w", ...given("will")]],
    ["mqtt-pub", "DISCONNECT", given("disconnect")],
    ["mqtt-sub", "SUBSCRIBE", OPTIONS],
    ["mqtt-sub", "SUBSCRIBE of -D", given("subscribe")],
    ["mqtt-sub", "UNSUBSCRIBE of -D", ["-U", "u", ...given("unsubscribe")]],
  ] as const)("%s sends them in %s", async (name, _packet, options) => {
    const proxy = await startRecordingProxy(broker.port)
    const what = name === "mqtt-pub" ? ["t", "x"] : ["t", "-E"]
    expect(await runCli(name, [...what, "-p", String(proxy.port), ...options])).toMatchObject({ code: 0, stderr: "" })
    expect(proxy.sent.includes(WIRE)).toBe(true)
  })

  it("mqtt-sub prints them as they came: %P, --json, --json --pretty", async () => {
    const topic = randomId("topic")
    const distinct = OPTIONS.toSpliced(4, 2)
    for (const options of [OPTIONS, distinct]) {
      expect((await runCli("mqtt-pub", ["-L", broker.url, "-r", `${topic}/${options.length}`, "x", ...options])).code).toBe(0)
    }
    const print = async (length: number, ...format: string[]): Promise<string> =>
      (await runCli("mqtt-sub", ["-L", broker.url, `${topic}/${length}`, "-C", "1", ...format])).stdout
    expect(await print(OPTIONS.length, "-F", "%P")).toBe("b:1 a:2 b:3 2:x 1:y __proto__:\n")
    expect(await print(distinct.length, "--json")).toContain(
      '"properties":{"user-properties":{"b":"1","a":"2","2":"x","1":"y","__proto__":""}}',
    )
    expect(await print(distinct.length, "--json", "--pretty")).toMatch(
      /"b":\t"1",\s+"a":\t"2",\s+"2":\t"x",\s+"1":\t"y",\s+"__proto__":\t""/,
    )
    expect(await print(OPTIONS.length, "--json")).toContain(
      '"user-properties":[{"b":"1"},{"a":"2"},{"b":"3"},{"2":"x"},{"1":"y"},{"__proto__":""}]',
    )
  })
})
