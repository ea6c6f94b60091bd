import { u64 } from "./layout.js"
import type { PageSet } from "./page-set.js"

/**
 * How many pages one entry of LMDB's list of free pages names; undefined: it is not what it should be. It has a count of the
 * numbers behind it: a page, or a length below zero and the first page of a block; 0 stands for nothing.
 *
 * @param pages numbers of pages are below
 * @param used none of them is among these
 * @param into gets them
 */
export function freePagesIn(entry: Buffer, pages: number, used: PageSet, into?: PageSet): number | undefined {
  if (entry.length < 8) return undefined
  const count = u64(entry, 0)
  if ((count + 1) * 8 > entry.length) return undefined
  let free = 0
  for (let n = 1; n <= count; n++) {
    let length = 1
    if (isNegative(entry, n)) {
      length = 2 ** 32 - entry.readUInt32LE(n * 8)
      n++
    }
    const first = n <= count ? u64(entry, n * 8) : -1
    if (first === 0 && length === 1) continue
    if (first < 2 || first + length > pages) return undefined
    for (let page = first; page < first + length; page++) if (used.has(page)) return undefined
    into?.add(first, length)
    free += length
  }
  return free
}

function isNegative(entry: Buffer, n: number): boolean {
  return entry.readUInt32LE(n * 8 + 4) === 0xffff_ffff
}
