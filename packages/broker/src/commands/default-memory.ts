import { totalmem } from "node:os"
import { getHeapStatistics } from "node:v8"
import { LEAST_MEMORY_BYTES } from "../accounting/accountant.js"

/** Half of what the machine or the container has, and no more than Node.js lets its heap grow to. */
export function defaultMemory(): number {
  const constrained = process.constrainedMemory() // 0 or beyond all measure: not at all
  const machine = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
  return Math.max(LEAST_MEMORY_BYTES, Math.min(Math.floor(machine / 2), getHeapStatistics().heap_size_limit))
}
