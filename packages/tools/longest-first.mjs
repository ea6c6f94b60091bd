// The order of test files for vitest: those that take longest begin first, so that none of them runs alone at the end.
import { BaseSequencer } from "vitest/node"

/** @param names the longest files, without folder or with, and without `.test.ts` */
export function longestFirst(...names) {
  const isLong = ({ moduleId }) => names.some((name) => moduleId.endsWith(`/${name}.test.ts`))
  return class extends BaseSequencer {
    async sort(files) {
      const sorted = await super.sort(files) // oxlint-disable-line unicorn/no-array-sort -- no array's
      return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
    }
  }
}
