import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import {
  type BrokerOptions,
  hasMongoServer,
  randomId,
  runCli,
  RunningProcess,
  startBroker,
  startMongoServer,
  type TestBroker,
  waitFor,
} from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { openEnvironment } from "../../src/stores/environment.js"
import { hasCompiler } from "../support/misbehaving-disk.js"
import { Peer } from "../support/peer.js"
import { readConnack } from "../support/read.js"
import { changeFile, DATABASE } from "../support/stored.js"
import { compileClock, WallClock } from "../support/wall-clock.js"
import { heir, mortal } from "../support/will.js"
import { long, properties, publish, sessionExpiry, type ConnectFields, type PublishFields } from "../support/wire.js"

const library = hasCompiler() ? compileClock() : ""

const SECOND = 1000
const DAY = 86_400 * SECOND
/** How long Sessions and messages of these tests last, in seconds: longer than a test takes. */
const LASTS = 1000
/** What a machine without a battery shows when it starts. */
const POWER_ON = 5 * SECOND

const expiry = (seconds: number): Buffer => properties([2, ...long(seconds)])
const lasting = (clientId: string, seconds: number): ConnectFields => ({
  clientId,
  clean: false,
  properties: properties(sessionExpiry(seconds)),
})

/** A Session that goes away, with a message that waits for it and a retained one: all of them expire. */
async function leaveBehind({ port }: TestBroker, clientId: string, seconds: { session: number; message: number }): Promise<void> {
  const peer = await Peer.connected(port, 5, lasting(clientId, seconds.session))
  await peer.subscribe([`q/${clientId}`, 1])
  peer.cut()
  await peer.ended()
  await published(port, { topic: `q/${clientId}`, payload: "x", properties: expiry(seconds.message) })
  await published(port, { topic: `r/${clientId}`, payload: "x", retain: true, properties: expiry(seconds.message) })
}

async function published(port: number, fields: PublishFields): Promise<void> {
  const publisher = await Peer.connected(port, 5)
  publisher.send(publish(5, { ...fields, qos: 1, packetId: 1 }))
  expect((await publisher.next())[0]).toBe(0x40)
  publisher.cut()
}

/** What comes before a message that is published now, each with the seconds that it has left. */
async function leftOf(peer: Peer, topic: string, port: number): Promise<number[]> {
  await published(port, { topic, payload: "end" })
  const seconds: number[] = []
  for (;;) {
    const { payload, properties: all } = await peer.nextPublish()
    if (payload.toString() === "end") return seconds
    seconds.push(all.find(({ id }) => id === 2)?.value.readUInt32BE() ?? Infinity)
  }
}

interface Left {
  /** Session Present */
  present: number
  /** seconds that the messages have left that waited, and were retained */
  waiting: number[]
  retained: number[]
}

/** What is there of what leaveBehind() left. */
async function found({ port }: TestBroker, clientId: string): Promise<Left> {
  const [peer, connack] = await Peer.greeted(port, 5, lasting(clientId, LASTS))
  const { present } = readConnack(connack)
  const waiting = present ? await leftOf(peer, `q/${clientId}`, port) : []
  const reader = await Peer.connected(port, 5)
  await reader.subscribe([`r/${clientId}`, 1])
  return { present, waiting, retained: await leftOf(reader, `r/${clientId}`, port) }
}

/** A Session of a second goes away. Resolves with the topic of its Will, a retained message, which is sent when it was ended. */
async function leaveForASecond(broker: TestBroker): Promise<string> {
  const topic = randomId("ended")
  const will = { topic, payload: "ended", retain: true, properties: properties([0x18, ...long(LASTS)]) }
  const peer = await mortal(5, will, { clientId: topic, clean: false, properties: properties(sessionExpiry(1)) }, broker.port)
  peer.cut()
  const hasLeft = (line: string): boolean => line.includes('"event":"left"') && line.includes(topic)
  await waitFor(() => broker.stderr.split("\n").some(hasLeft), { what: "the client to leave" })
  return topic
}

/** Sets the clock while such a Session is away. Resolves when Sessions were looked at after that, and it was ended by it. */
async function swept(broker: TestBroker, change: () => void = () => {}): Promise<void> {
  const topic = await leaveForASecond(broker)
  change()
  await (await heir(topic, broker.port)).nextPublish()
}

/** Something that happens to a broker and its clock, which shows a time from then on. */
type Event = (broker: TestBroker, clock: WallClock) => Promise<void>
type Change = (clock: WallClock) => void

const stopped =
  (change: Change): Event =>
  async (broker, clock) => {
    await broker.stop()
    change(clock)
    await broker.restart()
  }
const killed =
  (change: Change): Event =>
  async (broker, clock) => {
    await broker.kill9()
    change(clock)
    await broker.restart()
  }
const running =
  (change: Change): Event =>
  async (broker, clock) =>
    swept(broker, () => change(clock))

/** The broker stops, and what it stored says no time, as an older version left it. */
const withoutTime =
  (change: Change): Event =>
  async (broker, clock) => {
    await broker.stop()
    const { root, meta } = openEnvironment(join(broker.dir, "store", DATABASE))
    expect(meta.get(Buffer.from("time"))).toBeDefined()
    await meta.remove(Buffer.from("time"))
    await root.close()
    change(clock)
    await broker.restart()
  }

const today = Date.now()
const to =
  (time: number): Change =>
  (clock) =>
    clock.set(time)
const by =
  (ms: number): Change =>
  (clock) =>
    clock.turn(ms)

/** What the clock shows at first, and what happens then: none of it takes as long as LASTS. */
const KEPT: [title: string, begin: number, ...events: Event[]][] = [
  ["it starts in 1970, and asks the time", today, stopped(to(POWER_ON)), running(to(today))],
  ["the same after kill -9", today, killed(to(POWER_ON)), running(to(today))],
  ["it stops before it asks, and starts in 1970 again", today, stopped(to(POWER_ON)), killed(to(POWER_ON)), stopped(by(0))],
  ["it starts in 1970, stops, and starts in 2026", today, stopped(to(POWER_ON)), stopped(to(today))],
  ["56 years forward while it runs, then kill -9", POWER_ON, running(to(today)), killed(by(0))],
  ["a whole run in 1970, and one in 2026", POWER_ON, stopped(to(today))],
  ["the same after kill -9", POWER_ON, killed(to(today))],
  ["a day back while it runs, then kill -9", today, running(by(-DAY)), killed(by(0))],
  ["a day back while it does not run", today, stopped(by(-DAY))],
  ["eight hours forward, as it is after a sleep", today, running(by(DAY / 3)), stopped(by(0))],
  ["the same, then kill -9", today, running(by(DAY / 3)), killed(by(0))],
  ["a year forward and back while it runs, then kill -9", today, running(by(365 * DAY)), running(by(-365 * DAY)), killed(by(0))],
]

async function ownBroker(begin: number, more: BrokerOptions = {}): Promise<[TestBroker, WallClock]> {
  const clock = new WallClock(library)
  clock.set(begin)
  return [await startBroker({ ...more, env: clock.env }), clock]
}

async function keepsAll(begin: number, events: readonly Event[], more: BrokerOptions = {}): Promise<void> {
  const [broker, clock] = await ownBroker(begin, more)
  await leaveBehind(broker, "s", { session: LASTS, message: LASTS })
  for (const event of events) await event(broker, clock)
  await swept(broker)
  const { present, waiting, retained } = await found(broker, "s")
  expect([present, waiting.length, retained.length]).toEqual([1, 1, 1])
  for (const seconds of [...waiting, ...retained]) {
    expect(seconds).toBeLessThanOrEqual(LASTS)
    expect(seconds).toBeGreaterThan(LASTS / 2)
  }
}

describe.runIf(library)("a wall clock that is set ends no Session and no message", () => {
  test.each(KEPT)("%s", async (_, begin, ...events) => keepsAll(begin, events))

  test("the clock under these tests: a process sees it change, and its monotonic clock does not", async () => {
    const clock = new WallClock(library)
    const script = `
      const before = [Date.now(), performance.now()]
      process.stdin.once("data", () => {
        console.log(JSON.stringify([Date.now() - before[0], performance.now() - before[1]]))
        process.exit()
      })
      console.log("ready")`
    const one = new RunningProcess(process.execPath, ["-e", script], { env: clock.env })
    await one.waitForLine("ready")
    clock.turn(-DAY)
    one.child.stdin?.write("go\n")
    const [wall, monotonic] = JSON.parse(await one.waitForLine("["))
    expect(wall + DAY).toBeLessThan(60 * SECOND)
    expect(wall + DAY).toBeGreaterThanOrEqual(-1)
    expect(monotonic).toBeGreaterThan(0)
    expect(monotonic).toBeLessThan(60 * SECOND)
  })
})

test.runIf(library).each([
  ["while it runs", running(by(-DAY))],
  ["while it does not run", stopped(by(-DAY))],
  ["to 1970 while it does not run", killed(to(POWER_ON))],
  ["to 1970, and its store is of an older version", withoutTime(to(POWER_ON))],
])("a wall clock that is set back keeps no Session that is due: %s", async (_, event) => {
  const [broker, clock] = await ownBroker(today)
  const topic = await leaveForASecond(broker)
  await event(broker, clock)
  expect((await (await heir(topic, broker.port)).nextPublish()).payload.toString()).toBe("ended")
})

describe.runIf(library)("time that passed while the broker was away counts", () => {
  const away = 2 * LASTS
  const waits: [title: string, ...events: Event[]][] = [
    ["after SIGTERM", stopped(by(away * SECOND))],
    ["after kill -9", killed(by(away * SECOND))],
    ["after the clock was set back a day", running(by(-DAY)), killed(by(away * SECOND))],
    ["in two parts", stopped(by((away / 2) * SECOND)), stopped(by((away / 2) * SECOND))],
  ]

  test.each(waits)("%s", async (_, ...events) => {
    const [broker, clock] = await ownBroker(today)
    await leaveBehind(broker, "short", { session: LASTS, message: LASTS })
    await leaveBehind(broker, "long", { session: 3 * LASTS, message: LASTS })
    await leaveBehind(broker, "both", { session: 3 * LASTS, message: 3 * LASTS })
    for (const event of events) await event(broker, clock)
    expect(await found(broker, "short")).toEqual({ present: 0, waiting: [], retained: [] })
    expect(await found(broker, "long")).toEqual({ present: 1, waiting: [], retained: [] })
    const both = await found(broker, "both")
    expect([both.present, both.waiting.length, both.retained.length]).toEqual([1, 1, 1])
    for (const seconds of [...both.waiting, ...both.retained]) {
      expect(seconds).toBeLessThanOrEqual(3 * LASTS - away)
      expect(seconds).toBeGreaterThan(3 * LASTS - away - LASTS / 2)
    }
  })
})

describe.runIf(library)("a store that an older version wrote, which says no time", () => {
  test("it starts in 1970, and asks the time", () => keepsAll(today, [withoutTime(to(POWER_ON)), running(to(today))]))

  test("else its times are the wall clock's", async () => {
    const [broker, clock] = await ownBroker(today)
    await leaveBehind(broker, "s", { session: LASTS, message: LASTS })
    await withoutTime(by(2 * LASTS * SECOND))(broker, clock)
    expect(await found(broker, "s")).toEqual({ present: 0, waiting: [], retained: [] })
  })
})

test.runIf(library)("a clock that is set is in the store within moments, although nobody does anything", async () => {
  const [broker, clock] = await ownBroker(today)
  await leaveBehind(broker, "s", { session: LASTS, message: LASTS })
  const store = join(broker.dir, "store")
  const written = (): number => Math.max(...readdirSync(store).map((name) => statSync(join(store, name)).mtimeMs))
  let [before, since] = [written(), performance.now()]
  const isQuiet = (): boolean => {
    const now = written()
    if (now !== before) [before, since] = [now, performance.now()]
    return performance.now() - since > 2 * SECOND
  }
  await waitFor(isQuiet, { what: "the end of the commits" })
  clock.turn(DAY)
  await waitFor(() => written() !== before, { what: "a commit" })
  await broker.kill9()
  await broker.restart()
  expect(await found(broker, "s")).toMatchObject({ present: 1, waiting: [expect.any(Number)], retained: [expect.any(Number)] })
})

test.runIf(library)("a store that was repaired knows the time", () =>
  keepsAll(POWER_ON, [
    async (broker, clock) => {
      await leaveBehind(broker, "victim", { session: LASTS, message: LASTS })
      await broker.stop()
      const folder = join(broker.dir, "store")
      changeFile(join(folder, DATABASE), (bytes) => {
        for (let at = bytes.indexOf("q/victim"); at >= 0; at = bytes.indexOf("q/victim")) bytes[at] = 0
      })
      const { stdout } = await runCli("mqtt-broker", ["repair", "--store", `file:${folder}`])
      expect(stdout).toMatch(/^what was wrong: .*\n/)
      clock.set(today)
      await broker.restart()
    },
  ]),
)

test.runIf(library)("queue shows times as the wall clock is set now", async () => {
  const [broker, clock] = await ownBroker(POWER_ON)
  await leaveBehind(broker, "s", { session: LASTS, message: LASTS })
  clock.set(today)
  const { stdout } = await runCli("mqtt-broker", ["queue", "s", "--peek", "1", "--json", "--store", `file:${join(broker.dir, "store")}`])
  const times = [...stdout.matchAll(/"(?:disconnectedAt|accepted)":"([^"]*)"/g)].map(([, time = ""]) => Date.parse(time))
  expect(times).toHaveLength(2)
  for (const time of times) {
    expect(time).toBeLessThanOrEqual(clock.now)
    expect(time).toBeGreaterThan(clock.now - LASTS * SECOND)
  }
})

describe.runIf(library && hasMongoServer())("the same in a database", () => {
  const events: [title: string, begin: number, ...events: Event[]][] = [
    ["56 years forward while it runs, then kill -9", POWER_ON, running(to(today)), killed(by(0))],
    ["it starts in 1970, stops, and starts in 2026", today, stopped(to(POWER_ON)), stopped(to(today))],
  ]
  test.each(events)("%s", async (_, begin, ...rest) => {
    const { url } = await startMongoServer()
    await keepsAll(begin, rest, { store: url, args: ["--lease", "1s"] })
  })
})
