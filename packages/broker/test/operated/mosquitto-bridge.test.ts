import { hostname } from "node:os"
import { hasMosquitto, startBroker, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { allOf, byText, connects, keptAt, keptOf, passed, publishAll, startBridge, Watcher } from "../support/bridges.js"
import { complete, lasting, numberOf, publishNumbers, range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"

/** Settings of the connection, and what they take from it: the bit of a bridge. */
const SETTINGS = [
  ["as it comes", [], {}],
  ["cleansession true", ["cleansession true"], {}],
  ["try_private false", ["try_private false"], { bit: false }],
  ["MQTT 3.1", ["bridge_protocol_version mqttv31"], {}],
  ["MQTT 5.0", ["bridge_protocol_version mqttv50"], {}],
  ["MQTT 5.0, cleansession true", ["bridge_protocol_version mqttv50", "cleansession true"], {}],
] as const
const CASES = [
  ...SETTINGS.map(([what, settings, more]) => ({ what, direction: "both", cap: 2, settings, ...more })),
  ...[SETTINGS[0], SETTINGS[2]].flatMap(([what, settings, more]) =>
    ["in", "out"].map((direction) => ({ what, direction, cap: 2, settings, ...more })),
  ),
  ...[0, 1].map((cap) => ({ what: SETTINGS[0][0], direction: "both", cap, settings: [] })),
]

const start = (): Promise<TestBroker> => startBroker({ store: "memory:", args: ["--log-level", "debug"] })

describe.runIf(hasMosquitto())("mosquitto as a bridge to us", () => {
  test.each(CASES)(
    "$what, $direction, QoS $cap: nothing lost, twice or in a circle, RETAIN is kept",
    async ({ direction, cap, settings, ...more }) => {
      const bit = !("bit" in more)
      const topic = `topic # ${direction}${cap === 0 ? "" : ` ${cap}`}`
      const ours = await start()
      const theirs = await startBridge([ours], [topic, ...settings])
      const [here, there] = [await Watcher.at(ours), await Watcher.at(theirs)]
      const [inwards, outwards] = [direction !== "out", direction !== "in"]
      await publishAll(ours, "here")
      await publishAll(theirs, "there")
      // what one end echoes goes before this
      await passed(ours, "first", inwards ? [here, there] : [here])
      await passed(theirs, "second", outwards ? [here, there] : [there])
      await passed(ours, "third", inwards ? [here, there] : [here])
      expect(crossing(here)).toEqual([...allOf("here", 2), ...(outwards ? allOf("there", cap) : [])].toSorted(byText))
      // without the bit a broker cannot know: mosquitto gives its own clients the echo of what they published, once, whoever the other broker is
      const echo = direction === "both" && !bit ? allOf("there", cap) : []
      expect(crossing(there)).toEqual([...allOf("there", 2), ...(inwards ? allOf("here", cap) : []), ...echo].toSorted(byText))
      expect(await keptAt(ours)).toEqual([...keptOf("here", 2), ...(outwards ? keptOf("there", cap) : [])])
      expect(await keptAt(theirs)).toEqual([...(inwards && bit ? keptOf("here", cap) : []), ...keptOf("there", 2)])
      expect(connects(ours, ".c0")).toBe(1)
    },
  )

  test("it says whether it is there, with a Will and RETAIN, and stays", async () => {
    const ours = await start()
    const theirs = await startBridge([ours], ["topic # both", "keepalive_interval 5", "restart_timeout 1"])
    const watcher = await Watcher.at(ours, "$SYS/broker/connection/#")
    const state = `$SYS/broker/connection/${hostname()}.c0/state`
    await watcher.saw(state, "1")
    const pings = (): number => [...ours.stderr.matchAll(/"packet":"pingreq"/g)].length
    await waitFor(() => pings() > 0, { what: "a PINGREQ", timeoutMs: 20_000 })
    expect(connects(ours, ".c0")).toBe(1)
    await theirs.kill9()
    await watcher.saw(state, "0")
    await theirs.restart()
    await waitFor(() => watcher.messages.length > 2, { what: "the bridge, again" })
    expect(watcher.messages).toEqual([`${state} q1 r1 1`, `${state} q1 r0 0`, `${state} q1 r0 1`])
    await waitFor(() => connects(ours, ".c0") === 2, { what: "its second CONNECT in the log" })
  })

  // as a client of MQTT 5.0 it asks for no Session that outlives its connection
  test.each([
    ["mqttv311", true],
    ["mqttv50", false],
  ])("%s: what is published at QoS 1 while our broker is away arrives", async (version, lasts) => {
    const ours = await startBroker({ args: ["--log-level", "debug"] })
    const theirs = await startBridge([ours], ["topic # both 1", "restart_timeout 1", `bridge_protocol_version ${version}`])
    const absent = await Peer.connected(ours.port, 4, lasting("absent"))
    await absent.subscribe(["there", 1])
    const there = await Watcher.at(theirs, "here")
    process.kill(theirs.pid, "SIGSTOP") // takes nothing more from us
    if (lasts) await publishNumbers(ours.port, { topic: "here", qos: 1, from: 1, to: 200 })
    await ours.kill9()
    process.kill(theirs.pid, "SIGCONT")
    await publishNumbers(theirs.port, { topic: "there", qos: 1, from: 1, to: 200 })
    await ours.restart()
    const back = await Peer.connected(ours.port, 4, lasting("absent"))
    const came: number[] = []
    while (came.at(-1) !== 200) {
      const message = readPublish(await back.next(30_000), 4)
      came.push(numberOf(message))
      await complete(back, message)
    }
    // what was under way may come again
    const numbers = range(1, 200)
    expect([...new Set(came)]).toEqual(numbers)
    if (lasts) await there.saw("here", "200")
    expect([...new Set(there.messages)]).toEqual(lasts ? numbers.map((n) => `here q1 r0 ${n}`) : [])
    expect(connects(ours, ".c0")).toBe(1)
  })

  test("mosquitto between two of ours: everything is everywhere, once", async () => {
    const ends = [await start(), await start()] as const
    const between = await startBridge(ends, ["topic # both 2"])
    const all = [...ends, between]
    const watchers = await Promise.all(all.map((end) => Watcher.at(end)))
    for (const [n, end] of all.entries()) await publishAll(end, `from${n}`)
    for (const round of ["a", "b"]) for (const [n, end] of all.entries()) await passed(end, `${round}${n}`, watchers)
    const expected = all.flatMap((_, n) => allOf(`from${n}`, 2)).toSorted(byText)
    for (const watcher of watchers) expect(crossing(watcher)).toEqual(expected)
    const kept = all.flatMap((_, n) => keptOf(`from${n}`, 2))
    for (const end of all) expect(await keptAt(end)).toEqual(kept)
    expect([connects(ends[0], ".c0"), connects(ends[1], ".c1")]).toEqual([1, 1])
  })
})

/** What came, but for what passed() sent. */
function crossing({ messages }: Watcher): string[] {
  return messages.filter((one) => !one.startsWith("end/")).toSorted(byText)
}
