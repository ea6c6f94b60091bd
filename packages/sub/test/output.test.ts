import { createServer } from "node:net"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { checkNumbers } from "@mqtt-trio/torture"
import { beforeAll, describe, expect, it } from "vitest"
import {
  cliPath,
  hasMosquitto,
  onCleanUp,
  randomId,
  runCli,
  runProcess,
  spawnCli,
  startBroker,
  startCuttingProxy,
  startMosquitto,
  temporaryFolder,
  type RunResult,
  type TestBroker,
} from "@mqtt-trio/testing"

let broker: TestBroker
beforeAll(async () => {
  broker = await startBroker()
})

function lines(count: number, width = 0): string {
  return Array.from({ length: count }, (_, index) => `${index + 1}${"x".repeat(width)}\n`).join("")
}

/** The arguments of a persistent session in which these lines wait. */
async function waiting(stdin: string, url = broker.url): Promise<string[]> {
  const topic = randomId("topic")
  const session = [topic, "-L", url, "--client", randomId("client"), "--persistent", "--quiet"]
  expect((await runCli("mqtt-sub", [...session, "-E"])).code).toBe(0)
  expect((await runCli("mqtt-pub", [topic, "-L", url, "-l"], { stdin })).code).toBe(0)
  return session
}

/** Runs `mqtt-sub ARGS` in a shell, with what follows it there; the exit code is mqtt-sub's. */
function shell(args: readonly string[], rest: string): Promise<RunResult> {
  const words = [process.execPath, cliPath("mqtt-sub"), ...args].map((word) => `'${word}'`).join(" ")
  return runProcess("bash", ["--norc", "-c", `${words} ${rest}; exit \${PIPESTATUS[0]}`])
}

describe("what was not written out is not acknowledged and comes again", () => {
  it("mqtt-sub | head -1, again and again: one message each, in order, none lost", async () => {
    const session = await waiting(lines(6))
    for (const n of [1, 2, 3]) expect(await shell(session, "| head -1")).toMatchObject({ code: 0, stdout: `${n}\n`, stderr: "" })
    expect(await runCli("mqtt-sub", [...session, "-C", "3"])).toMatchObject({ code: 0, stdout: "4\n5\n6\n" })
  })

  it("a full disk is exit 7", async () => {
    const session = await waiting(lines(3))
    const full = await shell(session, "> /dev/full")
    expect(full).toMatchObject({ code: 7, stderr: expect.stringContaining("cannot write the output: ENOSPC") })
    expect((await runCli("mqtt-sub", [...session, "-C", "3"])).stdout).toBe(lines(3))
  })

  it("a disk that fills up while messages come: what reached the file and what comes again are together everything, in order", async () => {
    const count = 2000
    const session = await waiting(lines(count, 200))
    const file = join(temporaryFolder(), "out")
    const limited = await runProcess("bash", [
      "--norc",
      "-c",
      `trap '' XFSZ; ulimit -f 100; ${process.execPath} ${cliPath("mqtt-sub")} ${session.join(" ")} > ${file}; exit $?`,
    ])
    expect(limited).toMatchObject({ code: 7, stderr: expect.stringContaining("cannot write the output: EFBIG") })
    const written = (await runProcess("cat", [file])).stdout.split("\n").slice(0, -1)
    expect(written.length).toBeGreaterThan(100)
    const rest = (await runCli("mqtt-sub", [...session, "-W", "2"])).stdout.split("\n").slice(0, -1)
    const everything = lines(count, 200).split("\n").slice(0, -1)
    expect(everything.slice(0, written.length)).toEqual(written)
    expect(everything.slice(count - rest.length)).toEqual(rest)
    expect(written.length + rest.length).toBeGreaterThanOrEqual(count)
  })

  it("killed with SIGKILL in the middle: no message is missing, order is kept", async () => {
    const count = 30_000
    const session = await waiting(lines(count))
    const first = spawnCli("mqtt-sub", session)
    await first.waitForLine(/^500$/)
    await first.kill9()
    const before = first.stdout.split("\n").slice(0, -1).map(Number)
    const second = spawnCli("mqtt-sub", session)
    await second.waitForLine(String(count))
    await second.stop()
    const after = second.stdout.split("\n").slice(0, -1).map(Number)
    const verdict = checkNumbers({ qos: 1, published: count, received: [...before, ...after] })
    expect(verdict).toMatchObject({ clean: true, firstCopies: count })
    // what comes again, comes in order too
    expect(after).toEqual(after.map((_, index) => (after[0] ?? 0) + index))
  })
})

describe("a slow reader", () => {
  // Small messages stop at the broker's window of unacknowledged ones, large ones at our own bound, where nothing is read any more.
  it.each([
    [40_000, 500],
    [2000, 10_000],
  ])("is waited for: %d messages of %d bytes; the connection is kept alive, memory has a bound", async (count, width) => {
    const session = await waiting(lines(count, width))
    const reader = `| (sleep 4; ps -o rss= -p $(pgrep -f '^[^ ]*node .*${session[4]}' | head -1) >&2; cat)`
    const words = [process.execPath, cliPath("mqtt-sub"), ...session.filter((word) => word !== "--quiet"), "-C", String(count), "-k", "1"]
    const result = await runProcess("bash", ["--norc", "-c", `${words.join(" ")} ${reader}`])
    expect(result.stdout === lines(count, width)).toBe(true)
    expect(result.stderr).not.toContain("connection lost")
    const megabytes = Number(/^\s*(\d+)$/m.exec(result.stderr)?.[1]) / 1024
    expect(megabytes).toBeGreaterThan(20)
    expect(megabytes).toBeLessThan(160)
  })

  it("a reader that never reads does not keep a stopped run from ending", async () => {
    const session = await waiting(lines(1000, 500))
    const log = join(temporaryFolder(), "log")
    const script = [
      "exec 3> >(exec sleep 100 > /dev/null 2>&1); reader=$!",
      `${process.execPath} ${cliPath("mqtt-sub")} ${session.join(" ")} -d >&3 2> ${log} & pid=$!`,
      // more than a pipe takes
      `until [ "$(grep -c 'received PUBLISH' ${log})" -ge 200 ]; do sleep 0.05; done`,
      'kill -TERM $pid; wait $pid; echo "end $?"; kill $reader && echo "before its reader"',
    ]
    const stuck = await runProcess("bash", ["--norc", "-c", script.join("\n")])
    expect(stuck.stdout).toBe("end 143\nbefore its reader\n")
  })
})

describe("QoS 2", () => {
  it.skipIf(!hasMosquitto())("nothing comes twice when the connection is lost in the middle, 5 and 3.1.1", async () => {
    const mosquitto = await startMosquitto([
      "allow_anonymous true",
      "persistence true",
      "persistence_location {dir}/",
      "max_queued_messages 0",
      "autosave_interval 1",
      "autosave_on_changes true",
    ])
    for (const version of ["5", "3.1.1"]) {
      const proxy = await startCuttingProxy(mosquitto.port)
      const topic = randomId("topic")
      const session = [
        topic,
        "-q",
        "2",
        "-V",
        version,
        "--client",
        randomId(),
        "--persistent",
        "--reconnect-period",
        "50ms",
        "-p",
        String(proxy.port),
      ]
      await runCli("mqtt-sub", [...session, "-E"])
      const publish = ["-p", String(mosquitto.port), topic, "-l", "-q", "2"]
      expect((await runCli("mqtt-pub", publish, { stdin: lines(500) })).code).toBe(0)
      const subscriber = spawnCli("mqtt-sub", [...session, "-C", "500", "-W", "20"])
      await subscriber.waitForLine(/^50$/)
      proxy.cut()
      expect((await subscriber.waitForEnd()).code).toBe(0)
      expect(subscriber.stderr).toContain("connected again")
      expect(subscriber.stdout).toBe(lines(500))
    }
  })
})

describe.skipIf(!hasMosquitto())("what the broker refuses or lowers (mosquitto)", () => {
  it("a refused filter is exit 5 with its name; the others go on; a lower QoS is a warning", async () => {
    const acl = join(temporaryFolder(), "acl")
    writeFileSync(acl, "topic readwrite open/#\n")
    const mosquitto = await startMosquitto(["allow_anonymous true", `acl_file ${acl}`])
    const at = ["-p", String(mosquitto.port)]
    // mosquitto 2.0 answers SUBSCRIBE with the granted QoS and filters when delivering; a shared subscription that it cannot grant is refused.
    const all = await runCli("mqtt-sub", [...at, "open/x", "-E"])
    expect(all.code).toBe(0)
    const server = createServer((socket) => {
      socket.on("data", (data) => {
        if (data[0] === 0x10) socket.write(Buffer.from([0x20, 3, 0, 0, 0]))
        if (data[0] === 0x82)
          socket.write(
            Buffer.from(data[1] === 8 ? [0x90, 4, ...data.subarray(2, 4), 0, 0x87] : [0x90, 5, ...data.subarray(2, 4), 0, 0x87, 0]),
          )
      })
    })
    onCleanUp(() => void server.close())
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve)
    })
    const address = server.address()
    const port = ["-p", String(typeof address === "object" && address !== null ? address.port : 0)]
    const one = await runCli("mqtt-sub", [...port, "ab"])
    expect(one).toMatchObject({ code: 5, stderr: expect.stringContaining('the broker refused the subscription to "ab": not authorized') })
    const some = await runCli("mqtt-sub", [...port, "ab", "cd", "-E"])
    expect(some.code).toBe(5)
    expect(some.stderr).toContain('refused the subscription to "ab"')
    expect(some.stderr).toContain('warning: the broker granted QoS 0 for "cd" instead of 1')
  })
})
