import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { hasMosquitto, runCli, startMosquitto, startRecordingProxy, startScriptedBroker, temporaryFolder } from "@mqtt-trio/testing"

/** CONNECT of a client `c` of MQTT 5 with Keep Alive 60, Clean Start and a password, the field of a user name absent (MQTT 5.0 section 3.1.2.9). */
function connectPacket(password: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from("00044d51545405", "hex"), Buffer.from([0x42, 0, 60, 0, 0, 1, 0x63]), field(password)])
  return Buffer.concat([Buffer.from(body.length < 128 ? [0x10, body.length] : [0x10, (body.length & 0x7f) | 0x80, body.length >> 7]), body])
}

function field(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes])
}

describe("a password without a user name", () => {
  it.skipIf(!hasMosquitto())("is sent with MQTT 5, whatever its length, and the broker takes it", async () => {
    const broker = await startMosquitto()
    for (const length of [1, 111, 112, 113, 114, 300]) {
      const proxy = await startRecordingProxy(broker.port)
      const args = ["t", "x", "-i", "c", "-k", "60", "-p", String(proxy.port)]
      expect(await runCli("mqtt-pub", args, { env: { MQTT_PASSWORD: "p".repeat(length) } })).toMatchObject({ code: 0, stderr: "" })
      const expected = connectPacket(Buffer.alloc(length, "p"))
      expect(proxy.sent.subarray(0, expected.length).toString("hex")).toBe(expected.toString("hex"))
    }
  })

  it.skipIf(!hasMosquitto())("and with a Will before it, from mqtt-sub", async () => {
    const broker = await startMosquitto()
    const proxy = await startRecordingProxy(broker.port)
    const file = join(temporaryFolder(), "password")
    writeFileSync(file, "secret\n")
    const result = await runCli("mqtt-sub", [
      "t",
      "-E",
      "--will-topic",
      "w",
      "--will-payload",
      "gone",
      "--password-file",
      file,
      "-p",
      String(proxy.port),
    ])
    expect(result).toMatchObject({ code: 0, stderr: "" })
    expect(proxy.sent.includes(Buffer.concat([field(Buffer.from("w")), field(Buffer.from("gone")), field(Buffer.from("secret"))]))).toBe(
      true,
    )
  })

  it("is sent again when the connection is made again", async () => {
    const connects: string[] = []
    const broker = await startScriptedBroker(({ type, bytes }, socket, connection) => {
      if (type === 1) {
        connects.push(bytes.toString("hex"))
        socket.write(Buffer.from([0x20, 3, 0, 0, 0]))
      } else if (connection === 1) socket.destroy()
      else if (type === 8) socket.write(Buffer.from([0x90, 4, ...bytes.subarray(2, 4), 0, 1]))
    })
    const args = ["t", "-E", "-i", "c", "-k", "60", "-p", String(broker.port), "--reconnect-period", "20ms"]
    expect(await runCli("mqtt-sub", args, { env: { MQTT_PASSWORD: "secret" } })).toMatchObject({ code: 0 })
    const expected = connectPacket(Buffer.from("secret")).toString("hex")
    expect(connects).toEqual([expected, expected])
  })

  it.each([
    ["-P", "x"],
    ["-L", "mqtt://:x@127.0.0.1"],
    ["--password-file", "/dev/null"],
  ])("with 3.1.1 is a usage error that says what helps: %s", async (...args) => {
    const result = await runCli("mqtt-pub", ["t", "x", "-V", "3.1.1", ...args])
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining("needs MQTT 5\nhint: add --username NAME, or leave out -V") })
  })

  it("the user name of a URL is one", async () => {
    const args = ["t", "x", "-V", "3.1.1", "-L", "mqtt://u@127.0.0.1:1", "--password-file", "/dev/null"]
    expect(await runCli("mqtt-pub", args)).toMatchObject({ code: 3 })
  })

  it("is never sent with 3.1.1 to a broker that knows no 5: the hint says what helps", async () => {
    const broker = await startScriptedBroker((_packet, socket) => socket.end(Buffer.from([0x20, 2, 0, 1])))
    const silent = await startScriptedBroker((_packet, socket) => socket.destroy())
    const env = { MQTT_PASSWORD: "x" }
    expect(await runCli("mqtt-pub", ["t", "x", "-p", String(broker.port)], { env })).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("hint: before MQTT 5 a password needs a user name: add --username NAME"),
    })
    expect(await runCli("mqtt-pub", ["t", "x", "-p", String(silent.port)], { env })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("hint: before MQTT 5 a password needs a user name: add --username NAME"),
    })
    expect(broker.types).toEqual([1])
  })
})
