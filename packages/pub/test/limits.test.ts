import type { Socket } from "node:net"
import { beforeAll, describe, expect, it } from "vitest"
import {
  randomId,
  runCli,
  startBroker,
  startRecordingProxy,
  startScriptedBroker,
  type CliName,
  type RawPacket,
  type ScriptedBroker,
  type TestBroker,
} from "@mqtt-trio/testing"

const CONNECT = 1
const PUBLISH = 3
const DISCONNECT = 14

/** CONNACK with these properties in hexadecimal (MQTT 5.0 section 3.2.2.3). */
function connack(properties: string): Buffer {
  const bytes = Buffer.from(properties, "hex")
  return Buffer.from([0x20, 3 + bytes.length, 0, 0, bytes.length, ...bytes])
}

/** The identifier of a PUBLISH of QoS 1 on a topic of one letter, of less than 128 bytes. */
function identifier({ bytes }: RawPacket): Buffer {
  return bytes.subarray(5, 7)
}

function acknowledge(packet: RawPacket, socket: Socket): void {
  socket.write(Buffer.concat([Buffer.from([0x40, 2]), identifier(packet)]))
}

/** A broker that announces these properties and answers nothing else. */
function announcing(properties: string): Promise<ScriptedBroker> {
  return startScriptedBroker(({ type }, socket) => {
    if (type === CONNECT) socket.write(connack(properties))
  })
}

const forbidden: readonly (readonly [properties: string, name: CliName, args: readonly string[], message: string])[] = [
  ["", "mqtt-pub", ["t", "x", "--topic-alias", "1"], "the broker takes no topic aliases"],
  ["", "mqtt-pub", ["t", "x", "-q", "0", "-D", "publish", "topic-alias", "1"], "the broker takes no topic aliases"],
  ["220002", "mqtt-pub", ["t", "x", "--topic-alias", "3"], "the broker takes no topic alias 3\nhint: use --topic-alias 2"],
  ["2400", "mqtt-pub", ["t", "x"], "the broker takes messages at QoS 0 at most\nhint: use -q 0"],
  ["2401", "mqtt-pub", ["t", "-q", "2", "-l"], "the broker takes messages at QoS 1 at most"],
  ["2500", "mqtt-pub", ["t", "x", "-r"], "the broker keeps no retained messages"],
  ["2700000014", "mqtt-pub", ["t", "x".repeat(40)], "is a packet of 48 bytes: the broker takes packets up to 20 bytes"],
  [
    "2200012700000014",
    "mqtt-pub",
    ["t", "x".repeat(40), "--topic-alias", "1"],
    "is a packet of 51 bytes: the broker takes packets up to 20",
  ],
  ["2800", "mqtt-sub", ["a", "b/+"], 'the broker offers no wildcards as in "b/+"'],
  ["2900", "mqtt-sub", ["a", "--subscription-id", "1"], "the broker offers no subscription identifiers"],
  ["2900", "mqtt-sub", ["a", "-D", "subscribe", "subscription-identifier", "1"], "the broker offers no subscription identifiers"],
  ["2a00", "mqtt-sub", ["$share/g/a"], 'the broker offers no shared subscriptions such as "$share/g/a"'],
  ["2700000014", "mqtt-sub", ["a".repeat(40)], "the SUBSCRIBE with 1 filter is a packet of 48 bytes"],
  ["2700000014", "mqtt-sub", ["-U", "a".repeat(40)], "the UNSUBSCRIBE is a packet of 47 bytes"],
]

describe("what a CONNACK forbids is exit 5, and nothing is sent but DISCONNECT", () => {
  it.each(forbidden)("properties %j: %s %j", async (properties, name, args, message) => {
    const broker = await announcing(properties)
    const result = await runCli(name, [...args, "-p", String(broker.port)], { stdin: "line\n" })
    expect(result).toMatchObject({
      code: 5,
      stdout: "",
      stderr: expect.stringContaining(`error: ${args.includes("x".repeat(40)) ? "the message" : message.split(" is a")[0]}`),
    })
    expect(result.stderr).toContain(message)
    expect(broker.types).toEqual([CONNECT, DISCONNECT])
  })

  it("also when a broker says so that comes back", async () => {
    const broker = await startScriptedBroker(({ type }, socket, connection) => {
      if (type === CONNECT) socket.write(connack(connection === 1 ? "220001" : ""))
      if (type === PUBLISH) socket.destroy()
    })
    const args = ["t", "x", "--topic-alias", "1", "-q", "0", "--interval", "20", "--reconnect-period", "20ms", "-p", String(broker.port)]
    expect(await runCli("mqtt-pub", args)).toMatchObject({ code: 5, stderr: expect.stringContaining("the broker takes no topic aliases") })
  })

  it("Receive Maximum: never more unacknowledged messages than it says", async () => {
    const waiting: RawPacket[] = []
    let most = 0
    const broker = await startScriptedBroker((packet, socket) => {
      if (packet.type === CONNECT) socket.write(connack("210003"))
      if (packet.type !== PUBLISH) return
      waiting.push(packet)
      most = Math.max(most, waiting.length)
      // All of a chunk are counted before any is acknowledged.
      if (waiting.length === 3) setImmediate(() => waiting.splice(0).forEach((one) => acknowledge(one, socket)))
    })
    const result = await runCli("mqtt-pub", ["t", "-l", "-p", String(broker.port)], { stdin: "line\n".repeat(30) })
    expect({ code: result.code, most }).toEqual({ code: 0, most: 3 })
  })
})

it("mqtt-sub --remove-retained keeps to the Receive Maximum: what is above it goes at QoS 0", async () => {
  const retained = Buffer.from([0x31, 5, 0, 1, 0x61, 0, 0x78])
  const removals: number[] = []
  const broker = await startScriptedBroker(({ type, bytes }, socket) => {
    if (type === CONNECT) socket.write(connack("210002"))
    if (type === 8)
      socket.write(Buffer.concat([Buffer.from([0x90, 4, ...bytes.subarray(2, 4), 0, 1]), ...Array.from({ length: 5 }, () => retained)]))
    if (type === PUBLISH) removals.push(bytes.readUInt8(0))
  })
  const result = await runCli("mqtt-sub", ["a", "--remove-retained", "-C", "5", "-p", String(broker.port)])
  expect(result).toMatchObject({ code: 0, stdout: "x\n".repeat(5) })
  expect(removals).toEqual([0x33, 0x33, 0x31, 0x31, 0x31])
})

describe("the broker's Maximum Packet Size counts for the whole packet", () => {
  let broker: TestBroker
  beforeAll(async () => {
    broker = await startBroker({ store: "memory:", args: ["--max-packet", "2KB"] })
  })

  it.each([
    ["payload", 2040, []],
    ["payload and properties", 1031, ["--user-property", `a=${"b".repeat(1002)}`]],
  ] as const)("%s: one byte too many is exit 5 and not sent, one byte less arrives", async (_what, length, options) => {
    const proxy = await startRecordingProxy(broker.port)
    const publish = (size: number) => runCli("mqtt-pub", ["t", "-s", "-p", String(proxy.port), ...options], { stdin: "x".repeat(size) })
    expect(await publish(length)).toMatchObject({
      code: 5,
      stderr: expect.stringContaining("is a packet of 2049 bytes: the broker takes packets up to 2048"),
    })
    expect(proxy.sent.includes("xx")).toBe(false)
    expect(await publish(length - 1)).toMatchObject({ code: 0, stderr: "" })
  })

  it("in -l the other lines go out, and it is exit 5 at the end", async () => {
    const topic = randomId("topic")
    const session = [topic, "-L", broker.url, "-c", "-i", topic, "--quiet"]
    expect((await runCli("mqtt-sub", [...session, "-E"])).code).toBe(0)
    const stdin = `first\n${"x".repeat(5000)}\nsecond\n${"y".repeat(5000)}\nlast`
    const result = await runCli("mqtt-pub", [topic, "-L", broker.url, "-l"], { stdin })
    expect(result).toMatchObject({ code: 5, stderr: expect.stringContaining("up to 2048 bytes (2 of 5 messages)") })
    expect((await runCli("mqtt-sub", [...session, "-C", "3"])).stdout).toBe("first\nsecond\nlast\n")
  })

  it("so do lines that make no topic: exit 2 at the end", async () => {
    const topic = randomId("topic")
    const session = [`${topic}/+`, "-L", broker.url, "-c", "-i", topic, "--quiet"]
    expect((await runCli("mqtt-sub", [...session, "-E"])).code).toBe(0)
    const result = await runCli("mqtt-pub", [`${topic}/{{line}}`, "{{line}}", "--template", "-L", broker.url, "-l"], { stdin: "1\n+\n2\n" })
    expect(result).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("wildcards (+ and #) are for subscribing only (1 of 3 messages)"),
    })
    expect((await runCli("mqtt-sub", [...session, "-C", "2"])).stdout).toBe("1\n2\n")
  })

  it("--interval ends when its message is too large", async () => {
    const result = await runCli("mqtt-pub", ["t", "-L", broker.url, "-s", "--interval", "10"], { stdin: "x".repeat(5000) })
    expect(result).toMatchObject({ code: 5, stdout: "", stderr: expect.stringContaining("up to 2048 bytes") })
  })

  it("a DISCONNECT leaves out what makes it too large", async () => {
    const proxy = await startRecordingProxy(broker.port)
    const args = ["t", "x", "-p", String(proxy.port), "-D", "disconnect", "user-property", "a", "z".repeat(3000)]
    expect(await runCli("mqtt-pub", args)).toMatchObject({ code: 0, stderr: "" })
    expect(proxy.sent.subarray(-3)).not.toContain(0x7a)
  })
})

it("--payload-format with a message that is no text is a usage error; in -l for that line", async () => {
  const latin = Buffer.from("caf\u00e9\nok\n", "latin1")
  expect(await runCli("mqtt-pub", ["t", "-s", "--payload-format"], { stdin: latin })).toMatchObject({ code: 2 })
  const broker = await startBroker({ store: "memory:" })
  const lines = await runCli("mqtt-pub", ["t", "-l", "--payload-format", "-L", broker.url], { stdin: latin })
  expect(lines).toMatchObject({ code: 2, stderr: expect.stringContaining("the message is not UTF-8 text (1 of 2 messages)") })
})

describe("a packet that the broker answers by closing the connection, each time", () => {
  it.each(["3.1.1", "3.1"])("a message that is too large, with %s: exit 6 and the likely cause", async (version) => {
    const broker = await startBroker({ store: "memory:", args: ["--max-packet", "2KB"] })
    const args = ["t", "-L", broker.url, "-V", version, "--reconnect-period", "50ms"]
    const one = await runCli("mqtt-pub", [...args, "-s"], { stdin: "x".repeat(3000) })
    expect(one).toMatchObject({
      code: 6,
      stderr: expect.stringMatching(
        /each time when the broker gets this: message \d+, 3000 bytes on "t"; 1 message is unacknowledged\nhint: is it larger/,
      ),
    })
    const lines = await runCli("mqtt-pub", [...args, "-l"], { stdin: `a\nb\n${"x".repeat(3000)}\nc\n` })
    expect(lines).toMatchObject({ code: 6, stderr: expect.stringMatching(/3000 bytes on "t"; [12] messages? (is|are) unacknowledged/) })
  })

  it("a subscription", async () => {
    const broker = await startScriptedBroker(({ type }, socket) => {
      if (type === CONNECT) socket.write(Buffer.from([0x20, 2, 0, 0]))
      else socket.destroy()
    })
    const result = await runCli("mqtt-sub", ["a/b", "-p", String(broker.port), "-V", "3.1.1", "--reconnect-period", "50ms"])
    expect(result).toMatchObject({
      code: 6,
      stderr: expect.stringContaining('each time when the broker gets this: the subscription to "a/b"'),
    })
  })

  it("a broker that takes it the second time is no reason to give up", async () => {
    const takes = [0, 2, 1]
    let taken = 0
    const broker = await startScriptedBroker((packet, socket, connection) => {
      if (packet.type === CONNECT) {
        taken = 0
        socket.write(Buffer.from([0x20, 2, 0, 0]))
      } else if (packet.type === PUBLISH && taken < (takes[connection - 1] ?? 0)) {
        taken += 1
        acknowledge(packet, socket)
      } else socket.destroy()
    })
    const args = ["t", "-l", "-M", "1", "-p", String(broker.port), "-V", "3.1.1", "--reconnect-period", "20ms"]
    expect(await runCli("mqtt-pub", args, { stdin: "1\n2\n3\n" })).toMatchObject({ code: 0 })
  })
})
