import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const LOOK_MS = 5000
/** So much more than after the last time is worth a collection. */
const WORTH_BYTES = 16 << 20
/** A larger heap takes longer than others should wait; what it has grows and shrinks often enough by itself. */
const MOST_HEAP_BYTES = 160 << 20

/**
 * V8 collects what is free when it needs more; a broker that became quiet needs none, and would keep what thousands of clients
 * took for as long as it is quiet. Buffers count little for it. So it is told to, once memory has stopped growing.
 */
export function collectWhenQuiet(): NodeJS.Timeout {
  setFlagsFromString("--expose-gc")
  const collect: unknown = runInNewContext("gc")
  let floor = Infinity
  let before = 0
  return setInterval(() => {
    const { external, heapUsed } = process.memoryUsage()
    const used = external + heapUsed
    const isQuiet = used < before + WORTH_BYTES / 4
    before = used
    floor = Math.min(floor, used)
    if (!isQuiet || used < floor + WORTH_BYTES || heapUsed > MOST_HEAP_BYTES || typeof collect !== "function") return
    collect()
    const left = process.memoryUsage()
    before = floor = left.external + left.heapUsed
  }, LOOK_MS).unref()
}
