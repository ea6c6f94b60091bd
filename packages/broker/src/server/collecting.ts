import { performance } from "node:perf_hooks"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const LOOK_MS = 5000
/** Of its time a quiet broker works at most so much. */
const QUIET_SHARE = 0.15
/** So much more than after the last time is worth a collection. */
const WORTH_BYTES = 16 << 20
/** A larger heap takes longer than others should wait; what it has grows and shrinks often enough by itself. */
const MOST_HEAP_BYTES = 160 << 20

/**
 * V8 collects what is free when it needs more; a broker that became quiet needs none, and would keep what thousands of clients
 * took for as long as it is quiet. Buffers count little for it. So it is told to, once there is little to do.
 */
export function collectWhenQuiet(): NodeJS.Timeout {
  setFlagsFromString("--expose-gc")
  const collect: unknown = runInNewContext("gc")
  let floor = Infinity
  let before = performance.eventLoopUtilization()
  return setInterval(() => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    const { external, heapUsed } = process.memoryUsage()
    floor = Math.min(floor, external + heapUsed)
    const isWorth = external + heapUsed > floor + WORTH_BYTES && heapUsed < MOST_HEAP_BYTES
    if (utilization > QUIET_SHARE || !isWorth || typeof collect !== "function") return
    collect()
    const left = process.memoryUsage()
    floor = left.external + left.heapUsed
  }, LOOK_MS).unref()
}
