import { startBroker, type TestBroker } from "@mqtt-trio/testing"
import { Attackers, doorsOf, memoryBound, MemoryWatch, prefer } from "./attack.js"
import { anonymousMemory } from "./processes.js"

/** How a broker came back on what an attack left in its store. Memory is RssAnon in bytes. */
export interface RestartReport {
  /** the broker that was attacked lived to the end */
  readonly lived: boolean
  readonly highest: number
  /** when it was ready, in ms; undefined: it was not in 15 s, or it ended */
  readonly readyMs: number | undefined
  /** at that moment */
  readonly memory: number
  /** of a new broker with an empty store */
  readonly empty: number
}

const HEAP_MB = 1024
/** How long the attack goes on: more than others, because it is what is left that counts. */
const SECONDS = 10

/** Attacks a broker with a small heap, kills it, and starts it again on its store. */
export async function restartAfter(name: string): Promise<RestartReport> {
  const env = { NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}` }
  const broker = prefer(await startBroker({ env, args: await memoryBound() }))
  const empty = anonymousMemory(broker.pid)
  const memory = new MemoryWatch(broker)
  const crowd = await Attackers.gather(name, doorsOf(broker), SECONDS)
  await crowd.attack()
  await crowd.leave()
  const lived = memory.end === undefined
  memory.stop()
  await broker.stop().catch(() => broker.kill9()) // what was accepted is stored, if it can be
  const readyMs = await timeToReady(broker)
  const report = { lived, highest: memory.highest, readyMs, memory: broker.running ? anonymousMemory(broker.pid) : 0, empty }
  process.stderr.write(`${name}, then a restart: ${JSON.stringify(report)}\n`)
  return report
}

async function timeToReady(broker: TestBroker): Promise<number | undefined> {
  const from = performance.now()
  try {
    await broker.restart()
  } catch {
    return undefined
  }
  return performance.now() - from
}
