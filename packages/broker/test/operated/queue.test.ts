import { join } from "node:path"
import { runCli, startBroker, temporaryFolder, type TestBroker } from "@mqtt-trio/testing"
import { beforeAll, describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { properties, puback, publish, sessionExpiry } from "../support/wire.js"

const SESSION = { clientId: "cli_sub", clean: false, properties: properties(sessionExpiry(1000), [0x21, 0, 2]) }

function store(broker: TestBroker): string[] {
  return ["--store", `file:${join(broker.dir, "store")}`]
}

/** Lines of stdout, parsed. */
function objects(stdout: string): unknown[] {
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line): unknown => JSON.parse(line))
}

/** The positions of the records in an answer. */
function positions(stdout: string): number[] {
  return [...stdout.matchAll(/"position":(\d+)/g)].map((match) => Number(match[1]))
}

describe("mqtt-broker queue", () => {
  const state: { broker?: TestBroker } = {}
  const queue = (...args: string[]): ReturnType<typeof runCli> =>
    runCli("mqtt-broker", ["queue", ...args, ...(state.broker ? store(state.broker) : [])])

  beforeAll(async () => {
    const broker = await startBroker()
    state.broker = broker
    const peer = await Peer.connected(broker.port, 5, SESSION)
    await peer.subscribe(["test/#", 1])
    peer.cut()
    const publisher = await Peer.connected(broker.port, 5)
    const payloads = ["one", "two\nlines \u001b[31m", Buffer.from([0, 255, 1])]
    for (const [n, payload] of payloads.entries())
      publisher.send(publish(5, { topic: `test/${n}`, qos: 1, packetId: n + 1, payload, properties: properties([2, 0, 0, 14, 16]) }))
    for (const n of [1, 2, 3]) expect(await publisher.next()).toEqual(puback(n))
  })

  test("text: one record a line on stdout, what it is about on stderr", async () => {
    const { code, stdout, stderr } = await queue("cli_sub")
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split("\n")
    expect(lines).toHaveLength(3)
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z {2}test\/0 {2}qos 1, expires in (3600|359\d) s {2}one$/)
    expect(lines[1]).toContain("two\\nlines ")
    expect(lines[1]).not.toContain("\u001b")
    expect(lines[2]).toMatch(/base64:AP8B$/)
    expect(stderr).toMatch(/^cli_sub: 3 messages \(\d+ bytes\) wait, away since \d{4}-/)
  })

  test("--json: the session, then the records, the oldest first", async () => {
    const { code, stdout, stderr } = await queue("cli_sub", "--json")
    expect([code, stderr]).toEqual([0, ""])
    const [session, ...records] = objects(stdout)
    expect(session).toMatchObject({ type: "session", clientId: "cli_sub", connected: false, messages: 3 })
    expect(records).toMatchObject([
      { topic: "test/0", qos: 1, payload: "one", payloadEncoding: "utf8", payloadBytes: 3, inFlight: false },
      { topic: "test/1", payloadEncoding: "utf8" },
      { topic: "test/2", payload: "AP8B", payloadEncoding: "base64", payloadBytes: 3 },
    ])
  })

  test("--peek shows so many from the oldest on, and says that there is more", async () => {
    const two = await queue("cli_sub", "--peek", "2")
    expect(two.stdout.trimEnd().split("\n")).toHaveLength(2)
    expect(two.stderr).toContain("--peek 3 shows all")
    expect(await queue("cli_sub", "--peek", "0")).toMatchObject({ code: 0, stdout: "" })
  })

  test("looking changes nothing", async () => {
    const [first, second] = [await queue("cli_sub", "--json"), await queue("cli_sub", "--json")]
    expect(positions(second.stdout)).toEqual(positions(first.stdout))
    expect(positions(first.stdout)).toHaveLength(3)
  })

  test("an unknown client: exit code 14", async () => {
    expect(await queue("nobody")).toMatchObject({ code: 14, stdout: "", stderr: 'error: no session with client identifier "nobody"\n' })
  })
})

test("in flight is what was sent and not acknowledged; what was acknowledged is gone", async () => {
  const broker = await startBroker()
  const peer = await Peer.connected(broker.port, 5, SESSION)
  await peer.subscribe(["x", 1])
  const publisher = await Peer.connected(broker.port, 4)
  for (const n of [1, 2, 3, 4]) {
    publisher.send(publish(4, { topic: "x", qos: 1, packetId: n, payload: `${n}` }))
    expect(await publisher.next()).toEqual(puback(n))
  }
  const first = await peer.nextPublish()
  peer.send(puback(first.packetId))
  await peer.nextPublish()
  await peer.nextPublish()
  const [session, ...records] = objects((await runCli("mqtt-broker", ["queue", "cli_sub", "--json", ...store(broker)])).stdout)
  expect(session).toMatchObject({ connected: true })
  expect(records).toMatchObject([
    { payload: "2", inFlight: true },
    { payload: "3", inFlight: true },
    { payload: "4", inFlight: false },
  ])
})

test("no broker on the folder: exit code 13 and how to start one", async () => {
  const folder = temporaryFolder()
  expect(await runCli("mqtt-broker", ["queue", "x", "--store", `file:${folder}`])).toMatchObject({
    code: 13,
    stdout: "",
    stderr: `error: no broker runs on the store in "${folder}"\nhint: start it with: mqtt-broker start --store file:${folder}\n`,
  })
})

test("a broker that was killed left its socket: exit code 13", async () => {
  const broker = await startBroker()
  await broker.kill9()
  expect(await runCli("mqtt-broker", ["queue", "x", ...store(broker)])).toMatchObject({ code: 13 })
})

test("a data folder with a path too long for a socket works too", async () => {
  const folder = join(temporaryFolder(), "x".repeat(100), "y".repeat(100))
  const broker = await startBroker({ store: `file:${folder}` })
  await Peer.connected(broker.port, 4, { clientId: "s", clean: false })
  expect(await runCli("mqtt-broker", ["queue", "s", "--store", `file:${folder}`])).toMatchObject({ code: 0 })
})
