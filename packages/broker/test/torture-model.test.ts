import * as fc from "fast-check"
import { join } from "node:path"
import { startBroker, temporaryFolder } from "@mqtt-trio/common/testing"
import { test } from "vitest"
import { compileDisk, diskEnvironment, hasCompiler } from "./support/misbehaving-disk.js"
import { runSteps } from "./support/model/run.js"
import { steps } from "./support/model/step.js"

const RUNS = Number(process.env["MODEL_RUNS"] ?? 15)
/** In CI the same histories each time, so that a red run is about the change; one again: seed and path as the report says. */
const SEED = process.env["MODEL_SEED"] ?? (process.env["CI"] ? "1" : undefined)
const PATH = process.env["MODEL_PATH"]
const LIMIT_MS = 120_000 + RUNS * 6000

/**
 * Random steps of three clients against the real broker on the real store, which dies at the commits that the steps name,
 * compared with a plain list of what each session must get. A failure shrinks to few steps and prints its seed.
 */
test.runIf(hasCompiler())(
  "the broker does what a plain model of sessions and queues does, whatever the steps and wherever it dies",
  async () => {
    const dieFile = join(temporaryFolder(), "die")
    const broker = await startBroker({ env: diskEnvironment(compileDisk(), { die: dieFile }), args: ["--log-level", "error"] })
    const target = { broker, dieFile }
    await fc.assert(
      fc.asyncProperty(steps, (sequence) => runSteps(target, sequence)),
      {
        numRuns: RUNS,
        interruptAfterTimeLimit: LIMIT_MS - 20_000,
        ...(SEED !== undefined && { seed: Number(SEED) }),
        ...(PATH !== undefined && { path: PATH }),
      },
    )
  },
  LIMIT_MS,
)
