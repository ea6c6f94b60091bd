import { expect, test } from "vitest"
import { restartAfter } from "../support/restart.js"

const MB = 1 << 20
const MOST_GROWTH = 300 * MB
/** A broker with an empty store takes half a second; what is stored within the bound is read in this time on a busy machine too. */
const READY_MS = 10_000

const LEFT = ["retained topics of 100 levels", "filters of 100 levels of many persistent sessions"]

test.each(LEFT)("a restart with a heap of 1 GB on what is left of: %s", { timeout: 180_000 }, async (name) => {
  const { lived, readyMs, memory, empty } = await restartAfter(name)
  expect.soft(lived, "the broker that was attacked lives").toBe(true)
  expect.soft(readyMs ?? Infinity, "ms until it is ready").toBeLessThan(READY_MS)
  expect.soft((memory - empty) / MB, "MB more than with an empty store").toBeLessThan(MOST_GROWTH / MB)
})
