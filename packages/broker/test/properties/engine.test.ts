import { afterEach, expect, test } from "vitest"
import { connectForEngine } from "../../src/connection/control-packets.js"
import { Engine, type Gate } from "../../src/engine/aedes.js"
import type { ProtocolVersion } from "../../src/wire/packet-types.js"
import { range } from "../support/messages.js"
import { subscribe } from "../support/wire.js"

const VERSIONS = [3, 4, 5] as const
const engines: Engine[] = []

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.close()
})

async function startEngine(): Promise<Engine> {
  const engine = await Engine.start(connectForEngine, () => {})
  engines.push(engine)
  return engine
}

/** Lets a connection subscribe to what bears its name. */
function gateOf(name: string): Gate {
  return { admit: async () => 0, maySubscribe: (filter) => filter.startsWith(name) }
}

async function codeFor(engine: Engine, version: ProtocolVersion, gate: Gate, filter: string): Promise<number | undefined> {
  const reply = await engine.ask(subscribe(version === 5 ? 5 : 4, 1, [filter, 1]), version, gate)
  return reply?.at(-1)
}

test("who asks at the same time is answered by its own gate, whatever was asked and answered before", async () => {
  const engine = await startEngine()
  const ask = async (n: number): Promise<void> => {
    const version = VERSIONS[n % 3] ?? 4
    const [own, other] = [`name${n}/x`, `name${n + 1}/x`]
    for (const filter of [own, other, own]) {
      const code = await codeFor(engine, version, gateOf(`name${n}/`), filter) // oxlint-disable-line no-await-in-loop -- one after the other
      if (filter === own) expect(code).toBe(1)
      else expect(code).toBeGreaterThanOrEqual(0x80)
    }
  }
  for (const round of range(1, 3)) await Promise.all(range(1, 100).map((n) => ask(n * round))) // oxlint-disable-line no-await-in-loop
})

test("a client whose CONNECT was accepted answers others, each as its gate says; a refused one does not", async () => {
  const engine = await startEngine()
  const channel = engine.open(gateOf("first/"))
  expect((await engine.connect(channel, 4))?.at(-1)).toBe(0)
  engine.release(channel, 4)
  expect(await codeFor(engine, 4, gateOf("first/"), "first/a")).toBe(1)
  expect(await codeFor(engine, 4, gateOf("second/"), "first/a")).toBe(0x80)
  expect(await codeFor(engine, 4, gateOf("second/"), "second/a")).toBe(1)
  const refused = engine.open({ ...gateOf("third/"), admit: async () => 5 })
  expect((await engine.connect(refused, 4))?.at(-1)).toBe(5)
})

test("a packet that aedes does not bear ends that question alone", async () => {
  const engine = await startEngine()
  expect(await codeFor(engine, 4, gateOf("a/"), "a/1")).toBe(1)
  expect(await engine.ask(subscribe(4, 1, ["a/#/b", 1]), 4, gateOf("a/"))).toBeUndefined()
  expect(await codeFor(engine, 4, gateOf("a/"), "a/1")).toBe(1)
})
