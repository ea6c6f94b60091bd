// The order of test files for vitest: those that take longest begin first, so that none of them runs alone at the end.
import { BaseSequencer } from "vitest/node"

/** @param names the longest files, without folder or with, and without `.test.ts` */
export function longestFirst(...names) {
  const isLong = ({ moduleId }) => names.some((name) => moduleId.endsWith(`/${name}.test.ts`))
  return class extends BaseSequencer {
    async sort(files) {
      // oxlint-disable-next-line unicorn/no-array-sort -- no array: Vitest orders files by size, or by how long they took
      const sorted = await super.sort(files)
      return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
    }
  }
}
