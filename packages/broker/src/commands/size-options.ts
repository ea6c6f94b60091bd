import { totalmem } from "node:os"
import { getHeapStatistics } from "node:v8"
import { parseByteSize, usageError, value } from "@mqtt-trio/common"
import { LEAST_MEMORY_BYTES } from "../accounting/accountant.js"

/** What a store needs at least: its head room, and as much to work in. */
const LEAST_STORE_BYTES = 32 << 20

/** What the broker may take of its machine. */
export const SIZE_OPTIONS = {
  maxMemory: value({
    flags: "--max-memory <size>",
    help: "what the broker may take; towards it publishers wait, and who holds the most is closed",
    group: "Limits",
    env: "MQTT_BROKER_MAX_MEMORY",
    parse: (text) => atLeast(text, { what: "memory size", bytes: LEAST_MEMORY_BYTES, than: "192MB" }),
    fallback: defaultMemory(),
    defaultText: "half of what the machine or container has",
  }),
  maxStore: value({
    flags: "--max-store <size>",
    help: "what a store in a folder may take, its journal included; without it what the disk has",
    group: "Limits",
    env: "MQTT_BROKER_MAX_STORE",
    parse: (text) => atLeast(text, { what: "store size", bytes: LEAST_STORE_BYTES, than: "a store needs, 32MB" }),
  }),
} as const

function atLeast(text: string, { what, bytes: least, than }: { what: string; bytes: number; than: string }): number {
  const bytes = parseByteSize(text)
  if (bytes < least) throw usageError(`${what} ${JSON.stringify(text)} is less than ${than}`)
  return bytes
}

/** Half of what the machine or the container has. */
function defaultMemory(): number {
  const constrained = process.constrainedMemory() // 0 or beyond all measure: not at all
  const machine = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
  return Math.max(LEAST_MEMORY_BYTES, Math.min(Math.floor(machine / 2), heapBytes()))
}

/** What Node.js lets its heap grow to: beyond it the process ends, whatever memory the machine has. */
function heapBytes(): number {
  return getHeapStatistics().heap_size_limit
}

/** What of --max-memory can be used. */
export function usableMemory(maxMemory: number): number {
  return Math.min(maxMemory, heapBytes())
}

/** Why not all of --max-memory is used, in words; undefined: it is. */
export function unusedMemory(maxMemory: number): string | undefined {
  if (usableMemory(maxMemory) === maxMemory) return undefined
  const [most, wanted] = [heapBytes(), maxMemory].map((bytes) => Math.floor(bytes / 1_048_576))
  return `max-memory ${wanted} MB: Node.js lets its heap grow to ${most} MB, and no more is used; NODE_OPTIONS=--max-old-space-size=${wanted} lets it grow to that`
}
