import { startMongoServer } from "@mqtt-trio/testing"
import { assert, asyncProperty } from "fast-check"
import { describe, expect, test } from "vitest"
import { compileDisk, hasCompiler } from "../support/misbehaving-disk.js"
import { hasMortalServer, MortalDatabase } from "../support/mortal-database.js"
import { MortalDisk } from "../support/mortal-disk.js"
import { DEATH_POINTS, type DeathPoint, type MortalStore } from "../support/mortal-store.js"
import { MortalBroker } from "./mortal-broker.js"
import { steps, type Step } from "./steps.js"
import { World } from "./world.js"

/** More of it: MQTT_TEST_MODEL_RUNS=2000; one again: MQTT_TEST_MODEL_SEED=… and, as the report says, MQTT_TEST_MODEL_PATH=… */
const RUNS = Number(process.env["MQTT_TEST_MODEL_RUNS"] ?? "40")
/** In CI the same histories each time, so that a red run is about the change. */
const SEED = Number(process.env["MQTT_TEST_MODEL_SEED"] ?? (process.env["CI"] ? 1 : Date.now() % 2 ** 31))
const PATH = process.env["MQTT_TEST_MODEL_PATH"]
/** Ends a run, or the search for a shorter history, with what there is by then, if that is as much as FEWEST says. */
const SECONDS = process.env["MQTT_TEST_MODEL_SECONDS"]
const FILE_MS = Number(SECONDS ?? "90") * 1000
const DATABASE_MS = Number(SECONDS ?? "45") * 1000
/** Less shows nothing; a slow machine takes more time for it. */
const FEWEST = { histories: 5, steps: 100, deaths: 10, inFolds: 2 }
/** A history on a database takes twice as long. */
const FEWEST_IN_DATABASE = { ...FEWEST, histories: 3, steps: 80 }
/** So small that every few steps something is folded. */
const FOLD_BYTES = 1 << 10

describe("random histories: the broker does what the model does, wherever it dies", () => {
  test("file:", { timeout: 4 * FILE_MS }, () =>
    search(new MortalDisk(hasCompiler() ? compileDisk() : undefined, FOLD_BYTES), FILE_MS, FEWEST),
  )

  test.skipIf(!hasMortalServer())("mongodb:", { timeout: 4 * DATABASE_MS }, async () =>
    search(await MortalDatabase.of(await startMongoServer(), FOLD_BYTES), DATABASE_MS, FEWEST_IN_DATABASE),
  )
})

async function search(store: MortalStore, limitMs: number, fewest: typeof FEWEST): Promise<void> {
  process.stderr.write(`MQTT_TEST_MODEL_SEED=${SEED}\n`)
  const mortal = await MortalBroker.start(store)
  const { broker, deaths } = mortal
  const start = performance.now()
  let [histories, taken, most] = [0, 0, 0]
  const diedEnough = (): boolean => deaths.length >= fewest.deaths && deaths.filter((at) => at.startsWith("fold")).length >= fewest.inFolds
  const enough = (): boolean => histories >= fewest.histories && taken >= fewest.steps && (!mortal.hasPoints || diedEnough())
  const history = async (list: Step[]): Promise<void> => {
    if (performance.now() - start > limitMs && enough()) return
    const world = new World(mortal)
    try {
      await world.run(list)
    } catch (error) {
      await world.finish().catch(() => {}) // what was wrong first is said
      const message = error instanceof Error ? error.message : String(error)
      throw new Error(`${message}\n${world.history.join("\n")}\n`, { cause: error })
    }
    await world.finish()
    histories++
    taken += list.length
    most = Math.max(most, world.possible.most)
  }
  await assert(asyncProperty(steps, history), {
    seed: SEED,
    numRuns: RUNS,
    ...(PATH !== undefined && { path: PATH }),
  })
  process.stderr.write(`${histories} histories, ${taken} steps, ${deaths.length} deaths (${counted(deaths)}), up to ${most} models\n`)
  // one history again, or fewer than that, on purpose
  if (PATH === undefined && RUNS >= fewest.histories) expect(enough()).toBe(true)
  expect(broker.stderr).not.toMatch(/internal error|unhandled|TypeError/)
}

/** `before 12, fold-after 3` */
function counted(deaths: readonly DeathPoint[]): string {
  return DEATH_POINTS.map((point) => `${point} ${deaths.filter((at) => at === point).length}`).join(", ")
}
