import { hasMosquitto, randomId, runProcess, RunningProcess, startBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { properties, puback, publish, sessionExpiry } from "../support/wire.js"

const broker = await startBroker()
const VERSIONS = [
  ["311", "mqttv311"],
  ["5", "mqttv5"],
] as const

function address(version: string): string[] {
  return ["-h", "127.0.0.1", "-p", String(broker.port), "-V", version]
}

/** A mosquitto_sub that has subscribed, as the broker confirmed. */
async function subscriber(version: string, ...args: string[]): Promise<RunningProcess> {
  const running = new RunningProcess("stdbuf", ["-oL", "mosquitto_sub", "-d", ...address(version), ...args])
  await running.waitForLine(/^Subscribed/)
  return running
}

const payloads = (running: { stdout: string }): string[] => running.stdout.split("\n").filter((line) => /^message \d+$/.test(line))
const numbered = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, n) => `message ${from + n}`)

describe.runIf(hasMosquitto()).each(VERSIONS)("MQTT %s", (_, version) => {
  test.each([0, 1])("mosquitto_pub -l to mosquitto_sub, QoS %i: all, in order", async (qos) => {
    const topic = randomId()
    const sub = await subscriber(version, "-t", topic, "-q", String(qos))
    const args = [...address(version), "-t", topic, "-q", String(qos), "-l"]
    const pub = await runProcess("mosquitto_pub", args, { stdin: `${numbered(1, 200).join("\n")}\n` })
    expect([pub.code, pub.stderr]).toEqual([0, ""])
    await waitFor(() => payloads(sub).length >= 200, { what: "200 messages" })
    expect(payloads(sub)).toEqual(numbered(1, 200))
  })

  test("mosquitto_sub -c gets what was published while it was away, in order", async () => {
    const [topic, clientId] = [randomId(), randomId()]
    const session = ["-i", clientId, "-c", "-q", "1", "-t", topic, ...(version === "mqttv5" ? ["-x", "1000"] : [])]
    await (await subscriber(version, ...session)).stop("SIGINT")
    const pub = [...address(version), "-t", topic, "-q", "1", "-l"]
    expect((await runProcess("mosquitto_pub", pub, { stdin: `${numbered(1, 50).join("\n")}\n` })).code).toBe(0)
    const back = await runProcess("mosquitto_sub", [...address(version), ...session, "-C", "50", "-W", "10"])
    expect([back.code, payloads(back)]).toEqual([0, numbered(1, 50)])
  })

  test("a message from mosquitto_pub reaches a raw client of the other version, and back", async () => {
    const topic = randomId()
    const other = version === "mqttv5" ? 4 : 5
    const peer = await Peer.connected(broker.port, other)
    await peer.subscribe([topic, 1])
    const pub = await runProcess("mosquitto_pub", [...address(version), "-t", topic, "-q", "1", "-m", "from mosquitto"])
    expect(pub.code).toBe(0)
    const message = await peer.nextPublish()
    expect(message.payload.toString()).toBe("from mosquitto")
    peer.send(puback(message.packetId))
    const sub = await subscriber(version, "-t", topic, "-q", "1", "-C", "1", "-W", "10")
    peer.send(publish(other, { topic, qos: 1, packetId: 3, payload: "message 1" }))
    expect(await sub.waitForEnd()).toMatchObject({ code: 0 })
    expect(payloads(sub)).toEqual(["message 1"])
  })
})

test.runIf(hasMosquitto())("mosquitto_pub's MQTT 5 properties arrive at mosquitto_sub", async () => {
  const topic = randomId()
  const sub = await subscriber("mqttv5", "-t", topic, "-q", "1", "-F", "%P|%C|%R|%D|%p")
  const given = ["user-property name value", "content-type text/plain", "response-topic back", "correlation-data abc"]
  const args = given.flatMap((property) => ["-D", "publish", ...property.split(" ")])
  await runProcess("mosquitto_pub", [...address("mqttv5"), "-t", topic, "-q", "1", "-m", "payload", ...args])
  expect(await sub.waitForLine("payload")).toBe("name:value|text/plain|back|abc|payload")
})

test.runIf(hasMosquitto())("mosquitto_sub takes over the session of a raw client", async () => {
  const [topic, clientId] = [randomId(), randomId()]
  const peer = await Peer.connected(broker.port, 5, { clientId, clean: false, properties: properties(sessionExpiry(100)) })
  await peer.subscribe([topic, 1])
  const sub = await subscriber("mqttv5", "-i", clientId, "-c", "-x", "100", "-t", topic, "-q", "1")
  expect((await peer.ended()).map((one) => [one[0], one[2]])).toEqual([[0xe0, 0x8e]])
  const publisher = await Peer.connected(broker.port, 4)
  publisher.send(publish(4, { topic, qos: 1, packetId: 1, payload: "message 1" }))
  await sub.waitForLine("message 1")
})
