import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs"
import { join } from "node:path"
import { connect } from "node:net"
import { cliPath, freePort, onCleanUp, runCli, spawnCli, startBroker as start, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { EventLog } from "../../src/server/event-log.js"
import { Accounts, users } from "../support/accounts.js"
import { Peer } from "../support/peer.js"
import { properties, publish, sessionExpiry } from "../support/wire.js"

/** A pipe that has taken all that it can, and is read only when the test does so. */
class FullPipe {
  private readonly path = join(temporaryFolder(), "pipe")
  private readonly end: number

  constructor() {
    if (spawnSync("mkfifo", [this.path]).status !== 0) throw new Error("mkfifo failed")
    this.end = this.open()
    onCleanUp(() => closeSync(this.end))
    while (take(() => writeSync(this.end, " ".repeat(4096))));
  }

  /** One more end of it, which its user closes. */
  open(): number {
    return openSync(this.path, constants.O_RDWR | constants.O_NONBLOCK)
  }

  /** The same, as a shell makes it: who writes waits. */
  openBlocking(): number {
    return openSync(this.path, constants.O_WRONLY)
  }

  /** What is in it; then it is empty. */
  read(): string {
    const page = Buffer.alloc(65_536)
    let text = ""
    for (let size = 0; (size = take(() => readSync(this.end, page)));) text += page.toString("utf8", 0, size)
    return text.trimStart()
  }
}

/** What a system call returns, 0 when it would have to wait. */
function take(call: () => number): number {
  try {
    return call()
  } catch {
    return 0
  }
}

/** A broker that logs to an open file, and the port that it listens on. */
async function startBroker(log: number): Promise<[ChildProcess, number]> {
  const args = [cliPath("mqtt-broker"), "start", "--port", "0", "--store", "memory:"]
  const broker = spawn(process.execPath, args, { stdio: ["ignore", "pipe", log] })
  closeSync(log)
  onCleanUp(() => void broker.kill("SIGKILL"))
  let ready = ""
  broker.stdout?.on("data", (chunk: Buffer) => (ready += chunk.toString()))
  await waitFor(() => ready.includes("ready"), { what: "the ready line" })
  return [broker, Number(/:(\d+) /.exec(ready)?.[1])]
}

async function stop(broker: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  const end = once(broker, "exit")
  broker.kill(signal)
  expect(await end).toEqual([0, null])
}

test("a log that nobody reads keeps no client waiting; what was logged is there when it is read", async () => {
  const pipe = new FullPipe()
  const [broker, port] = await startBroker(pipe.open())
  for (let n = 0; n < 20; n++) await (await Peer.connected(port, 4)).settled()
  expect(pipe.read()).toBe("")
  await waitFor(() => pipe.read().includes("connected, MQTT 3.1.1"), { what: "the log" })
  await stop(broker)
  expect(pipe.read()).toContain("was closed, server shutting down")
})

test.each([
  ["that nobody reads", (): number => new FullPipe().open()],
  ["on a full disk", (): number => openSync("/dev/full", "w")],
])("a log %s does not keep the broker from ending", async (_, open) => {
  const [broker, port] = await startBroker(open())
  await Peer.connected(port, 4)
  await stop(broker)
})

test.each([true, false])("lines that find no place are counted, and named when there is (JSON: %s)", async (json) => {
  const pipe = new FullPipe()
  const log = new EventLog("info", json, pipe.open())
  const text = "x".repeat(1000)
  for (let n = 0; n < 2000; n++) log.error(text)
  let read = ""
  await waitFor(() => /\d+ lines of this log were lost/.test((read += pipe.read())), { what: "the line that says so" })
  const printed = read.split(text).length - 1
  expect(printed).toBeGreaterThan(500)
  expect(read).toContain(`${2000 - printed} lines of this log were lost`)
  await log.close()
})

describe.each([
  ["a full disk", (): number => openSync("/dev/full", "w")],
  ["a pipe that nobody reads", (): number => new FullPipe().openBlocking()],
  ["a pipe that nobody holds", brokenPipe],
])("stdout is %s", (_, open) => {
  test.each(["SIGTERM", "SIGINT"] as const)("the broker serves, and %s stops it in order", async (signal) => {
    const port = await freePort()
    const args = [cliPath("mqtt-broker"), "start", "--port", String(port), "--store", "memory:"]
    const out = open()
    const broker = spawn(process.execPath, args, { stdio: ["ignore", out, "ignore"] })
    closeSync(out)
    onCleanUp(() => void broker.kill("SIGKILL"))
    await waitFor(async () => listens(port), { what: "the broker" })
    const peer = await Peer.connected(port, 5)
    await stop(broker, signal)
    expect((await peer.ended()).map((one) => [one[0], one[2]])).toEqual([[0xe0, 0x8b]])
  })
})

test("a ready line that cannot be written is an error in the log, once", async () => {
  const out = openSync("/dev/full", "w")
  const args = [cliPath("mqtt-broker"), "start", "--port", "0", "--store", "memory:", "--log-level", "error"]
  const broker = spawn(process.execPath, args, { stdio: ["ignore", out, "pipe"] })
  closeSync(out)
  let log = ""
  broker.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString()))
  await waitFor(() => log.includes("\n"), { what: "the log" })
  await stop(broker)
  expect(log).toMatch(/^\[[^\]]+\] ERROR: the line that says ready cannot be written: ENOSPC: [^\n]+\n$/)
})

/** The writing end of a pipe without a reading one. */
function brokenPipe(): number {
  const path = join(temporaryFolder(), "pipe")
  spawnSync("mkfifo", [path])
  const both = openSync(path, constants.O_RDWR)
  const writing = openSync(path, constants.O_WRONLY)
  closeSync(both)
  return writing
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })
}

/** What does not show itself, or turns round what stands beside it, in a value that a client chose. */
const EVIL = "evil\n[2026-11-25 19:00:00.000] ERROR: a\u001b[31m\u202e\u2066\u200b\u200d\u2028\u2029\ufeff\u{e0041}b"
// oxlint-disable-next-line no-control-regex -- it must not be there
const RAW = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\p{Cf}]/u
const SHOWN = "\\x1b[31m\\u202e\\u2066\\u200b\\u200d\\u2028\\u2029\\ufeff\\u{e0041}b"

test("what a client chose is in quotes, on the line that names it, and shows itself", async () => {
  const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", "memory:", "--log-level", "debug"])
  const port = Number(/:(\d+) /.exec(await broker.waitForLine("ready"))?.[1])
  const peer = await Peer.connected(port, 5, { clientId: EVIL })
  await peer.subscribe([EVIL, 1])
  peer.send(publish(5, { topic: EVIL, qos: 1, packetId: 1, payload: "x" }))
  await peer.nextPublish()
  peer.cut()
  await broker.waitForLine("left: ", { stream: "stderr" })
  await broker.stop()
  const lines = broker.stderr.trimEnd().split("\n")
  expect(lines.filter((line) => !/^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d{4}\] (ERROR|WARN|INFO|DEBUG): /.test(line))).toEqual([])
  expect(lines.filter((line) => line.includes("] ERROR: ") && !line.includes("evil"))).toEqual([])
  expect(broker.stderr).not.toMatch(RAW)
  const about = (what: string): string => lines.find((line) => line.includes(what)) ?? ""
  expect(about("connected, MQTT")).toMatch(/INFO: "evil\\n\[.*" \(127\.0\.0\.1:\d+\) connected, MQTT 5\.0$/)
  for (const what of ["CONNECT ", "SUBSCRIBE id", "PUBLISH id"]) expect(about(what)).toMatch(/DEBUG: from 127\.0\.0\.1:\d+: .*"evil\\n\[/)
})

test("queue shows what clients chose on one line", async () => {
  const broker = await start()
  const peer = await Peer.connected(broker.port, 5, { clientId: EVIL, clean: false, properties: properties(sessionExpiry(1000)) })
  await peer.subscribe([EVIL, 1])
  peer.cut()
  const publisher = await Peer.connected(broker.port, 5)
  publisher.send(publish(5, { topic: EVIL, qos: 1, packetId: 1, payload: EVIL }))
  await publisher.next()
  const store = ["--store", `file:${join(broker.dir, "store")}`]
  const { stdout, stderr } = await runCli("mqtt-broker", ["queue", EVIL, ...store])
  expect([stdout, stderr].map((text) => text.split("\n").length)).toEqual([2, 2])
  expect(stdout + stderr).not.toMatch(RAW)
  expect(stdout.split(SHOWN)).toHaveLength(3)
  const json = await runCli("mqtt-broker", ["queue", EVIL, "--json", ...store])
  expect(json.stdout).not.toMatch(/[\u202e\u2028]/)
  expect(
    json.stdout
      .trimEnd()
      .split("\n")
      .map((line): unknown => JSON.parse(line)),
  ).toMatchObject([{ clientId: EVIL }, { topic: EVIL, payload: EVIL }])
  expect((await runCli("mqtt-broker", ["queue", `${EVIL}2`, ...store])).stderr).not.toMatch(RAW)
})

test("--json: lines have fields", async () => {
  const broker = await start({ store: "memory:", args: ["--log-level", "debug"] })
  const peer = await Peer.connected(broker.port, 5, { clientId: EVIL })
  peer.send(Buffer.from([0x36, 0]))
  await peer.ended()
  await broker.stop()
  expect(broker.stderr).not.toMatch(/[\u202e\u2028]/)
  const lines = broker.stderr
    .trimEnd()
    .split("\n")
    .map((line): unknown => JSON.parse(line))
  const who = { client: EVIL, address: expect.stringMatching(/^127\.0\.0\.1:\d+$/) }
  const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  expect(lines).toContainEqual(
    expect.objectContaining({ level: "info", time, event: "connected", ...who, version: "5.0", persistent: false }),
  )
  expect(lines).toContainEqual(expect.objectContaining({ level: "debug", event: "packet", direction: "to", packet: "connack" }))
  expect(lines).toContainEqual(
    expect.objectContaining({ level: "warn", event: "closed", ...who, reasonCode: 0x81, reason: "malformed packet" }),
  )
})

test("TLS on a port without TLS is called so", async () => {
  const broker = await start({ store: "memory:" })
  const peer = new Peer(broker.port, 4)
  peer.send(Buffer.from("1603010200010001fc0303", "hex"))
  await peer.ended()
  await broker.stop()
  const detail = "TLS came to a port that speaks MQTT without TLS"
  const line: unknown = JSON.parse(broker.stderr.trimEnd().split("\n").at(-1) ?? "")
  expect(line).toEqual({
    level: "warn",
    time: expect.any(String),
    pid: expect.any(Number),
    hostname: expect.any(String),
    event: "refused",
    address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    detail,
    msg: expect.stringContaining(`was closed: ${detail}`),
  })
})

describe("the log says who", async () => {
  const acl = ["user alice", "topic read open"]
  const house = await Accounts.start({ users: users("alice", "bob"), acl })

  /** The only line with a text, as an object. */
  async function line(text: string): Promise<unknown> {
    const found = (): string[] => house.broker.stderr.split("\n").filter((one) => one.includes(text))
    await waitFor(() => found().length > 0, { what: `in the log: ${text}` })
    expect(found()).toHaveLength(1)
    return JSON.parse(found()[0] ?? "")
  }
  const address = expect.stringMatching(/^127\.0\.0\.1:\d+$/)

  test("who connects and who leaves: Client Identifier, user, address", async () => {
    const client = "comes"
    const peer = await house.login(5, "alice", { clientId: client })
    peer.cut()
    const msg = expect.stringMatching(/^"comes" as "alice" \(127\.0\.0\.1:\d+\) (connected, MQTT 5\.0|left: the connection closed)$/)
    expect(await line('connected, MQTT 5.0"')).toMatchObject({ event: "connected", client, user: "alice", address, msg })
    expect(await line("left: ")).toMatchObject({ event: "left", client, user: "alice", address, msg })
  })

  test("whose messages are refused, one and several", async () => {
    const client = "publishes"
    const peer = await house.login(5, "alice", { clientId: client })
    peer.send(publish(5, { topic: "one", qos: 1, packetId: 1 }))
    await peer.next()
    peer.send(publish(5, { topic: "two", qos: 1, packetId: 1 }))
    const told = { event: "refused-messages", client, user: "alice" }
    const may = '"publishes" as "alice" may not publish to'
    const first = `${may} "one": 1 message of this connection was refused so far`
    expect(await line(String.raw`\"one\"`)).toMatchObject({ ...told, topic: "one", refused: 1, msg: first })
    const second = `${may} "two": 2 messages of this connection were refused so far`
    expect(await line(String.raw`\"two\"`)).toMatchObject({ ...told, topic: "two", refused: 2, msg: second })
  })

  test.each([
    [5, 0x87, "not authorized", ", not authorized"],
    [4, 0x80, "unspecified error", ""],
  ] as const)("version %i: whose subscription is refused", async (version, reasonCode, reason, words) => {
    const [client, filter] = [`subscribes${version}`, `closed${version}`]
    const peer = await house.login(version, "alice", { clientId: client })
    expect(await peer.subscribe(["open", 0], [filter, 0])).toEqual([0, reasonCode])
    const msg = `"${client}" as "alice": its subscription to "${filter}" was refused${words}`
    const told = { level: "warn", event: "refused-subscription", client, user: "alice", filter, reasonCode, reason, msg }
    expect(await line(filter)).toMatchObject(told)
    expect(house.broker.stderr).not.toContain(String.raw`\"open\"`)
  })

  test("who wants the session of another user, and who has no right password", async () => {
    const client = "taken"
    await house.lasting(5, "alice", client)
    expect(await house.code(5, { clientId: client, userName: "bob", password: "bob!" })).toBe(0x87)
    const msg = expect.stringMatching(/^127\.0\.0\.1:\d+ \(says it is "taken" as "bob"\) was closed, not authorized: the session /)
    expect(await line("belongs to another user")).toMatchObject({ event: "closed", client, user: "bob", address, msg })
    expect(await house.code(5, { clientId: "guesses", userName: "bob", password: "alice!" })).toBe(0x86)
    expect(await line("bad user name")).toMatchObject({ event: "closed", client: "guesses", user: "bob", address })
  })

  test("whose account was removed", async () => {
    const client = "loses"
    const peer = await house.login(5, "bob", { clientId: client })
    await house.change({ users: users("alice") })
    await peer.ended()
    const msg = expect.stringMatching(/^"loses" as "bob" \(127\.0\.0\.1:\d+\) was closed, not authorized: its account was removed/)
    expect(await line("its account was removed")).toMatchObject({ event: "closed", client, user: "bob", address, msg })
  })
})
