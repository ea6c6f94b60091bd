import { statSync } from "node:fs"
import { join } from "node:path"
import { freePort, runCli, spawnCli, startBroker, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"

describe("the ready line", () => {
  test("plain: where it listens, where the data is, who may connect; nothing else on stdout", async () => {
    const folder = join(temporaryFolder(), "data")
    const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
    const line = await broker.waitForLine("ready")
    const port = Number(/mqtt:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1])
    expect(line).toBe(`mqtt-broker ready at mqtt://127.0.0.1:${port} · data in file:${folder} · open to this machine, without a password`)
    await (await Peer.connected(port, 4)).settled()
    expect(await broker.stop()).toEqual({ code: 0, signal: null })
    expect(broker.stdout).toBe(`${line}\n`)
  })

  test("--json: one object on stdout, each line of stderr an object", async () => {
    const port = await freePort()
    const broker = spawnCli("mqtt-broker", ["start", "--port", String(port), "--store", "memory:", "--json", "--log-level", "debug"])
    const ready: unknown = JSON.parse(await broker.waitForLine("ready"))
    expect(ready).toMatchObject({
      event: "ready",
      url: `mqtt://127.0.0.1:${port}`,
      host: "127.0.0.1",
      port,
      store: "memory:",
      pid: broker.pid,
    })
    const peer = await Peer.connected(port, 4)
    peer.send(Buffer.from([0xff]), Buffer.from([0]))
    await peer.ended()
    await broker.stop()
    const lines = broker.stderr.split("\n").filter(Boolean)
    expect(lines.length).toBeGreaterThan(0)
    expect(lines.map((line) => typeof JSON.parse(line))).toEqual(lines.map(() => "object"))
    expect(broker.stdout.split("\n")).toHaveLength(2)
  })

  test("--host 0.0.0.0 --anonymous says that everybody may connect", async () => {
    const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", "memory:", "--host", "0.0.0.0", "--anonymous"])
    expect(await broker.waitForLine("ready")).toContain("open to everybody who reaches this address, without a password")
  })

  test("the options come from the environment too", async () => {
    const env = { MQTT_BROKER_PORT: "0", MQTT_BROKER_STORE: "memory:", MQTT_BROKER_JSON: "1" }
    const broker = spawnCli("mqtt-broker", ["start"], { env })
    expect(await broker.waitForLine("ready")).toContain('"store":"memory:"')
  })

  test("when it is there, clients can connect: three starts in a row", async () => {
    const broker = await startBroker()
    for (let n = 0; n < 3; n++) {
      await broker.stop()
      await broker.restart()
      await (await Peer.connected(broker.port, 4)).settled()
    }
  })
})

test("the data folder is for its owner only", async () => {
  const broker = await startBroker()
  const folder = join(broker.dir, "store")
  expect((statSync(folder).mode & 0o777).toString(8)).toBe("700")
  expect((statSync(join(folder, "admin.1.sock")).mode & 0o777).toString(8)).toBe("600")
})

test("--log-level error is quiet about clients that misbehave", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--log-level", "error"] })
  const peer = new Peer(broker.port, 4)
  peer.send(Buffer.from([0, 0]))
  await peer.ended()
  await broker.stop()
  expect(broker.stderr).toBe("")
})

test("queue and start agree about the default folder", async () => {
  const home = temporaryFolder()
  const env = { HOME: home, XDG_DATA_HOME: join(home, "data") }
  const broker = spawnCli("mqtt-broker", ["start", "--port", "0"], { env })
  expect(await broker.waitForLine("ready")).toContain(`data in file:${join(home, "data", "mqtt-broker", "store")}`)
  expect(await runCli("mqtt-broker", ["queue", "x"], { env })).toMatchObject({ code: 14 })
})
