import { spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { connect as connectTcp } from "node:net"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { connect as connectTls } from "node:tls"
import { freePort, runCli, RunningProcess, startBroker, temporaryFolder, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { createWebSocketStream, WebSocket } from "ws"
import { parseProxyHeader } from "../../src/server/listeners/proxy-protocol.js"
import { type Doors, logged, startDoors } from "../support/doors.js"
import { Peer } from "../support/peer.js"
import { connect, hex, word } from "../support/wire.js"

const SIGNATURE = hex("0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a")

function binary(command: number, family: number, block: Buffer): Buffer {
  return Buffer.concat([SIGNATURE, Buffer.from([command, family, ...word(block.length)]), block])
}

const TCP4 = hex("c0 00 02 01 c6 33 64 02 9c 40 22 b3") // 192.0.2.1:40000 to 198.51.100.2:8883
const TCP6 = hex("2001 0db8 0000 0001 0000 0000 0000 0002 2001 0db8 0000 0000 0000 0000 0000 0001 9c40 22b3")
const EXTRA = Buffer.concat([hex("02 00 0b"), Buffer.from("broker.home"), hex("04 00 02 00 00")])

/** Headers, and where the connection comes from then; undefined: from the proxy. */
const HEADERS: [what: string, header: Buffer, source: string | undefined][] = [
  ["1, IPv4", Buffer.from("PROXY TCP4 192.0.2.1 198.51.100.2 40000 8883\r\n"), "192.0.2.1:40000"],
  ["1, IPv6", Buffer.from("PROXY TCP6 2001:DB8:0:1::2 2001:db8::1 40000 8883\r\n"), "2001:db8:0:1::2:40000"],
  [
    "1, the longest address",
    Buffer.from(`PROXY TCP6 ${"ffff:".repeat(7)}ffff ${"ffff:".repeat(7)}ffff 65535 65535\r\n`),
    `${"ffff:".repeat(8)}65535`,
  ],
  ["1, unknown", Buffer.from("PROXY UNKNOWN\r\n"), undefined],
  ["1, unknown with something", Buffer.from(`PROXY UNKNOWN ${"ffff:".repeat(7)}ffff ${"ffff:".repeat(7)}ffff 65535 65535\r\n`), undefined],
  ["2, IPv4", binary(0x21, 0x11, TCP4), "192.0.2.1:40000"],
  ["2, IPv4 of a datagram", binary(0x21, 0x12, TCP4), "192.0.2.1:40000"],
  ["2, IPv6", binary(0x21, 0x21, TCP6), "2001:db8:0:1::2:40000"],
  ["2, IPv4 and more", binary(0x21, 0x11, Buffer.concat([TCP4, EXTRA])), "192.0.2.1:40000"],
  ["2, as much as there may be", binary(0x21, 0x21, Buffer.concat([TCP6, Buffer.alloc(4096 - 16 - 36)])), "2001:db8:0:1::2:40000"],
  ["2, Unix", binary(0x21, 0x31, Buffer.alloc(216, "x")), undefined],
  ["2, unspecified", binary(0x21, 0x00, Buffer.alloc(0)), undefined],
  ["2, unspecified with something", binary(0x21, 0x00, TCP4), undefined],
  ["2, local", binary(0x20, 0x00, Buffer.alloc(0)), undefined],
  ["2, local with an address", binary(0x20, 0x11, TCP4), undefined],
]

/** Headers that are none, and what the log says of them. */
const WRONG: [what: string, header: Buffer, why: string][] = [
  ["MQTT", connect(4, { clientId: "c" }), "it sent no PROXY header, and --proxy-protocol names its address"],
  ["TLS", hex("16 03 01"), "it sent no PROXY header"],
  ["other letters", Buffer.from("PROXIES "), "it sent no PROXY header"],
  ["another signature", Buffer.concat([SIGNATURE.subarray(0, 11), hex("0b")]), "it sent no PROXY header"],
  ["no line end", Buffer.from(`PROXY UNKNOWN ${"x".repeat(93)}`), "its PROXY header has no line end within 107 bytes"],
  ["line end too late", Buffer.from(`PROXY UNKNOWN ${"x".repeat(92)}\r\n`), "its PROXY header has no line end within 107 bytes"],
  [
    "a line feed alone",
    Buffer.from(`PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nPROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n`),
    "its PROXY header is not understood",
  ],
  ["another family", Buffer.from("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"), 'its PROXY header is not understood: "PROXY TCP5'],
  ["the other family", Buffer.from("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), "its PROXY header is not understood"],
  ["an address with zeros", Buffer.from("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"), "its PROXY header is not understood"],
  ["an address with an interface", Buffer.from("PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n"), "its PROXY header is not understood"],
  ["a port too large", Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), "its PROXY header is not understood"],
  ["a port with zeros", Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), "its PROXY header is not understood"],
  ["two spaces", Buffer.from("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), "its PROXY header is not understood"],
  ["a port missing", Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), "its PROXY header is not understood"],
  ["something more", Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), "its PROXY header is not understood"],
  ["colours", Buffer.from("PROXY \x1b[31m\r\n"), String.raw`its PROXY header is not understood: "PROXY \u001b[31m"`],
  ["version 3", binary(0x31, 0x11, TCP4), "its PROXY header has the version and command 0x31, known are 0x20 and 0x21"],
  ["command 2", binary(0x22, 0x11, TCP4), "its PROXY header has the version and command 0x22"],
  ["family 4", binary(0x21, 0x41, TCP4), "its PROXY header has an unknown kind of address, 0x41"],
  ["protocol 3", binary(0x21, 0x13, TCP4), "its PROXY header has an unknown kind of address, 0x13"],
  ["IPv4 too short", binary(0x21, 0x11, TCP4.subarray(0, 11)), "its PROXY header is too short for its addresses"],
  ["IPv6 too short", binary(0x21, 0x21, TCP4), "its PROXY header is too short for its addresses"],
  ["too long", binary(0x21, 0x21, Buffer.alloc(4081)).subarray(0, 16), "its PROXY header has 4097 bytes, the limit is 4096"],
]

describe("the header alone", () => {
  test.each(HEADERS)("%s: each cut of it asks for more, what is behind it stays", (_, header, source) => {
    for (let end = 1; end < header.length; end++) expect(parseProxyHeader(header.subarray(0, end))).toBeUndefined()
    const found = parseProxyHeader(Buffer.concat([header, hex("10 00")]))
    expect(found?.length).toBe(header.length)
    expect(found?.source && `${found.source.address}:${found.source.port}`).toBe(source)
  })

  test.each(WRONG)("%s is none", (_, header, why) => {
    expect(() => parseProxyHeader(header)).toThrow(why)
  })
})

// each packet is a line there, and no line is held back
const trusting = await startDoors(["--proxy-protocol", "127.0.0.0/8", "--log-level", "debug"])

/** A connection that sends a header first. */
function through(doors: Doors, kind: "mqtt" | "mqtts" | "ws" | "wss", header: Buffer): Duplex {
  const socket = connectTcp({ port: doors.port(kind), host: "127.0.0.1", noDelay: true })
  socket.write(header)
  if (kind === "mqtt") return socket
  const ca = readFileSync(doors.certificates.ca)
  const secure = kind === "ws" ? socket : connectTls({ socket, ca, host: "localhost", ALPNProtocols: kind === "wss" ? ["http/1.1"] : [] })
  if (kind === "mqtts") return secure
  return createWebSocketStream(new WebSocket(doors.url(kind), "mqtt", { createConnection: () => secure, perMessageDeflate: false }))
}

/** Where the broker saw the client. */
async function connectedFrom(broker: TestBroker, clientId: string): Promise<string | undefined> {
  const line = new RegExp(String.raw`from (\S+): CONNECT \\"${clientId}\\"`)
  await logged(broker, line)
  return line.exec(broker.stderr)?.[1]
}

describe.each(["mqtt", "mqtts", "ws", "wss"] as const)("%s behind a trusted proxy", (kind) => {
  test.each(HEADERS)("version %s", async (what, header, source) => {
    const clientId = `${kind} ${what}`
    await (await Peer.connected(through(trusting, kind, header), 4, { clientId })).settled()
    const address = await connectedFrom(trusting.broker, clientId)
    if (source === undefined) expect(address).toMatch(/^127\.0\.0\.1:\d+$/)
    else expect(address).toBe(source)
  })
})

test("the header byte by byte, and with the CONNECT in one segment", async () => {
  for (const [what, header, source] of HEADERS) {
    const slow = connectTcp({ port: trusting.broker.port, host: "127.0.0.1", noDelay: true })
    for (const byte of header.subarray(0, 100)) {
      slow.write(Buffer.from([byte]))
      await new Promise(setImmediate)
    }
    slow.write(header.subarray(100))
    const together = connectTcp({ port: trusting.broker.port, host: "127.0.0.1", noDelay: true })
    const [one, other] = [new Peer(slow, 4), new Peer(together, 4)]
    one.send(connect(4, { clientId: `slow ${what}` }))
    together.write(Buffer.concat([header, connect(4, { clientId: `together ${what}` })]))
    for (const [peer, clientId] of [
      [one, `slow ${what}`],
      [other, `together ${what}`],
    ] as const) {
      expect((await peer.next())[3]).toBe(0)
      expect(await connectedFrom(trusting.broker, clientId)).toMatch(source ?? /^127\.0\.0\.1:/)
    }
  }
})

describe("what is no header ends the connection at once, with a line", () => {
  test.each(WRONG.filter(([what]) => ["MQTT", "no line end", "too long"].includes(what)))("%s", async (_, header, why) => {
    const broker = await startBroker({ store: "memory:", args: ["--proxy-protocol", "127.0.0.1"] })
    const peer = new Peer(broker.port, 4)
    peer.send(header)
    expect(await peer.ended()).toEqual([])
    await logged(broker, `was closed: ${why}`)
  })

  test("none at all in time, whatever is behind it", async () => {
    const { broker, open } = await startDoors(["--proxy-protocol", "127.0.0.1", "--connect-timeout", "1s"])
    const started = performance.now()
    const peers = (["mqtt", "ws"] as const).map((kind) => new Peer(open(kind), 4))
    const slow = new Peer(connectTcp({ port: broker.port, host: "127.0.0.1" }), 4)
    slow.send(SIGNATURE)
    for (const peer of [...peers, slow]) expect(await peer.ended()).toEqual([])
    await logged(broker, "its PROXY header was not done in time")
    expect(performance.now() - started).toBeLessThan(8000)
  })
})

describe("a header from an address that is not trusted is no MQTT, and the log names the option", () => {
  test.each(HEADERS.slice(0, 2).concat(HEADERS.slice(5, 6)))("version %s", async (_, header) => {
    const { broker, port } = await startDoors(["--proxy-protocol", "192.0.2.0/24"])
    for (const kind of ["mqtt", "ws", "mqtts"] as const) {
      const peer = new Peer(connectTcp({ port: port(kind), host: "127.0.0.1" }), 4)
      peer.send(header, connect(4))
      await peer.ended()
    }
    const line = /"event":"refused".*was closed: a PROXY header came from an address that --proxy-protocol does not name"/
    await logged(broker, new RegExp(`${line.source}[^]*${line.source}`))
    expect(broker.stderr).not.toContain("reasonCode")
    await logged(broker, "bytes without TLS came to a port that speaks TLS; a proxy that sends a PROXY header needs --proxy-protocol")
  })

  test("and clients from there need no header", async () => {
    const { open } = await startDoors(["--proxy-protocol", "192.0.2.0/24"])
    for (const kind of ["mqtt", "mqtts", "ws", "wss", "mqtt+unix"] as const) await (await Peer.connected(open(kind), 4)).settled()
  })
})

test("mqtt-pub beside the proxy, over the Unix socket, needs none", async () => {
  expect(await runCli("mqtt-pub", ["--url", trusting.url("mqtt+unix"), "t", "x"])).toMatchObject({ code: 0 })
})

describe("--proxy-protocol", () => {
  test.each([
    ["10.0.0.1", [{ address: "10.0.0.1", bits: 32 }]],
    [
      "10.0.0.0/8, fd00::/8",
      [
        { address: "10.0.0.0", bits: 8 },
        { address: "fd00::", bits: 8 },
      ],
    ],
    [
      "::1 0.0.0.0/0",
      [
        { address: "::1", bits: 128 },
        { address: "0.0.0.0", bits: 0 },
      ],
    ],
  ])("%s", async (text, ranges) => {
    const { stdout } = await runCli("mqtt-broker", ["check", "--json", "--proxy-protocol", text])
    const { options }: { options: { option: string; value: unknown }[] } = JSON.parse(stdout)
    expect(options.find(({ option }) => option === "proxy-protocol")?.value).toEqual(ranges)
  })

  test.each([
    "proxy.example",
    "10.0.0.1/33",
    "::1/129",
    "10.0.0.1/",
    "10.0.0.1/8/8",
    "10.0.0.1/x",
    "10.0.0.1/-1",
    "fe80::1%eth0",
    "10.0.0.1:80",
  ])("%s is refused", async (text) => {
    const { code, stderr } = await runCli("mqtt-broker", ["check", "--proxy-protocol", text])
    expect([code, stderr]).toEqual([
      2,
      `error: --proxy-protocol: proxy "${text}" is not an IP address, alone or with a number of bits\nhint: for example 192.168.1.5, 10.0.0.0/8 or fd00::/8\n`,
    ])
  })
})

const hasHaproxy = spawnSync("haproxy", ["-v"]).status === 0

describe.runIf(hasHaproxy)("behind haproxy", () => {
  test.each(["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"])(
    "%s: the client's own address is in the log, health checks leave no warning",
    async (option) => {
      const broker = await startBroker({ store: "memory:", args: ["--proxy-protocol", "127.0.0.1", "--log-level", "debug"] })
      const port = await freePort()
      const file = join(temporaryFolder(), "haproxy.cfg")
      const lines = [
        "defaults",
        "  mode tcp",
        "  timeout connect 5s",
        "  timeout client 50s",
        "  timeout server 50s",
        "listen mqtt",
        `  bind 127.0.0.1:${port}`,
        `  server broker 127.0.0.1:${broker.port} ${option} check inter 100ms`,
      ]
      writeFileSync(file, `${lines.join("\n")}\n`)
      const haproxy = new RunningProcess("haproxy", ["-db", "-f", file])
      await waitFor(() => connects(port), { what: "haproxy to listen" })
      await (await Peer.connected(connectTcp({ port, host: "127.0.0.1", localAddress: "127.0.0.9" }), 5, { clientId: "behind" })).settled()
      expect(await connectedFrom(broker, "behind")).toMatch(/^127\.0\.0\.9:\d+$/)
      const warnings = broker.stderr.match(/.*warn.*/g) ?? []
      expect([haproxy.running, warnings.filter((line) => !line.includes("runs as root"))]).toEqual([true, []])
    },
  )
})

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp({ port, host: "127.0.0.1" })
    socket.on("error", () => resolve(false))
    socket.on("connect", () => {
      socket.destroy()
      resolve(true)
    })
  })
}
