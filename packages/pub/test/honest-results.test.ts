import { writeFileSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import {
  cliPath,
  freePort,
  hasMosquitto,
  onCleanUp,
  runCli,
  runProcess,
  spawnCli,
  startBroker,
  startCuttingProxy,
  startMosquitto,
  temporaryFolder,
  type Mosquitto,
} from "@mqtt-trio/testing"

/** A server that misbehaves as `serve` says. */
async function badServer(serve: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined)
    serve(socket)
  })
  onCleanUp(() => void server.close())
  const port = await freePort()
  await new Promise<void>((resolve) => {
    server.listen(port, "127.0.0.1", resolve)
  })
  return port
}

describe("when nobody listens", () => {
  it("exit 3 says how to start the broker, on the port that was asked for", async () => {
    const port = await freePort()
    const result = await runCli("mqtt-pub", ["t", "x", "-p", String(port)])
    expect(result).toMatchObject({ code: 3, stdout: "" })
    expect(result.stderr).toBe(
      `error: cannot connect to mqtt://127.0.0.1:${port}: nobody listens there\nhint: start the broker: mqtt-broker start --port ${port}\n`,
    )
  })

  it("points to the broker on MQTT's registered port when there is one", async () => {
    const registered = createServer()
    onCleanUp(() => void registered.close())
    // Somebody else who listens there does as well.
    await new Promise<void>((resolve) => {
      registered.once("error", () => resolve())
      registered.listen(1883, "127.0.0.1", resolve)
    })
    const result = await runCli("mqtt-pub", ["t", "x", "-p", String(await freePort())])
    expect(result).toMatchObject({ code: 3, stderr: expect.stringContaining("or use the one that answers on port 1883: -p 1883") })
  })

  it("an unknown host is exit 3 and says so", async () => {
    const result = await runCli("mqtt-pub", ["t", "x", "-h", "no-such-host.invalid"])
    expect(result).toMatchObject({ code: 3, stderr: expect.stringContaining("there is no host of that name") })
  })

  it("a server that is no MQTT broker, one that closes, one that is silent", async () => {
    const http = await badServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
    const mute = await badServer(() => undefined)
    const closing = await badServer((socket) => socket.end())
    expect(await runCli("mqtt-pub", ["t", "x", "-p", String(http)])).toMatchObject({ code: 3, stderr: expect.stringContaining("hint: ") })
    const silent = await runCli("mqtt-pub", ["t", "x", "-p", String(mute), "--connect-timeout", "300ms"])
    expect(silent).toMatchObject({ code: 3, stderr: expect.stringContaining("no answer") })
    const closed = await runCli("mqtt-pub", ["t", "x", "-p", String(closing)])
    expect(closed).toMatchObject({ code: 3, stderr: expect.stringContaining("is it an MQTT broker?") })
  })
})

describe("a broker that speaks only 3.1.1", () => {
  it("is used with a note; with -V 5 the error says what to do", async () => {
    const port = await badServer((socket) => {
      socket.on("data", (data) => {
        const version = data[8]
        if (data[0] === 0x10) socket.write(Buffer.from(version === 4 ? [0x20, 2, 0, 0] : [0x20, 2, 0, 1]))
        if (data[0] === 0x32) socket.write(Buffer.from([0x40, 2, ...data.subarray(5, 7)]))
        if (data[0] === 0x10 && version !== 4) socket.end()
      })
    })
    expect(await runCli("mqtt-pub", ["t", "x", "-p", String(port)])).toMatchObject({
      code: 0,
      stderr: "the broker does not speak MQTT 5: connected with 3.1.1\n",
    })
    const fixed = await runCli("mqtt-pub", ["t", "x", "-p", String(port), "-V", "5"])
    expect(fixed).toMatchObject({ code: 4, stderr: expect.stringContaining("use -V 3.1.1") })
    const needs5 = await runCli("mqtt-pub", ["t", "x", "-p", String(port), "--content-type", "x"])
    expect(needs5).toMatchObject({ code: 4, stderr: expect.stringContaining("unsupported protocol version") })
  })
})

describe.skipIf(!hasMosquitto())("what the broker refuses (mosquitto)", () => {
  let broker: Mosquitto
  beforeAll(async () => {
    const acl = join(temporaryFolder(), "acl")
    writeFileSync(acl, "topic readwrite open/#\n")
    broker = await startMosquitto(["allow_anonymous true", `acl_file ${acl}`, "max_packet_size 5000"])
  })

  it("a refused message is exit 5 with the topic and the reason, not 0", async () => {
    const result = await runCli("mqtt-pub", ["-p", String(broker.port), "closed/x", "x"])
    expect(result).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('the broker refused the message on "closed/x": not authorized'),
    })
    expect((await runCli("mqtt-pub", ["-p", String(broker.port), "open/x", "x"])).code).toBe(0)
  })

  it("counts the refused lines of a stream and sends the others", async () => {
    const result = await runCli("mqtt-pub", ["-p", String(broker.port), "{{line}}", "x", "--template", "-l"], {
      stdin: "open/1\nclosed/1\nopen/2\nclosed/2\n",
    })
    expect(result).toMatchObject({ code: 5, stderr: expect.stringContaining("(2 of 4 messages)") })
  })

  it("a message that is too large is exit 5 before it is sent", async () => {
    const result = await runCli("mqtt-pub", ["-p", String(broker.port), "open/x", "-s"], { stdin: "x".repeat(6000) })
    expect(result).toMatchObject({ code: 5, stderr: expect.stringContaining("packets up to 5000 bytes") })
  })
})

describe("a connection that is lost", () => {
  it("with --no-reconnect is exit 6, with the number of unacknowledged messages", async () => {
    const port = await badServer((socket) => {
      socket.on("data", (data) => {
        if (data[0] === 0x10) socket.write(Buffer.from([0x20, 3, 0, 0, 0]))
        else socket.destroy()
      })
    })
    const result = await runCli("mqtt-pub", ["t", "x", "-p", String(port), "--no-reconnect"])
    expect(result).toMatchObject({ code: 6, stderr: expect.stringContaining("1 message is unacknowledged") })
    const limited = await runCli("mqtt-pub", ["t", "x", "-p", String(port), "--max-reconnects", "2", "--reconnect-period", "50ms"])
    expect(limited.code).toBe(6)
  })

  it("what is sent again has DUP set and the same packet identifier, what is sent first has not", async () => {
    const seen: Buffer[] = []
    const port = await badServer((socket) => {
      socket.on("data", (data) => {
        if (data[0] === 0x10) socket.write(Buffer.from([0x20, 3, 0, 0, 0]))
        if ((data[0] ?? 0) >> 4 !== 3) return
        seen.push(data)
        if (seen.length === 1) socket.destroy()
        else socket.write(Buffer.from([0x40, 2, ...data.subarray(5, 7)]))
      })
    })
    const result = await runCli("mqtt-pub", ["t", "x", "-p", String(port), "--reconnect-period", "50ms"])
    expect(result.code).toBe(0)
    const [first, again] = seen
    expect([first?.[0], again?.[0]]).toEqual([0x32, 0x3a])
    expect(again?.subarray(1)).toEqual(first?.subarray(1))
  })

  it("a QoS 2 stream of a client without an id finds its session again by the id that the broker gave", async () => {
    const broker = await startBroker({ store: "memory:" })
    const proxy = await startCuttingProxy(broker.port)
    const publisher = spawnCli("mqtt-pub", ["t", "-l", "-q", "2", "-i", "", "-d", "-p", String(proxy.port), "--reconnect-period", "50ms"])
    publisher.child.stdin.write("1\n")
    await publisher.waitForLine("received PUBCOMP", { stream: "stderr" })
    proxy.cut()
    await publisher.waitForLine("connection lost", { stream: "stderr" })
    publisher.child.stdin.end("2\n")
    expect((await publisher.waitForEnd()).code).toBe(0)
  })

  it("two clients with one id: the one that is pushed out ends with exit 6 and says why", async () => {
    const broker = await startBroker()
    const args = ["-L", broker.url, "t", "x", "--client", "same", "--interval", "50"]
    const first = spawnCli("mqtt-pub", args)
    await first.waitForLine(/^2$/)
    const second = spawnCli("mqtt-pub", args)
    expect((await first.waitForEnd()).code).toBe(6)
    expect(first.stderr).toMatch(
      /another client connected with the id "same"(; 1 message is unacknowledged)?\nhint: two clients with one id push each other out/,
    )
    await second.waitForLine(/^2$/)
    expect((await second.stop("SIGINT")).code).toBe(0)
  })

  it("two clients of 3.1.1 with one id push each other out without a word: both suspect it", async () => {
    const broker = await startBroker({ store: "memory:" })
    const args = ["-L", broker.url, "t", "x", "--client", "same", "--interval", "20", "-V", "3.1.1", "--reconnect-period", "200ms"]
    const both = [spawnCli("mqtt-pub", args), spawnCli("mqtt-pub", args)]
    for (const one of both) await one.waitForLine('does another client use the id "same"? Give each its own --client', { stream: "stderr" })
  })

  it("SIGINT with a message that nobody acknowledges waits a bounded time and is exit 130", async () => {
    const port = await badServer((socket) => {
      socket.on("data", (data) => {
        if (data[0] === 0x10) socket.write(Buffer.from([0x20, 3, 0, 0, 0]))
      })
    })
    const publisher = spawnCli("mqtt-pub", ["t", "x", "-p", String(port), "-d"])
    await publisher.waitForLine("sent PUBLISH", { stream: "stderr" })
    publisher.child.kill("SIGINT")
    expect((await publisher.waitForEnd()).code).toBe(130)
    expect(publisher.stderr).toContain("1 message is unacknowledged")
    const impatient = spawnCli("mqtt-pub", ["t", "x", "-p", String(port), "-d"])
    await impatient.waitForLine("sent PUBLISH", { stream: "stderr" })
    impatient.child.kill("SIGINT")
    impatient.child.kill("SIGTERM")
    const start = performance.now()
    await impatient.waitForEnd()
    expect(performance.now() - start).toBeLessThan(4000)
  })
})

describe("streams", () => {
  it("slow stdin with -s and with -M 1 loses nothing", async () => {
    const broker = await startBroker()
    const session = ["slow", "-L", broker.url, "-c", "-i", "slow", "--quiet"]
    await runCli("mqtt-sub", [...session, "-E"])
    const publisher = spawnCli("mqtt-pub", ["-L", broker.url, "slow", "-l", "-M", "1", "-d"])
    for (const line of ["1", "2", "3", "4", "5"]) {
      const before = publisher.stderr.split("PUBACK").length
      publisher.child.stdin.write(`${line}\n`)
      await publisher.waitForLine(new RegExp(`PUBACK`), { stream: "stderr" })
      while (publisher.stderr.split("PUBACK").length === before) await new Promise((resolve) => setImmediate(resolve))
    }
    publisher.child.stdin.end()
    expect((await publisher.waitForEnd()).code).toBe(0)
    const whole = spawnCli("mqtt-pub", ["-L", broker.url, "slow", "-s"])
    whole.child.stdin.write("be")
    whole.child.stdin.write("gin")
    whole.child.stdin.end(" end")
    expect((await whole.waitForEnd()).code).toBe(0)
    expect((await runCli("mqtt-sub", [...session, "-C", "6"])).stdout).toBe("1\n2\n3\n4\n5\nbegin end\n")
  })

  it("a closed stdout ends the numbering of --interval quietly", async () => {
    const broker = await startBroker({ store: "memory:" })
    const command = `${process.execPath} ${cliPath("mqtt-pub")} -L ${broker.url} t x --interval 20 | head -2; exit \${PIPESTATUS[0]}`
    expect(await runProcess("bash", ["--norc", "-c", command])).toMatchObject({ code: 0, stdout: "1\n2\n", stderr: "" })
  })

  it("a full disk under the numbers of --interval is exit 7", async () => {
    const broker = await startBroker({ store: "memory:" })
    const result = await runProcess("bash", [
      "--norc",
      "-c",
      `${process.execPath} ${cliPath("mqtt-pub")} -L ${broker.url} t x --interval 20 > /dev/full`,
    ])
    expect(result).toMatchObject({ code: 7, stderr: expect.stringContaining("cannot write the output: ENOSPC") })
  })
})

describe("help and version", () => {
  it.each(["mqtt-pub", "mqtt-sub"] as const)("%s --help, -h and --version print on stdout and exit 0", async (name) => {
    const help = await runCli(name, ["--help"])
    expect(help).toMatchObject({ code: 0, stderr: "" })
    expect((await runCli(name, ["-h"])).stdout).toBe(help.stdout)
    expect(await runCli(name, ["--version"])).toMatchObject({ code: 0, stdout: "0.1.0\n", stderr: "" })
  })

  it.each(["mqtt-pub", "mqtt-sub"] as const)(
    "%s --help starts with examples, fits 80 columns and 120 lines, and has no colours",
    async (name) => {
      const lines = (await runCli(name, ["--help"])).stdout.split("\n")
      expect(lines.slice(0, 4).join("\n")).toContain(`Examples:\n  ${name} `)
      expect(lines.length).toBeLessThanOrEqual(120)
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80)
      expect(lines.join("")).not.toContain("\u001b")
    },
  )
})
