import { assert, asyncProperty } from "fast-check"
import { expect, test } from "vitest"
import { DEATH_POINTS, type DeathPoint } from "../support/misbehaving-disk.js"
import { MortalBroker } from "./mortal-broker.js"
import { steps, type Step } from "./steps.js"
import { World } from "./world.js"

/** More of it: MQTT_TEST_MODEL_RUNS=2000; one again: MQTT_TEST_MODEL_SEED=… and, as the report says, MQTT_TEST_MODEL_PATH=… */
const RUNS = Number(process.env["MQTT_TEST_MODEL_RUNS"] ?? "40")
/** In CI the same histories each time, so that a red run is about the change. */
const SEED = Number(process.env["MQTT_TEST_MODEL_SEED"] ?? (process.env["CI"] ? 1 : Date.now() % 2 ** 31))
const PATH = process.env["MQTT_TEST_MODEL_PATH"]
/** Ends a run, or the search for a shorter history, with what there is by then, if that is as much as FEWEST says. */
const LIMIT_MS = Number(process.env["MQTT_TEST_MODEL_SECONDS"] ?? "90") * 1000
/** Less shows nothing; a slow machine takes more time for it. */
const FEWEST = { histories: 5, steps: 100, deaths: 10, inFolds: 2 }

test("random histories: the broker does what the model does, wherever it dies", { timeout: 4 * LIMIT_MS }, async () => {
  process.stderr.write(`MQTT_TEST_MODEL_SEED=${SEED}\n`)
  const mortal = await MortalBroker.start()
  const { broker, deaths } = mortal
  const start = performance.now()
  let [histories, taken, most] = [0, 0, 0]
  const diedEnough = (): boolean => deaths.length >= FEWEST.deaths && deaths.filter((at) => at.startsWith("fold")).length >= FEWEST.inFolds
  const enough = (): boolean => histories >= FEWEST.histories && taken >= FEWEST.steps && (!mortal.hasDisk || diedEnough())
  const history = async (list: Step[]): Promise<void> => {
    if (performance.now() - start > LIMIT_MS && enough()) return
    const world = new World(mortal)
    try {
      await world.run(list)
      histories++
      taken += list.length
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      throw new Error(`${message}\n${world.history.join("\n")}\n`, { cause: error })
    } finally {
      most = Math.max(most, world.possible.most)
      await world.finish()
    }
  }
  await assert(asyncProperty(steps, history), {
    seed: SEED,
    numRuns: RUNS,
    ...(PATH !== undefined && { path: PATH }),
  })
  process.stderr.write(`${histories} histories, ${taken} steps, ${deaths.length} deaths (${counted(deaths)}), up to ${most} models\n`)
  // one history again, or fewer than that, on purpose
  if (PATH === undefined && RUNS >= FEWEST.histories) expect(enough()).toBe(true)
  expect(broker.stderr).not.toMatch(/internal error|unhandled|TypeError/)
})

/** `before 12, fold-after 3` */
function counted(deaths: readonly DeathPoint[]): string {
  return DEATH_POINTS.map((point) => `${point} ${deaths.filter((at) => at === point).length}`).join(", ")
}
