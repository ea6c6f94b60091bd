import { randomId, startBroker } from "@mqtt-trio/testing"
import { beforeEach, describe, expect, test } from "vitest"
import { CHROMIUM, MqttPage, servePage, startBrowser } from "../support/browser.js"
import { startDoors } from "../support/doors.js"
import { publishNumbers, range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { hasProgram } from "../support/processes.js"
import { publish } from "../support/wire.js"

const MB = 1_000_000
const OLD = { protocolVersion: 4 }
const NEW = { protocolVersion: 5 }

describe.runIf(hasProgram(CHROMIUM, "--version"))("MQTT.js in a browser", async () => {
  const doors = await startDoors()
  const browser = await startBrowser(doors.certificates.serverCert)
  const origin = await servePage()

  describe.each(["ws", "wss"] as const)("%s", async (kind) => {
    const page = await MqttPage.open(browser, origin)
    // loaded again it is a new page, without a new process
    beforeEach(() => page.reload())

    test.each([
      [0, OLD],
      [1, OLD],
      [2, OLD],
      [0, NEW],
      [1, NEW],
      [2, NEW],
    ] as const)("QoS %i, %j: subscribes, publishes, and gets it, from the page and from a client over TCP", async (qos, version) => {
      const topic = randomId()
      expect(await page.connect(doors.url(kind), version)).toBe(false)
      expect(await page.subscribe(topic, qos)).toEqual([qos])
      const peer = await Peer.connected(doors.port("mqtt"), 4)
      await peer.subscribe([topic, 0])
      await page.publish(topic, "grüße 🦭", qos)
      expect((await peer.nextPublish()).payload.toString()).toBe("grüße 🦭")
      await publishNumbers(doors.port("mqtt"), { topic, qos, from: 1, to: 20 })
      const messages = await page.arrived(21)
      expect(messages.map(({ text }) => text)).toEqual(["grüße 🦭", ...range(1, 20).map(String)])
      expect(new Set(messages.map((one) => one.qos))).toEqual(new Set([qos]))
    })

    test("a payload of 1 MB from the page, and back to it", async () => {
      const topic = randomId()
      await page.connect(doors.url(kind))
      await page.subscribe(topic, 1)
      await page.publishBytes(topic, MB, 1)
      expect(await page.arrived(1)).toEqual([{ topic, text: `${MB} bytes`, sum: (MB * 7) % 65_521, qos: 1, retain: false }])
    })

    test("a page that is loaded again gets what came meanwhile, in order", async () => {
      const topic = randomId()
      const session = { clientId: topic, clean: false, ...NEW, properties: { sessionExpiryInterval: 1000 } }
      expect(await page.connect(doors.url(kind), session)).toBe(false)
      await page.subscribe(topic, 1)
      await page.reload()
      await publishNumbers(doors.port("mqtt"), { topic, qos: 1, from: 1, to: 200 })
      expect(await page.connect(doors.url(kind), session)).toBe(true)
      expect((await page.arrived(200)).map(({ text }) => text)).toEqual(range(1, 200).map(String))
    })

    test("four pages at once, each gets every message", async () => {
      const topic = randomId()
      const pages = await Promise.all(range(1, 4).map(async () => MqttPage.open(browser, origin)))
      for (const page of pages) await page.connect(doors.url(kind))
      for (const page of pages) await page.subscribe(topic, 1)
      await publishNumbers(doors.port("mqtt"), { topic, qos: 1, from: 1, to: 50 })
      for (const page of pages) expect((await page.arrived(50)).map(({ text }) => text)).toEqual(range(1, 50).map(String))
    })
  })

  test("a certificate that the browser does not trust: no connection", async () => {
    const stranger = await startDoors()
    const page = await MqttPage.open(browser, origin)
    await expect(page.connect(stranger.url("wss"))).rejects.toThrow()
  })

  test("--ws-origin: a page of that origin may connect, another one may not", async () => {
    const args = ["--listen", "ws://127.0.0.1:0", "--ws-origin", origin]
    const broker = await startBroker({ store: "memory:", args })
    const url = broker.urls[1] ?? ""
    const [own, other] = [await MqttPage.open(browser, origin), await MqttPage.open(browser, await servePage())]
    expect(await own.connect(url)).toBe(false)
    await expect(other.connect(url)).rejects.toThrow()
    await own.subscribe("t", 0)
    const peer = await Peer.connected(broker.port, 4)
    peer.send(publish(4, { topic: "t", payload: "x" }))
    expect(await own.arrived(1)).toHaveLength(1)
  })
})
