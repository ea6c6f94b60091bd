import { defineConfig } from "vitest/config"

const files = (...names: string[]): string[] => names.map((name) => `test/${name}.test.ts`)

/** Ask the broker's logic and not the version of Node.js: long, and left out where only that is different. */
const searches = files("stored/torture", "model/model", "stored/torture-power-cut")
/** Measure times that the other tests' load would spoil: one by one once the others are done. */
const alone = files(
  "bystander/guessing",
  "bystander/rate",
  "bystander/slow-subscriber",
  "bystander/stuck-clients",
  "delivered/retained-lookup",
)

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      // most tests wait for processes and disks: more files at a time than there are cores
      { extends: true, test: { name: "tests", include: files("**/*"), exclude: [...searches, ...alone], maxWorkers: 3 } },
      { extends: true, test: { name: "searches", include: searches, maxWorkers: 2, sequence: { groupOrder: 1 } } },
      { extends: true, test: { name: "alone", include: alone, maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
})
