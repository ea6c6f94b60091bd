import { existsSync, readdirSync, writeFileSync } from "node:fs"
import { connect as connectTcp } from "node:net"
import { join } from "node:path"
import { makeCertificates, onCleanUp, randomId, runCli, spawnCli, startBroker, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { KINDS, logged, startDoors } from "../support/doors.js"
import { answers, lasting, numberOf, range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { connect, hex, puback, publish } from "../support/wire.js"

const doors = await startDoors()
const authority = ["--cafile", doors.certificates.ca]
const MB = 1 << 20
const payload = (n: number): Buffer => Buffer.from(`${n}`.padEnd(50_000))

describe.each(KINDS)("%s", (kind) => {
  const secure = kind === "mqtts" || kind === "wss" ? authority : []

  test.each(["311", "5"])("mqtt-pub to mqtt-sub, MQTT %s", async (version) => {
    const topic = randomId()
    const at = ["--url", doors.url(kind), ...secure, "-V", version]
    const session = [topic, "--client", topic, "--persistent", ...at]
    expect(await runCli("mqtt-sub", [...session, "-E"])).toMatchObject({ code: 0 })
    const lines = range(1, 50).join("\n")
    expect(await runCli("mqtt-pub", ["-t", topic, "-l", ...at], { stdin: `${lines}\n` })).toMatchObject({ code: 0 })
    expect(await runCli("mqtt-sub", [...session, "-C", "50", "-W", "20"])).toMatchObject({ code: 0, stdout: `${lines}\n` })
  })

  test.each([4, 5] as const)("version %i: a CONNECT byte by byte, then hundreds of packets at once", async (version) => {
    const topic = randomId()
    const peer = new Peer(doors.open(kind), version)
    for (const byte of connect(version, { clientId: topic })) peer.send(Buffer.from([byte]))
    expect((await peer.next())[0]).toBe(0x20)
    expect(await peer.subscribe([topic, 0])).toEqual([0])
    const packets = range(1, 300).map((n) => publish(version, { topic, qos: 1, packetId: n, payload: `${n}` }))
    peer.send(...packets)
    const came = await answers(peer, 600)
    const acknowledged = came.filter((one) => one[0] === 0x40).map((one) => one.readUInt16BE(2))
    expect(acknowledged).toEqual(range(1, 300))
    expect(came.filter((one) => one[0] === 0x30)).toHaveLength(300)
  })

  test("a client that does not read: what is too much for it at QoS 0 is dropped, at QoS 1 all comes later, in order", async () => {
    const { broker, open } = await startDoors()
    const slow = await Peer.connected(open(kind), 4, lasting("slow"))
    await slow.subscribe(["zero", 0], ["one", 1])
    slow.socket.pause()
    const publisher = await Peer.connected(open(kind), 4)
    for (const n of range(1, 600)) publisher.send(publish(4, { topic: "zero", payload: payload(n) }))
    for (const n of range(1, 200)) publisher.send(publish(4, { topic: "one", qos: 1, packetId: n, payload: payload(n) }))
    expect((await answers(publisher, 200)).map((one) => one.readUInt16BE(2))).toEqual(range(1, 200))
    await logged(broker, /given up so far: \d+ at QoS 0 because it reads too slowly/)
    slow.socket.resume()
    const stored: number[] = []
    let zero = 0
    while (stored.length < 200) {
      const message = await slow.nextPublish()
      if (message.topic === "zero") zero++
      else {
        stored.push(numberOf(message))
        slow.send(puback(message.packetId))
      }
    }
    expect(stored).toEqual(range(1, 200))
    expect(zero * 50_000).toBeLessThan(25 * MB)
  })
})

test("a message goes from every kind of listener to every other", async () => {
  const topic = randomId()
  const peers = await Promise.all(KINDS.map(async (kind) => Peer.connected(doors.open(kind), 5)))
  for (const peer of peers) await peer.subscribe([topic, 0])
  for (const [n, peer] of peers.entries()) {
    peer.send(publish(5, { topic, payload: `${n}` }))
    for (const receiver of peers) expect(numberOf(await receiver.nextPublish())).toBe(n)
  }
})

describe("the ready message", () => {
  test("a line for each listener, all of them open when the first is there", async () => {
    const dir = temporaryFolder()
    const { serverCert, serverKey } = makeCertificates(dir)
    const listen = ["ws://127.0.0.1:0", "mqtts://0.0.0.0:0", "mqtt+unix:///" + join(dir, "s").slice(1)].flatMap((url) => ["--listen", url])
    const args = ["start", "--store", "memory:", ...listen, "--tls-cert", serverCert, "--tls-key", serverKey, "--anonymous"]
    const broker = spawnCli("mqtt-broker", args)
    await broker.waitForLine(/mqtt\+unix/)
    const [local, everybody] = [
      "open to this machine, without a password",
      "open to everybody who reaches this address, without a password",
    ]
    expect(broker.stdout.replaceAll(/:\d{2,}/g, ":PORT").split("\n")).toEqual([
      `mqtt-broker ready at ws://127.0.0.1:PORT/mqtt · data in memory: · ${local}`,
      `mqtt-broker ready at mqtts://0.0.0.0:PORT · ${everybody}`,
      `mqtt-broker ready at mqtt+unix://${join(dir, "s")} · ${local}`,
      "",
    ])
  })

  test("--json: one object with all of them; --port stands beside --listen where it is given", async () => {
    const broker = spawnCli("mqtt-broker", ["start", "--port", "0", "--store", "memory:", "--json", "--listen", "ws://localhost:0/x"])
    const ready = JSON.parse(await broker.waitForLine("ready"))
    const access = "this machine, without a password"
    expect(ready).toMatchObject({ event: "ready", host: "127.0.0.1", access, listeners: [{ url: ready.url, access }, { access }] })
    expect(ready.listeners[1].url).toMatch(/^ws:\/\/localhost:\d+\/x$/)
  })

  test("the environment has several, with spaces between them", async () => {
    const env = { MQTT_BROKER_LISTEN: "mqtt://127.0.0.1:0 ws://127.0.0.1:0", MQTT_BROKER_STORE: "memory:" }
    const broker = spawnCli("mqtt-broker", ["start"], { env })
    await broker.waitForLine("ready at ws")
    expect(broker.stdout).toMatch(/^mqtt-broker ready at mqtt:.*\nmqtt-broker ready at ws:.*\n$/)
  })
})

describe("--connect-timeout counts from the first byte on, whatever comes before CONNECT", () => {
  test("who stops in the TLS handshake, in the WebSocket upgrade, or goes on byte by byte, is closed; who is connected stays", async () => {
    const { broker, port, open } = await startDoors(["--connect-timeout", "1s"])
    const staying = await Promise.all(KINDS.map(async (kind) => Peer.connected(open(kind), 4)))
    const start = performance.now()
    const request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nX: "
    const slow = [
      new Peer(port("mqtts"), 4),
      trickle(new Peer(port("mqtts"), 4), hex("16 03 01 02 00 01 00 01 fc 03 03".padEnd(1000, "0"))),
      new Peer(port("ws"), 4),
      trickle(new Peer(port("ws"), 4), Buffer.from(request.padEnd(1000, "x"))),
      new Peer(port("wss"), 4),
      trickle(new Peer(open("mqtts"), 4), Buffer.from(connect(4, { clientId: "x".repeat(1000) }))),
      trickle(new Peer(open("ws"), 4), Buffer.from(connect(4, { clientId: "x".repeat(1000) }))),
      trickle(new Peer(port("mqtt"), 4), Buffer.from(connect(4, { clientId: "x".repeat(1000) }))),
    ]
    for (const kind of ["mqtts", "ws", "wss", "mqtt+unix"] as const) slow.push(new Peer(open(kind), 4))
    await Promise.all(slow.map(async (peer) => peer.ended()))
    expect(performance.now() - start).toBeGreaterThan(900)
    expect(performance.now() - start).toBeLessThan(6000)
    for (const peer of staying) expect(await peer.settled()).toEqual([])
    await logged(broker, "its TLS handshake was not done in time")
    await logged(broker, "its WebSocket upgrade was not done in time")
    await logged(broker, "no CONNECT came in time")
  })

  test("connections in their TLS handshake count: beyond the limit the next is closed at once", { timeout: 60_000 }, async () => {
    const { port, open } = await startDoors(["--max-connections", "1", "--connect-timeout", "30s"])
    const client = await Peer.connected(open("mqtts"), 4)
    const waiting = range(1, 1000).map(() => connectTcp({ port: port("mqtts"), host: "127.0.0.1" }))
    onCleanUp(() => waiting.forEach((socket) => socket.destroy()))
    await Promise.all(waiting.map(async (socket) => new Promise((resolve) => socket.once("connect", resolve))))
    await new Peer(port("mqtts"), 4).ended()
    await new Peer(port("mqtt"), 4).ended()
    expect(await client.settled()).toEqual([])
    waiting.pop()?.destroy()
    await waitFor(
      async () => {
        const late = new Peer(port("mqtt"), 4)
        late.send(connect(4))
        return (await late.ended()).length > 0
      },
      { what: "the place that got free" },
    )
  })
})

/** Sends the bytes one by one, a few hundred a second, as long as the connection is open. */
function trickle(peer: Peer, bytes: Buffer): Peer {
  let at = 0
  const timer = setInterval(() => {
    if (peer.closed || at >= bytes.length - 1) clearInterval(timer)
    else peer.send(bytes.subarray(at, ++at))
  }, 5)
  onCleanUp(() => clearInterval(timer))
  return peer
}

test("bytes that a port does not speak: one line says which, and no TLS error of the library's", async () => {
  const { broker, port } = await startDoors()
  const mqtt = connect(4)
  const hello = hex("16 03 01 02 00 01 00 01 fc 03 03")
  for (const [to, bytes] of [
    [port("mqtts"), mqtt],
    [port("mqtts"), Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    [port("mqtt"), hello],
    ...["GET", "POST", "HEAD", "CONNECT"].map(
      (method) => [port("mqtt"), Buffer.from(`${method} / HTTP/1.1\r\nHost: example\r\n\r\n`)] as const,
    ),
    [port("ws"), hello],
    [port("ws"), mqtt],
    [port("ws"), Buffer.from("GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n")],
  ] as const) {
    const peer = new Peer(to, 4)
    peer.send(bytes)
    peer.socket.on("data", () => {})
    await waitFor(() => peer.closed, { what: "the end" })
  }
  await broker.stop()
  expect(broker.stderr.match(/bytes without TLS came to a port that speaks TLS/g)).toHaveLength(4)
  expect(broker.stderr.match(/HTTP came to a port that speaks MQTT without WebSocket/g)).toHaveLength(4 * 2)
  await logged(broker, "TLS came to a port that speaks MQTT without TLS")
  await logged(broker, "TLS came to a port that speaks WebSocket without TLS")
  await logged(broker, "MQTT without WebSocket came to a port that speaks WebSocket")
})

describe("mqtt+unix", () => {
  test("the socket of a broker that was killed is replaced, and is gone when one stops", async () => {
    const path = join(temporaryFolder(), "mqtt.sock")
    const args = ["--listen", `mqtt+unix://${path}`]
    const dead = await startBroker({ store: "memory:", args })
    await dead.kill9()
    expect(existsSync(path)).toBe(true)
    const broker = await startBroker({ store: "memory:", args })
    await (await Peer.connected(connectTcp({ path }), 4)).settled()
    await broker.stop()
    expect(existsSync(path)).toBe(false)
  })

  test("one that another process serves, or a file, is left alone: exit code 10", async () => {
    const dir = temporaryFolder()
    const [path, file] = [join(dir, "mqtt.sock"), join(dir, "file")]
    const first = await startBroker({ store: "memory:", args: ["--listen", `mqtt+unix://${path}`] })
    writeFileSync(file, "x")
    for (const [taken, why] of [
      [path, "another process listens there"],
      [file, "there is a file of another kind"],
    ] as const) {
      const { code, stderr } = await runCli("mqtt-broker", ["start", "--store", "memory:", "--listen", `mqtt+unix://${taken}`])
      expect([code, stderr.split("\n")[0]]).toEqual([10, `error: cannot listen on the socket ${JSON.stringify(taken)}: ${why}`])
    }
    await (await Peer.connected(connectTcp({ path }), 4)).settled()
    expect([existsSync(file), first.running]).toEqual([true, true])
  })
})

test("a socket's path that is too long, or leads nowhere: exit code 10, and no socket elsewhere", async () => {
  const dir = temporaryFolder()
  const long = join(dir, "x".repeat(120))
  const nowhere = join(dir, "no", "mqtt.sock")
  for (const [path, why] of [
    [long, /: its path has more than 10\d bytes\n/],
    [nowhere, new RegExp(`: there is no folder ${JSON.stringify(join(dir, "no"))}\n`)],
  ] as const) {
    const { code, stderr } = await runCli("mqtt-broker", ["start", "--store", "memory:", "--listen", `mqtt+unix://${path}`])
    expect([code, stderr.startsWith(`error: cannot listen on the socket ${JSON.stringify(path)}: `)]).toEqual([10, true])
    expect(stderr).toMatch(why)
  }
  expect(readdirSync(dir)).toEqual([])
})

test("one listener that cannot be had ends all: exit code 10", async () => {
  const listen = ["--listen", "mqtt://127.0.0.1:0", "--listen", `ws://127.0.0.1:${doors.port("ws")}`]
  const { code, stderr, stdout } = await runCli("mqtt-broker", ["start", "--store", "memory:", ...listen])
  expect([code, stdout]).toEqual([10, ""])
  expect(stderr).toBe(`error: port ${doors.port("ws")} is already in use\nhint: stop the other broker or use another port\n`)
})
