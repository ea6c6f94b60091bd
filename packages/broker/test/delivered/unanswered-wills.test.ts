import { readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { startBroker, temporaryFolder, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { answers, complete, lasting } from "../support/messages.js"
import type { DeathPoint } from "../support/mortal-store.js"
import { compileDisk, diskEnvironment, hasCompiler } from "../support/misbehaving-disk.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { fullConnect, heir, mortal, nothingBut, type FullConnect } from "../support/will.js"
import { long, properties, type Will } from "../support/wire.js"

const library = hasCompiler() ? compileDisk() : ""
/** How long a sync takes on the slow disk, in ms: CONNACK waits so long at least. */
const SLOW_MS = 1000
/** After so long without a commit there is none under way, in ms. */
const QUIET_MS = 500
const VERSIONS = [4, 5] as const

const delayed = (seconds: number): Will => ({ topic: "w", payload: "delayed", qos: 1, properties: properties([0x18, ...long(seconds)]) })
const named = (clientId: string): FullConnect => ({ ...lasting(clientId), clientId })

/** A broker on a disk that does as it is told. */
class OnDisk {
  private constructor(
    readonly broker: TestBroker,
    private readonly orders: { fail: string; die: string },
  ) {}

  static async start(): Promise<OnDisk> {
    const dir = temporaryFolder()
    const orders = { fail: join(dir, "fail"), die: join(dir, "die") }
    return new OnDisk(await startBroker({ dir, env: diskEnvironment(library, orders) }), orders)
  }

  /** Sends a CONNECT; resolves when it was accepted, and the commit that its answer waits for has failed, until mend(). */
  async failing(version: 4 | 5, fields: FullConnect & { will?: Will }): Promise<Peer> {
    await this.quiet()
    writeFileSync(this.orders.fail, "commit 5")
    const peer = await waiting(this.broker, version, fields)
    await waitFor(() => this.broker.stderr.includes("takes no commits"), { what: "a commit that fails" })
    return peer
  }

  async mend(): Promise<void> {
    rmSync(this.orders.fail)
    await waitFor(() => this.broker.stderr.includes("takes commits again"), { what: "commits" })
  }

  /** The broker dies at a point of the next commit, which is that of a CONNECT. */
  async dies(point: DeathPoint, version: 4 | 5, fields: FullConnect & { will?: Will }): Promise<void> {
    await this.quiet()
    writeFileSync(this.orders.die, `${point} 1`)
    const peer = new Peer(this.broker.port, version)
    peer.send(fullConnect(version, fields))
    expect(await peer.ended()).toEqual([])
    await this.broker.ended
  }

  /** Resolves when nothing is committed any more of what was done. */
  private async quiet(): Promise<void> {
    const store = join(this.broker.dir, "store")
    const written = (): number => Math.max(...readdirSync(store).map((name) => statSync(join(store, name)).mtimeMs))
    let [last, since] = [written(), performance.now()]
    const isQuiet = (): boolean => {
      const now = written()
      if (now !== last) [last, since] = [now, performance.now()]
      return performance.now() - since > QUIET_MS
    }
    await waitFor(isQuiet, { what: "the end of the commits" })
  }
}

const slow = (): Promise<TestBroker> => startBroker({ env: diskEnvironment(library, { delayMs: SLOW_MS }) })

/** Sends a CONNECT; resolves when it was accepted. */
async function waiting(broker: TestBroker, version: 4 | 5, fields: FullConnect & { will?: Will }): Promise<Peer> {
  const before = times(broker, fields.clientId, "connected")
  const peer = new Peer(broker.port, version)
  peer.send(fullConnect(version, fields))
  await waitFor(() => times(broker, fields.clientId, "connected") > before, { what: "the CONNECT to be accepted" })
  return peer
}

/** The client goes; resolves when the broker knows. It was not answered. */
async function go(broker: TestBroker, peer: Peer, clientId: string): Promise<void> {
  const before = times(broker, clientId, "left")
  expect(peer.waiting).toEqual([])
  peer.cut()
  await waitFor(() => times(broker, clientId, "left") > before, { what: "the broker to see it" })
}

function times({ stderr }: TestBroker, client: string, event: string): number {
  return stderr.split("\n").filter((line) => line.includes(`"event":"${event}"`) && line.includes(`"client":"${client}"`)).length
}

/** A Session that hears of Wills, away. */
async function sleeper({ port }: TestBroker): Promise<void> {
  const peer = await Peer.connected(port, 5, lasting("sleeper"))
  await peer.subscribe(["w", 1])
  peer.cut()
  await peer.ended()
}

/** What waits for it. */
async function heard({ port }: TestBroker, count: number): Promise<string[]> {
  const peer = await Peer.connected(port, 5, lasting("sleeper"))
  const came = (await answers(peer, count)).map((bytes) => readPublish(bytes, 5))
  await nothingBut("end", peer, "w", port)
  return came.map(({ payload }) => payload.toString())
}

describe.runIf(library).each(VERSIONS)("a Will whose CONNACK never left is not sent, version %i", (version) => {
  const will = { topic: "w", payload: "untold", qos: 1 } as const

  test("the commit fails until the client is gone; nor after kill -9", async () => {
    const disk = await OnDisk.start()
    const { broker } = disk
    await sleeper(broker)
    const ear = await heir("w", broker.port)
    await go(broker, await disk.failing(version, { ...named("m"), will }), "m")
    await disk.mend()
    await nothingBut("end", ear, "w", broker.port)
    ear.cut()
    await broker.kill9()
    await broker.restart()
    expect(await heard(broker, 1)).toEqual(["end"])
  })

  test.runIf(version === 5)("the commit takes longer than the client stays", async () => {
    const broker = await slow()
    const ear = await heir("w", broker.port)
    await go(broker, await waiting(broker, version, { clientId: "m", will }), "m")
    await nothingBut("end", ear, "w", broker.port)
    await broker.kill9()
    await broker.restart()
    await nothingBut("after", await heir("w", broker.port), "w", broker.port)
  })

  test.runIf(version === 5)("another connection takes over while it waits; the Will of that one is sent", async () => {
    const broker = await slow()
    const ear = await heir("w", broker.port)
    await waiting(broker, version, { ...named("m"), will })
    const second = await mortal(version, { ...will, payload: "told" }, named("m"), broker.port)
    second.cut()
    const message = await ear.nextPublish()
    expect(message.payload.toString()).toBe("told")
    await complete(ear, message)
    await nothingBut("end", ear, "w", broker.port)
  })

  test.each([
    ["before that commit is whole: not sent", "torn", []],
    ["after it, before CONNACK is read: sent", "after", ["untold"]],
  ] as const)("the broker dies %s", async (_, point, wills) => {
    const disk = await OnDisk.start()
    const { broker } = disk
    await sleeper(broker)
    await disk.dies(point, version, { ...named("m"), will })
    await broker.restart()
    expect(await heard(broker, wills.length)).toEqual(wills)
  })
})

describe.runIf(library)("a client that came back, and was not told, has not come back", () => {
  test.each([
    ["without a Will", undefined],
    ["with another one", { topic: "w", payload: "untold", qos: 1 } as const],
  ])("the Will that was delayed is sent, %s", async (_, another) => {
    const disk = await OnDisk.start()
    const { broker } = disk
    const ear = await heir("w", broker.port)
    const first = await mortal(5, delayed(3), named("m"), broker.port)
    await go(broker, first, "m")
    await go(broker, await disk.failing(5, { ...named("m"), ...(another && { will: another }) }), "m")
    await disk.mend()
    const message = await ear.nextPublish()
    expect(message.payload.toString()).toBe("delayed")
    await complete(ear, message)
    await nothingBut("end", ear, "w", broker.port)
  })

  test("and is in the store again: it is sent after kill -9 too", async () => {
    const disk = await OnDisk.start()
    const { broker } = disk
    const first = await mortal(5, delayed(6), named("m"), broker.port)
    await go(broker, first, "m")
    await go(broker, await disk.failing(5, named("m")), "m")
    await disk.mend()
    await sleeper(broker)
    await broker.kill9()
    await broker.restart()
    expect(await heard(broker, 1)).toEqual(["delayed"])
  })
})
