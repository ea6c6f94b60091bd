import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, rmdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { onCleanUp, startBroker, type TestBroker } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { lasting } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { puback, publish } from "../support/wire.js"

const GROUPS = "/sys/fs/cgroup/blkio"
const BYTES_PER_SECOND = 1_000_000
const SIZE = 60_000
const MESSAGES = 80
const P99_MS = 100

/** A disk from which the broker reads so many bytes in a second, and nothing of its tables is in the page cache. */
function slowReads(broker: TestBroker): void {
  const file = join(broker.dir, "store", "mqtt-broker.mdb")
  const { dev } = statSync(file)
  const group = join(GROUPS, `mqtt-broker-${process.pid}`)
  mkdirSync(group)
  onCleanUp(() => {
    if (broker.running) writeFileSync(join(GROUPS, "cgroup.procs"), String(broker.pid))
    rmdirSync(group)
  })
  writeFileSync(join(group, "blkio.throttle.read_bps_device"), `${dev >> 8}:${dev & 255} ${BYTES_PER_SECOND}`)
  expect(spawnSync("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"]).status).toBe(0)
  writeFileSync(join(group, "cgroup.procs"), String(broker.pid))
}

const mayThrottle = process.getuid?.() === 0 && existsSync(join(GROUPS, "blkio.throttle.read_bps_device"))

describe.runIf(mayThrottle)("a disk that reads 1 MB in a second", () => {
  test("a queue is read from it: all comes in order, and a bystander's PUBACKs do not wait for it", { timeout: 120_000 }, async () => {
    const broker = await startBroker()
    const session = await Peer.connected(broker.port, 5, lasting("s"))
    await session.subscribe(["queue", 1])
    session.cut()
    await session.ended()
    const publisher = await Peer.connected(broker.port, 5)
    for (let n = 1; n <= MESSAGES; n++) {
      publisher.send(publish(5, { topic: "queue", qos: 1, packetId: n, payload: Buffer.alloc(SIZE, `${n} `) }))
      expect(await publisher.next()).toEqual(puback(n))
    }
    expect(await broker.stop()).toBe(0)
    await broker.restart()
    slowReads(broker)

    let stopped = false
    const times = bystander(broker, () => stopped)
    const from = performance.now()
    const again = await Peer.connected(broker.port, 5, lasting("s"))
    const came: number[] = []
    while (came.length < MESSAGES) {
      const { payload, packetId } = await again.nextPublish()
      came.push(Number.parseInt(payload.toString("latin1", 0, 8), 10))
      again.send(puback(packetId))
    }
    const seconds = (performance.now() - from) / 1000
    stopped = true
    const sorted = (await times).toSorted((a, b) => a - b)
    const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN
    process.stderr.write(
      `a queue read in ${seconds.toFixed(1)} s: PUBACK p99 ${p99.toFixed(1)} ms, longest ${sorted.at(-1)?.toFixed(1)} ms\n`,
    )
    expect(came).toEqual(Array.from({ length: MESSAGES }, (_, n) => n + 1))
    expect(seconds).toBeGreaterThan((MESSAGES * SIZE) / BYTES_PER_SECOND / 2) // it was slow
    expect(p99).toBeLessThan(P99_MS)
  })
})

/** Publishes to a persistent session that is there, one message after the other, until `stopped`; the times to each PUBACK in ms. */
async function bystander(broker: TestBroker, stopped: () => boolean): Promise<number[]> {
  const reader = await Peer.connected(broker.port, 5, lasting("bystander"))
  await reader.subscribe(["bystander", 1])
  const publisher = await Peer.connected(broker.port, 5)
  const times: number[] = []
  for (let n = 1; !stopped(); n = (n % 60_000) + 1) {
    const from = performance.now()
    publisher.send(publish(5, { topic: "bystander", qos: 1, packetId: n, payload: "x" }))
    expect(await publisher.next(30_000)).toEqual(puback(n))
    times.push(performance.now() - from)
    const { packetId } = await reader.nextPublish()
    reader.send(puback(packetId))
  }
  return times
}
