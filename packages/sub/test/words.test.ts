import { createServer as createWebServer } from "node:http"
import { createServer, type Server } from "node:net"
import { beforeAll, describe, expect, it } from "vitest"
import { onCleanUp, randomId, runCli, spawnCli, startBroker, waitFor, type TestBroker } from "@mqtt-trio/testing"

let broker: TestBroker
beforeAll(async () => {
  broker = await startBroker()
})

/** Listens until the end of the test; returns the port. */
async function listen(server: Server): Promise<number> {
  onCleanUp(() => void server.close())
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

/** A broker of MQTT 5 that answers CONNECT with its CONNACK and this. */
async function answering(bytes: string): Promise<number> {
  const answer = Buffer.from(`2003000000${bytes}`, "hex")
  return listen(
    createServer((socket) => {
      socket.on("error", () => undefined)
      socket.once("data", () => socket.write(answer))
    }),
  )
}

async function said(...args: string[]): Promise<string> {
  const { code, stderr } = await runCli("mqtt-sub", args)
  return `${code} ${stderr}`
}

describe("what is no broker, or another kind of one, is called what it is", () => {
  it("a web server", async () => {
    const port = await listen(createWebServer((_request, response) => response.end("hello")))
    for (const args of [
      ["-p", `${port}`],
      ["-L", `mqtts://127.0.0.1:${port}`],
    ]) {
      // oxlint-disable-next-line no-await-in-loop -- one process after the other
      expect(await said(...args, "t")).toMatch(/^3 error: cannot connect to .*: a web server answers on this port\nhint: check the port/)
    }
    expect(await said("-L", `wss://127.0.0.1:${port}`, "t")).toContain("the web server speaks no TLS on this port\nhint: use ws://")
    expect(await said("-L", `ws://127.0.0.1:${port}`, "t")).toContain("instead of opening a WebSocket\nhint: check --path")
  })

  it("a broker without WebSocket", async () => {
    expect(await said("-L", broker.url.replace("mqtt:", "ws:"), "t")).toContain(
      "the broker speaks no WebSocket on this port\nhint: leave out --ws",
    )
  })

  it("a proxy that is none", async () => {
    expect(await said("--proxy", "socks5h://127.0.0.1:1", "-p", `${broker.port}`, "t")).toContain(
      "error: the proxy 127.0.0.1:1 gave no connection: connect ECONNREFUSED",
    )
  })
})

describe("who refused, and why", () => {
  it.each([
    ["400 Bad Request", 400, "check --path"],
    ["401 Unauthorized", 401, "--ws-header"],
    ["404 Not Found", 404, "check --path"],
  ])("a server that answers a WebSocket with %s", async (line, status, hint) => {
    const port = await listen(
      createServer((socket) => {
        socket.on("error", () => undefined)
        socket.once("data", () => socket.end(`HTTP/1.1 ${line}\r\nContent-Length: 0\r\n\r\n`))
      }),
    )
    const text = await said("--ws", "-p", `${port}`, "t")
    expect(text).toContain(`the server answered with the HTTP status ${status} instead of opening a WebSocket`)
    expect(text).toContain(hint)
  })

  it("before MQTT 5 the broker cannot say why: no reason is made up", async () => {
    const shared = await said("-L", broker.url, "$share/g/a", "-V", "3.1.1")
    expect(shared).toMatch(
      /^5 error: the broker refused the subscription to "\$share\/g\/a" \(before MQTT 5 it cannot say why\)\nhint: shared/,
    )
    expect(await said("-L", broker.url, "$share/g/a", "$share/g/b", "-V", "3.1.1")).toContain(
      "refused all 2 subscriptions (before MQTT 5 it cannot say why)",
    )
    const many = Array.from({ length: 300 }, (_, n) => `$share/g/${n}`)
    const all = await said("-L", broker.url, ...many, "-V", "3.1.1")
    expect(all).toMatch(/^5 error: the broker refused all 300 subscriptions \(before MQTT 5 it cannot say why\)\nhint: [^\n]*\n$/)
    const some = await said("-L", broker.url, randomId("topic"), ...many, "-V", "3.1.1", "-W", "1s")
    expect(some.match(/^.*error: .*$/gm)).toEqual([
      expect.stringContaining('"$share/g/0"'),
      expect.stringContaining('"$share/g/1"'),
      expect.stringContaining('"$share/g/2"'),
      "error: … and 297 more",
    ])
    expect(await said("-L", broker.url, "$share/g/a")).toContain("the broker offers no shared subscriptions")
  })

  it.each([
    ["a topic alias that was not allowed", "300a000161 03 230001 616263"],
    ["an alias that is not known", "3006 0000 03 230001"],
    ["AUTH that nobody asked for", "f0021800"],
  ])("this client closed the connection: %s", async (_what, bytes) => {
    const port = await answering(bytes.replaceAll(" ", ""))
    const text = await said("-p", `${port}`, "t")
    expect(text).toMatch(/^6 error: connection to .* lost: this client closed it: /)
    expect(text).not.toContain("refused")
  })

  it("a filter that was refused is exit 5 and said once, also when -W is over", async () => {
    const text = await said("-L", broker.url, "-V", "3.1.1", randomId("topic"), "$share/g/a", "-W", "300ms")
    expect(text).toMatch(
      /^5 error: the broker refused the subscription to "\$share\/g\/a" \(before MQTT 5 it cannot say why\)\nhint: [^\n]*\n$/,
    )
  })
})

describe("hints", () => {
  it.each([
    ["--watch", "see mqtt-sub --help"],
    ["--jsn", "Did you mean --json?"],
    ["--retain-handlin", "Did you mean --retain-handling?"],
  ])("%s: %s", async (flag, hint) => expect(await said("t", flag)).toBe(`2 error: unknown option '${flag}'\nhint: ${hint}\n`))

  it("a topic that is given twice", async () => {
    const { code, stderr } = await runCli("mqtt-pub", ["t", "a", "-t", "two"])
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'error: the topic is given twice: "two" and "t"\nhint: give it as the first argument, with --topic or in the URL\n',
    })
  })
})

it("one message is one message", async () => {
  const session = [randomId("topic"), "--client", randomId("client"), "--persistent", "-L", broker.url]
  await runCli("mqtt-sub", [...session, "-E"])
  await runCli("mqtt-pub", ["-L", broker.url, session[0] ?? "", "x"])
  const store = ["--store", `file:${broker.dir}/store`]
  expect((await runCli("mqtt-broker", ["queue", session[2] ?? "", ...store])).stderr).toMatch(/: 1 message \(\d+ bytes\) waits, away since/)
  expect(await said(...session, "-W", "300ms", "-C", "2", "--check-order")).toMatch(/0 duplicates, 0 repeats at QoS 1, 1 without a counter/)
  expect(await said("-L", broker.url, "none", "-W", "300ms", "-C", "1")).toContain("timed out: 0 of 1 message came")
  const dying = await startBroker({ store: "memory:" })
  const publisher = spawnCli("mqtt-pub", ["-L", dying.url, "t", "-l", "-d"])
  publisher.child.stdin.write("one\n")
  await publisher.waitForLine("PUBACK", { stream: "stderr" })
  process.kill(dying.pid, "SIGSTOP")
  publisher.child.stdin.write("two\n")
  await waitFor(() => publisher.stderr.split("sent PUBLISH").length === 3, { what: "the second PUBLISH" })
  await dying.kill9()
  await publisher.waitForLine("1 message unacknowledged", { stream: "stderr" })
})
